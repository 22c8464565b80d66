"""Renders ava256 avatars: any expressions on any people, from any side. Writes a video and PNGs.

  ava render --workdir=RUN                                                    the truth beside the avatar, frames held out of training
  ava render --workdir=RUN --people=A --driver=B --segment=EXP_jaw_open       A with B's expressions, beside B
  ava render --workdir=RUN --people=all:6 --driver=CODES.npz --path=circle    six people, driven by a file, the camera going around
  ava render --workdir=RUN --people=A,B,C --segment=EXP_a,EXP_b --turntable   a grid, people x expressions
  ava render --workdir=RUN --people=A,B --between=people --background=none --video=mov

Results: RUN/render/<step>/. All options by what they are for: docs/guide/drive.md.
"""

import difflib
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from PIL import Image, ImageColor, ImageOps

from ava_jax.core.names import pick
from ava_jax.tasks.ava256.apps import choices
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

if TYPE_CHECKING:  # these import jax
    from ava_jax.captures.capture_set import CaptureSet
    from ava_jax.tasks.ava256.apps.shots import Ask
    from ava_jax.tasks.ava256.task import Ava256

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_PEOPLE = flags.DEFINE_list("people", [], "Who is shown: captures' folders or subjects' ids; all or all:6; by default the first.")
flags.DEFINE_alias("identity", "people")
_DRIVER = flags.DEFINE_string("driver", "", "Whose expressions: a capture, or a file of codes (npz, csv); by default the person's own.")
_SEGMENT = flags.DEFINE_list("segment", [], "Which of the driver's frames; several are columns of a grid; by default those held out.")
_MAX_FRAMES = flags.DEFINE_integer("max_frames", None, "At most so many of the frames, evenly spaced; 0: all; 64, of files all.", 0)
_CAMERA = flags.DEFINE_list("camera", [], "Which of the driver's cameras, or portrait; by default the one most in front of the face.")
_PATH = flags.DEFINE_string("path", "", "How it moves: swing, circle, still, ellipse, spiral, interpolate, raw, or a file of keyframes.")
_TURNTABLE = flags.DEFINE_bool("turntable", False, "The same as --path=swing.")
_DEGREES = flags.DEFINE_float("degrees", 60.0, "How far a path goes to either side.", lower_bound=0.0)
flags.DEFINE_alias("turntable_degrees", "degrees")
_FRAMES = flags.DEFINE_integer("frames", None, "Length of a video that loops through the expressions, 72; 0: each once, no loop.", 0)
flags.DEFINE_alias("turntable_frames", "frames")
_HEAD_POSE = flags.DEFINE_enum("head_pose", None, ["keep", "still"], "Heads move as the driver's did; still in videos that loop.")
_BETWEEN = flags.DEFINE_enum("between", None, ["people", "expressions"], "Blend from one of --people, or --segment, to the next.")
_EXAGGERATE = flags.DEFINE_float("exaggerate", 1.0, "Scales expressions: 0 is neutral, 2 twice as much.")
_SMOOTH = flags.DEFINE_string("smooth", "", "Smooths expressions and head poses: 2, a Gaussian of 2 frames; or one_euro[:HZ[:BETA]].")
_TRUTH = flags.DEFINE_bool("truth", None, "The photograph beside it; by default wherever there is one of this view.")
_BACKGROUND = flags.DEFINE_string("background", "", "learned, a colour (white, #204060), a picture's file, or none, which is transparent.")
_VIDEO = flags.DEFINE_list("video", None, "Kinds of files: mp4, webm (VP9), mov (ProRes), png; webm, mov and png have alpha; mp4,png.")
_FPS = flags.DEFINE_float("fps", None, "Frames per second; by default 8, of loops 24, of files of codes 30.", lower_bound=0.1)
_DOWNSAMPLE = flags.DEFINE_integer(
    "downsample", None, "Pictures are 4096 x 2668 // this; default: as trained, without truth 16 at most.", 1
)
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/render/<step>.")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp")


def main(context: Context) -> None:
    """Renders and writes, as the flags say."""
    path = _PATH.value or ("swing" if _TURNTABLE.value else "")
    if path and not path.lower().endswith(".json"):
        pick("--path", path, choices.PATHS)
    background, smooth, kinds = _background(_BACKGROUND.value), choices.parse_smoothing(_SMOOTH.value), _kinds()
    overrides = {"data.root": _DATA.value, "data.downsample": _DOWNSAMPLE.value}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    from ava_jax.tasks.ava256.apps import shots  # jax is imported here, so that --help stays quick, and mistakes are told at once
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.data import strangers
    from ava_jax.viz import video

    ask = _ask(path, background, smooth)
    if _DOWNSAMPLE.value is None and (ask.against_truth or ask.truth is False):
        config.data.downsample = min(config.data.downsample, 16)  # no photographs beside it: it may be finer than they were
    captures = _captures(task, ask)
    if captures is not None:
        strangers.check(captures, config, assets)
    workdir = pathlib.Path(_WORKDIR.value).expanduser()
    shot = shots.plan(ask, Avatar(context.compile(model), config, assets, workdir, step), captures, config, assets)
    out = pathlib.Path(_OUT.value or workdir / "render" / str(step)).expanduser()
    written = video.write(shot.pictures, out, shot.name, fps=shot.fps, total=shot.count, kinds=kinds)
    print("\n".join([*shot.about, *(f"wrote {path}" for path in written)]))


def _ask(path: str, background: Any, smooth: choices.Smoothing | None) -> "Ask":
    """What the flags say."""
    from ava_jax.tasks.ava256.apps import shots

    return shots.Ask(
        people=tuple(_PEOPLE.value),
        driver=_DRIVER.value,
        segments=tuple(_SEGMENT.value),
        cameras=tuple(_CAMERA.value),
        path=path,
        frames=_FRAMES.value,
        most=_MAX_FRAMES.value,
        degrees=_DEGREES.value,
        head_pose=_HEAD_POSE.value,
        between=_BETWEEN.value or "",
        smooth=smooth,
        exaggerate=_EXAGGERATE.value,
        truth=_TRUTH.value,
        background=background,
        fps=_FPS.value,
    )


def _kinds() -> list[str]:
    """Of files.

    Raises:
      ValueError: there is no such kind.
    """
    from ava_jax.viz import video

    if unknown := [kind for kind in _VIDEO.value or () if kind not in video.KINDS]:
        raise ValueError(f"--video={unknown[0]}: must be of {', '.join(video.KINDS)}.")
    return _VIDEO.value or list(video.DEFAULT)


def _captures(task: "Ava256", ask: "Ask") -> "CaptureSet | None":
    """The captures at hand; None where a file of codes drives, none are named, and those of the training are gone."""
    if not ask.from_file or _DATA.value is not None:
        return task.captures
    try:
        return task.captures
    except (ValueError, OSError) as e:
        print(f"without captures: {e}")
        return None


def _background(name: str) -> "str | np.ndarray | Callable[[int, int], np.ndarray] | None":
    """As `Ask.background`: "" and learned as they are, none as None, a colour f32 [3], a picture as what is made of it at a size."""
    if name in ("", "none", "learned"):
        return {"": "", "none": None, "learned": choices.LEARNED}[name]
    if pathlib.Path(name).suffix.lower() in _PICTURES:
        with _opened(name) as picture:
            colours = picture.convert("RGB")
        return lambda height, width: np.asarray(ImageOps.fit(colours, (width, height), Image.Resampling.LANCZOS), np.float32)
    try:
        return np.array(ImageColor.getcolor(name, "RGB"), np.float32)
    except ValueError as e:
        near = difflib.get_close_matches(name, [*ImageColor.colormap, "none", "learned"], n=3)
        hint = f"the nearest names are {', '.join(near)}" if near else "as in white, #204060, none or learned"
        raise ValueError(f"--background={name}: not a colour; {hint}. A picture is named with its end, as in wall.png.") from e


def _opened(name: str) -> Image.Image:
    try:
        return Image.open(pathlib.Path(name).expanduser())
    except FileNotFoundError as e:
        raise FileNotFoundError(f"--background={name}: there is no such picture.") from e
    except OSError as e:
        raise ValueError(f"--background={name}: not a picture that can be read ({e}).") from e
