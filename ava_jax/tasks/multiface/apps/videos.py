"""Videos of a trained avatar beside the photographs of each segment and camera."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageDraw, ImageFont

from ava_jax.core.names import near
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import Compile
from ava_jax.tasks.multiface.data import source, splits
from ava_jax.tasks.multiface.evaluation import display
from ava_jax.tasks.multiface.model.avatar import Avatar
from ava_jax.viz import sheet, video

CAMERAS = 2  # drawn by default, as published
_BAR, _SHEET_FRAMES = 44, 6
_CAPTIONS = ("GT", "PRED", f"DIFF, {display.DIFFERENCE.partition(' ')[2].strip('()')}")


class Choice(NamedTuple):
    """What of a split is drawn.

    Attributes:
      split: of the task.
      segments: beginnings of names; () = all.
      cameras: names; ("all",) = all; () = the first two.
      every: frames.
      most: frames of a video, the first ones; 0 = all.
    """

    split: str
    segments: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    every: int = 1
    most: int = 0


class _Video(NamedTuple):
    """`samples`: (number in the source, frame)."""

    segment: str
    camera: str
    samples: list[tuple[int, int]]

    @property
    def name(self) -> str:
        return f"{self.segment}_{self.camera}"


def write(
    compile_model: Compile, config: ConfigDict, assets: Assets, choice: Choice, folder: pathlib.Path, *, plain: bool, fps: float
) -> list[pathlib.Path]:
    """Writes SEGMENT_CAMERA.mp4, a folder of its frames as PNGs, and frames.jpg, a sheet of some of them.

    Args:
      compile_model: of the trained model.
      config, assets: the run's, of the data at hand.
      choice: what is drawn.
      folder: made where it is not there; videos in it are left as they are.
      plain: colours as in the files, not brightened.
      fps: of the videos.

    Returns:
      What was written.

    Raises:
      ValueError: nothing is chosen, or the split has no such segment or camera.
      OSError: a file cannot be written.
    """
    config.eval.max_samples = 0  # numbers in the source are told by frames and cameras
    views = source.source(config, choice.split, assets, image=True)
    draw = compile_model(drawn)
    written, strips = [], []
    chosen = _videos(config, choice)
    for one in chosen:
        if (folder / f"{one.name}.mp4").exists() and (folder / one.name).is_dir():
            print(f"{one.name}: there already")
            continue
        kept: list[tuple[str, np.ndarray]] = []
        middle = one.samples[len(one.samples) // 2][1]

        def frames(one: _Video = one, kept: list = kept, middle: int = middle) -> Iterator[np.ndarray]:
            for index, number in one.samples:
                sample = views[index]
                if sample is None:
                    print(f"{one.name}: frame {number} cannot be read, and is left out")
                    continue
                parts = panels(draw, sample, plain=plain)
                if number == middle or not kept:
                    kept[:] = zip(_CAPTIONS, parts, strict=True)
                yield _framed(f"{one.segment} {number}, camera {one.camera}", parts)

        written += video.write(frames(), folder, one.name, fps=fps, total=len(one.samples))
        strips.append(sheet.Strip(f"{one.segment}, camera {one.camera}", tuple(kept)))
    if strips:
        at = np.linspace(0, len(strips) - 1, min(len(strips), _SHEET_FRAMES)).round().astype(int)
        sheet.save(sheet.compose([strips[i] for i in at], columns=2 if len(at) > 1 else 1), folder / "frames.jpg")
        written.append(folder / "frames.jpg")
    return written


def drawn(model: Avatar, batch: Batch) -> dict[str, jax.Array]:
    """What the cameras of a batch with photographs see of the decoded avatars.

    Returns:
      `colour` f32 [B, H, W, 3], 0-255, black beside the mesh; `seen` bool [B, H, W].
    """
    answer, statistics = model.answer(batch), model.statistics
    size = batch["image"].shape[1:3]
    texture = statistics.raw_texture(answer.texture)
    rendering = model.screen.draw(statistics.raw_vertices(answer.vertices), texture, batch, size)
    return {"colour": rendering.colour, "seen": rendering.fragments.index >= 0}


def panels(draw: Callable[[Batch], Mapping[str, Array]], sample: Mapping[str, Any], *, plain: bool) -> list[np.ndarray]:
    """GT, PRED and DIFF of a sample, u8 [H, W, 3] each. `draw`: `drawn`, compiled."""
    found = draw({name: np.asarray(value)[None] for name, value in sample.items()})
    truth, prediction = display.shown(sample["image"], plain=plain), display.shown(found["colour"][0], plain=plain)
    return [truth, prediction, display.difference(prediction, truth, found["seen"][0])]


def _videos(config: ConfigDict, choice: Choice) -> list[_Video]:
    found = source.load(config)
    part = splits.select(found, config, choice.split)
    numbers, segments = found.frames[part.frames].tolist(), found.segments[part.frames].tolist()
    names = [found.cameras[i].name for i in part.cameras]
    cameras = names if choice.cameras == ("all",) else choice.cameras or names[:CAMERAS]
    if missing := [name for name in cameras if name not in names]:
        raise ValueError(
            f"--cameras={missing[0]}: the split {choice.split} has none of it; the nearest are {', '.join(near(missing[0], names))}."
        )
    kept = [one for one in dict.fromkeys(segments) if not choice.segments or one.startswith(choice.segments)]
    if not kept:
        known = ", ".join(near((choice.segments or ("",))[0], segments))
        raise ValueError(f"--segments: the split {choice.split} has none that begins so; the nearest are {known or 'none'}.")
    made = []
    for segment in kept:
        rows = [row for row, name in enumerate(segments) if name == segment][:: choice.every]
        rows = rows[: choice.most] if choice.most else rows
        for camera in cameras:
            made.append(_Video(segment, camera, [(row * len(names) + names.index(camera), numbers[row]) for row in rows]))
    return made


def _framed(title: str, parts: list[np.ndarray]) -> np.ndarray:
    """The panels side by side under a title and their captions."""
    height, width = parts[0].shape[:2]
    picture = Image.new("RGB", (width * len(parts), height + _BAR), sheet.PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    pen.text((8, 5), sheet.shortened(title, width * len(parts) - 16, font), fill=sheet.INK, font=font)
    for i, (caption, panel) in enumerate(zip(_CAPTIONS, parts, strict=True)):
        pen.text((i * width + 8, 25), sheet.shortened(caption, width - 16, font), fill=sheet.FAINT, font=font)
        picture.paste(Image.fromarray(panel), (i * width, _BAR))
    return np.asarray(picture)
