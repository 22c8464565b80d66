"""Renders an ava256 avatar: a segment from a camera of its capture, beside the truth, or a turntable. Writes mp4 and PNGs.

  ava-render --workdir=RUN --turntable
  ava-render --workdir=RUN --turntable --path=circle --background=none --fps=30
  ava-render --workdir=RUN --identity=SUBJECT --driver=OTHER --segment=EXP_jaw_open --camera=400029

Without --turntable: truth | self | (with --driver) the identity with the driver's expressions. Results: RUN/render/<step>/.
"""

import difflib
import pathlib
from typing import TYPE_CHECKING

from absl import flags
from PIL import ImageColor

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.core.types import Assets
    from ava_jax.tasks.ava256.apps.selection import RenderSelection

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_IDENTITY = flags.DEFINE_string("identity", "", "Who is shown: a capture's folder or a subject's id; by default the first.")
_DRIVER = flags.DEFINE_string("driver", "", "Whose expressions; by default the identity's own.")
_SEGMENT = flags.DEFINE_string("segment", "", "Which of the driver's frames; by default those held out of training.")
_CAMERA = flags.DEFINE_string("camera", "", "Which of the driver's cameras; by default the one most in front of the face.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 64, "At most so many frames of the segment, evenly spaced; 0: all.", lower_bound=0)
_TURNTABLE = flags.DEFINE_bool("turntable", False, "Swing the camera around the head, through the segment's expressions.")
_PATH = flags.DEFINE_enum("path", None, ["swing", "circle", "still"], "How a turntable's camera moves; by default it swings.")
_BACKGROUND = flags.DEFINE_string("background", None, "Of a turntable: a colour (white, #204060), or none for PNGs with alpha; black.")
_FPS = flags.DEFINE_float("fps", None, "Frames per second of the video; by default 8, turntables 24.", lower_bound=0.1)
_COUNT = flags.DEFINE_integer("turntable_frames", 72, "Length of the turntable.", lower_bound=1)
_DEGREES = flags.DEFINE_float("turntable_degrees", 60.0, "How far a swing goes to either side.", lower_bound=0.0)
_DOWNSAMPLE = flags.DEFINE_integer("downsample", None, "Pictures are 4096 x 2668 // this; default: as trained, turntables 16 at most.", 1)
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/render/<step>.")


def main(context: Context) -> None:
    """Renders and writes, as the flags say."""
    if not _TURNTABLE.value and (_PATH.value or _BACKGROUND.value):
        raise ValueError("--path and --background are of turntables: add --turntable.")
    background = _colour(_BACKGROUND.value or "black")
    overrides = {"data.root": _DATA.value, "data.downsample": _DOWNSAMPLE.value}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    from ava_jax.tasks.ava256.apps import selection, sequences  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.data import strangers
    from ava_jax.viz import video

    if _TURNTABLE.value and _DOWNSAMPLE.value is None:
        config.data.downsample = min(config.data.downsample, 16)  # no photographs beside it: it may be finer than they were
    names = (flag.value for flag in (_IDENTITY, _DRIVER, _SEGMENT, _CAMERA))
    shot = selection.find(task.captures, config, assets, *names, most=_MAX_FRAMES.value)
    strangers.check(task.captures, config, assets)
    compile_model = context.compile(model)
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    out = pathlib.Path(_OUT.value or workdir / "render" / str(step)).expanduser()
    if _TURNTABLE.value:
        angles = sequences.camera_path(_PATH.value or "swing", _COUNT.value, _DEGREES.value)
        avatar = Avatar(compile_model, config, assets, workdir, step)
        frames = sequences.turntable(avatar, shot, angles, background=background)
        first = assets.names["identities"][0]
        name = "turntable" if shot.identity == shot.driver == first else f"turntable_{shot.people}"  # none is written over another
        written = video.write(frames, out, name, fps=_FPS.value or 24, total=_COUNT.value)
    else:
        name = "_".join(filter(None, [shot.name, _SEGMENT.value]))
        written = video.write(sequences.beside_truth(compile_model, shot), out, name, fps=_FPS.value or 8, total=len(shot.samples))
    about = f"{shot.identity} with the expressions of {shot.driver}, {len(shot.samples)} frames, camera {shot.camera}"
    new = _new_to(assets, shot)
    print("\n".join([about, *new, *(f"wrote {path}" for path in written)]))


def _new_to(assets: "Assets", shot: "RenderSelection") -> list[str]:
    """A line on who and what of a shot was not seen in training."""
    people = [name for name in dict.fromkeys((shot.identity, shot.driver)) if name not in assets.names["identities"]]
    new = people + ([] if shot.samples[0]["camera"] >= 0 else [f"camera {shot.camera}"])
    return [f"not seen in training: {', '.join(new)}; in the mean colour calibration and without a background"] if new else []


def _colour(name: str) -> tuple[int, int, int] | None:
    """0-255; None for "none"."""
    try:
        return None if name == "none" else ImageColor.getcolor(name, "RGB")
    except ValueError as e:
        near = difflib.get_close_matches(name, [*ImageColor.colormap, "none"], n=3)
        hint = f"the nearest names are {', '.join(near)}" if near else "as in white, #204060 or none"
        raise ValueError(f"--background={name}: not a colour; {hint}.") from e
