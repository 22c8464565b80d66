"""Bakes a segment of an avatar into one web page, which plays it with a free camera: no server, no network.

  ava ava256 webpage --workdir=RUN --segment=EXP_jaw_open --out=head.html
  ava ava256 webpage --workdir=RUN --identity=SUBJECT --driver=OTHER --out=head.html
  ava ava256 webpage --workdir=RUN --identity=SUBJECT --driver=codes.npz --out=head.html      # needs no captures

The page opens from a disk, in a browser with WebGPU or WebGL2.
"""

import pathlib

from absl import flags
from PIL import ImageColor

from ava_jax.core import names
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_IDENTITY = flags.DEFINE_string("identity", "", "Who is shown: a capture's folder or a subject's id; by default the first.")
_DRIVER = flags.DEFINE_string(
    "driver", "", "Whose expressions: a capture's, or a file of codes, npz or CSV, which needs no captures; by default the identity's own."
)
_SEGMENT = flags.DEFINE_string("segment", "", "Which of the driver's frames; by default those held out of training, of a file all.")
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
    if _OUT.value and pathlib.Path(_OUT.value).suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out={_OUT.value}: it must end in .html, as browsers know pages by it.")
    run = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    from ava_jax.tasks.ava256.apps import performance
    from ava_jax.tasks.ava256.apps.avatar import Avatar  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.ava256.webpage import segment as segments

    compile_model = context.compile(run.model)
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    avatar = Avatar(compile_model, run.config, run.assets, workdir, run.step)
    captures = None if performance.is_file(_DRIVER.value) and _DATA.value is None else run.task.captures
    asked = {"identity": _IDENTITY.value, "driver": _DRIVER.value, "segment": _SEGMENT.value, "most": _MAX_FRAMES.value}
    found = performance.find(avatar, captures, run.config, run.assets, **asked)
    who = found.person if found.person == found.driver else f"{found.person} with the expressions of {found.driver}"
    about = ", ".join(filter(None, [who, _SEGMENT.value]))
    shown = segments.Segment(avatar.encode_identity(*found.neutral), found.known, found.codes.codes, found.person, about)
    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else workdir / "webpage" / str(run.step) / f"{found.file_name}.html"
    baked = segments.bake_segment(avatar, run.config, shown, rank=_COMPONENTS.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = segments.write_page(out, avatar, run.config, compile_model, shown, baked, fps=_FPS.value, background=background)
    held = f"{len(baked.mean):,} of {len(baked.mean) + baked.pruned:,} primitives are seen, {len(baked.basis)} components"
    print(f"{shown.about}: {len(shown.codes)} frames\n{held}\nwrote {out}, {size / 1e6:.1f} MB")


def _colour(name: str) -> tuple[int, int, int]:
    """0-255."""
    try:
        return ImageColor.getcolor(name, "RGB")
    except ValueError as e:
        near = names.near(name, ImageColor.colormap)
        raise ValueError(f"--background={name}: not a colour; the nearest names are {', '.join(near)}, or as in #204060.") from e
