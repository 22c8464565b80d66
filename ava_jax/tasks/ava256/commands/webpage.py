"""Bakes a segment of an avatar into one web page, which plays it with a free camera: no server, no network.

  ava ava256 webpage --workdir=RUN --segment=EXP_jaw_open --out=head.html
  ava ava256 webpage --workdir=RUN --identity=SUBJECT --driver=OTHER --out=head.html
  ava ava256 webpage --workdir=RUN --identity=SUBJECT --drive=codes.npz --out=head.html       # needs no captures

The page opens from a disk, in a browser with WebGPU or WebGL2.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags
from PIL import ImageColor

from ava_jax.core import names
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.webpage.segment import Segment
    from ava_jax.tasks.base import RestoredRun

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_IDENTITY = flags.DEFINE_string("identity", "", "Who is shown: a capture's folder or a subject's id; by default the first.")
_DRIVER = flags.DEFINE_string("driver", "", "Whose expressions; by default the identity's own.")
_SEGMENT = flags.DEFINE_string("segment", "", "Which of the driver's frames; by default those held out of training.")
_DRIVE = flags.DEFINE_string("drive", None, "A file of expression codes instead of a driver, npz or CSV: no captures are read.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 64, "At most so many frames of the segment, evenly spaced; 0: all.", lower_bound=0)
_COMPONENTS = flags.DEFINE_integer(
    "components", 8, "How voxels change over the frames: so many components; more are nearer and larger.", 0, 32
)
_FPS = flags.DEFINE_float("fps", 8, "Frames per second at the page's usual speed; between two frames it interpolates.", lower_bound=0.1)
_BACKGROUND = flags.DEFINE_string("background", "black", "A colour, which the page's reader can change.")
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "The page, a .html file; by default RUN/webpage/<step>/<who>.html.")


def main(context: Context) -> None:
    """Bakes and writes, as the flags say."""
    background = _colour(_BACKGROUND.value)
    if _DRIVE.value and (_DRIVER.value or _SEGMENT.value):
        raise ValueError("--drive is a file of expressions: give it, or --driver and --segment, not both.")
    if _OUT.value and pathlib.Path(_OUT.value).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out={_OUT.value}: it must end in .html, as browsers know pages by it.")
    run = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    from ava_jax.tasks.ava256.apps.avatar import Avatar  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.ava256.webpage import segment as segments

    compile_model = context.compile(run.model)
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    avatar = Avatar(compile_model, run.config, run.assets, workdir, run.step)
    name, shown = _from_codes(avatar) if _DRIVE.value else _from_capture(avatar, run)
    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else workdir / "webpage" / str(run.step) / f"{name}.html"
    baked = segments.bake_segment(avatar, run.config, shown, rank=_COMPONENTS.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = segments.write_page(out, avatar, run.config, compile_model, shown, baked, fps=_FPS.value, background=background)
    held = f"{len(baked.mean):,} of {len(baked.mean) + baked.pruned:,} primitives are seen, {len(baked.basis)} components"
    print(f"{shown.about}: {len(shown.codes)} frames\n{held}\nwrote {out}, {size / 1e6:.1f} MB")


def _from_codes(avatar: "Avatar") -> tuple[str, "Segment"]:
    """What the file of --drive says; a name for the page's file."""
    from ava_jax.core.sampling import thin
    from ava_jax.tasks.ava256.data import codes_file
    from ava_jax.tasks.ava256.webpage.segment import Segment

    codes = codes_file.read(_DRIVE.value).codes
    person = avatar.full_name(_IDENTITY.value or avatar.identities[0])
    neutral = avatar.neutral(person)
    stem = pathlib.Path(_DRIVE.value).stem
    about = f"{person} with the expressions of {stem}"
    shown = Segment(avatar.encode_identity(*neutral), person, codes[thin(len(codes), _MAX_FRAMES.value)], person, about)
    return f"{person.rpartition('--')[2]}_by_{stem}", shown


def _from_capture(avatar: "Avatar", run: "RestoredRun") -> tuple[str, "Segment"]:
    """What the flags name in the captures; a name for the page's file."""
    import numpy as np

    from ava_jax.tasks.ava256.apps import selection
    from ava_jax.tasks.ava256.data import strangers
    from ava_jax.tasks.ava256.webpage.segment import Segment

    names = _IDENTITY.value, _DRIVER.value, _SEGMENT.value
    shot = selection.find(run.task.captures, run.config, run.assets, *names, most=_MAX_FRAMES.value)
    strangers.check(run.task.captures, run.config, run.assets)
    codes = np.concatenate([np.asarray(avatar.encode(*(sample[part][None] for part in _FACE))) for sample in shot.samples])
    identity = avatar.encode_identity(*(shot.person[part][None] for part in _FACE[2:]))
    known = shot.identity if shot.identity in avatar.identities else None
    about = shot.identity if shot.identity == shot.driver else f"{shot.identity} with the expressions of {shot.driver}"
    about = f"{about}, {_SEGMENT.value}" if _SEGMENT.value else about
    name = "_".join(filter(None, [shot.people, _SEGMENT.value]))
    return name, Segment(identity, known, codes, shot.identity, about)


_FACE = ("texture", "vertices", "neutral_texture", "neutral_vertices")


def _colour(name: str) -> tuple[int, int, int]:
    """0-255."""
    try:
        return ImageColor.getcolor(name, "RGB")
    except ValueError as e:
        near = names.near(name, ImageColor.colormap)
        raise ValueError(f"--background={name}: not a colour; the nearest names are {', '.join(near)}, or as in #204060.") from e
