"""Enrols a new person in a trained model: fine-tunes it on a few pictures of a tracked capture, until frames held out get no better.

  ava ava256 enrol --workdir=RUN --capture=CAPTURES/20260104--0903--RLF004
  ava ava256 enrol --workdir=RUN --capture=CAPTURES/20260104--0903--RLF004 --frames=1 --cameras=400002,400018,400029,400051

The result is a run like any other, by default RUN/enrolled/PERSON: its people are RUN's and the new one, whom all others can drive.
`ava eval` scores it on frames held out and on cameras not used, `ava render` draws it. Interrupted, the same command goes on.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from ava_jax.tasks.command import Context, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.captures.ava256 import Capture
    from ava_jax.captures.capture_set import CaptureSet

_WORKDIR = define_workdir()
_STEP = define_step()
_CAPTURE = flags.DEFINE_string("capture", None, "The person's capture; or a folder of captures, of which --identity names one.")
_IDENTITY = flags.DEFINE_string("identity", "", "Whose capture of the folder: its name or the subject's id.")
_FRAMES = flags.DEFINE_integer("frames", 0, "Learn from so many frames, evenly spaced over those not held out; 0: all.", lower_bound=0)
_CAMERAS = flags.DEFINE_list("cameras", None, "Learn from these cameras alone, ids with commas between; by default all.")
_HELD_OUT = flags.DEFINE_list(
    "held_out", None, "Frames that say when to end: segments' names, or a number of last frames; default: as in RUN, or the last tenth."
)
_TUNE = flags.DEFINE_list("tune", ["all"], "What learns: calibration, texels, codes, decoders, all; several with commas between.")
_STEPS = flags.DEFINE_integer("steps", None, "Steps at most.", lower_bound=1)
_RATE = flags.DEFINE_float("learning_rate", None, "The highest; by default a third of RUN's.", lower_bound=0.0)
_OUT = flags.DEFINE_string("out", None, "Folder of the new run; by default RUN/enrolled/PERSON.")


def main(context: Context) -> None:
    """Enrols, as the flags say."""
    if not _CAPTURE.value:
        raise ValueError("--capture is missing: the folder of the person's capture, as in --capture=CAPTURES/20260104--0903--RLF004.")
    base = context.restore(_WORKDIR.value, _STEP.value)
    from ava_jax.tasks.ava256.apps import enrolment  # after the run is found: these import jax

    run = pathlib.Path(_WORKDIR.value).expanduser().absolute()
    captures, capture = _find()
    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else run / "enrolled" / capture.subject
    given = {"steps": _STEPS.value, "learning_rate": _RATE.value}
    recipe = enrolment.Recipe(tuple(_TUNE.value), **{name: value for name, value in given.items() if value is not None})
    chosen = {"frames": _FRAMES.value, "cameras": _CAMERAS.value or (), "held_out": _HELD_OUT.value or ()}
    pictures = enrolment.choose(captures, capture, base.config, **chosen)
    known = " (RUN knows this person already)" if capture.name in base.assets.names["identities"] else ""
    end = f"{len(pictures.held_out)} frames say when to end" if pictures.held_out else "none is held out to say when to end"
    print(f"{capture.name}{known}: {len(pictures.frames)} frames by {len(pictures.cameras)} cameras to learn from; {end}", flush=True)
    best = enrolment.enrol(context, base, run, captures, pictures, recipe, out)
    if best is None:
        return
    what = f"after {best} steps" if best else "as encoded: no step of fine-tuning made the held-out frames better"
    print(f"{out}: {capture.name} is enrolled, {what}\nava eval --workdir={out}")


def _find() -> tuple["CaptureSet", "Capture"]:
    """The captures of --capture, and the one that is meant.

    Raises:
      ValueError: there is none, or several and none is named.
    """
    from ava_jax.captures import capture_set
    from ava_jax.data import zip_index
    from ava_jax.data.remote import location

    if location.is_url(_CAPTURE.value):
        raise ValueError(f"--capture={_CAPTURE.value}: must be a folder here; ava ava256 download, or a copy, brings the capture.")
    folder = pathlib.Path(_CAPTURE.value).expanduser().absolute()
    one = (folder / "decoder").is_dir()
    captures = capture_set.load(folder.parent if one else folder, index_folder=zip_index.default_folder())
    if one or _IDENTITY.value:
        return captures, captures.find("--identity", folder.name if one else _IDENTITY.value)
    if len(captures) > 1:
        raise ValueError(f"{folder} holds {len(captures)} captures: --identity must name one, as in {captures.captures[0].subject}.")
    return captures, captures.captures[0]
