"""Skin interpolation, prediction and scan side by side: sheets, progress pictures, and a video of motions that were held out."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageDraw, ImageFont

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import Compile, Example
from ava_jax.tasks.mesh_fit.data import source
from ava_jax.tasks.mesh_fit.evaluation import motion
from ava_jax.tasks.mesh_fit.evaluation.view import FULL_SCALE, PAPER, View, error_colours, error_mm, legend
from ava_jax.viz import sheet, video

PANEL = (320, 240)  # pixels, height and width
FRAMES_PER_SECOND = 15.0  # of the video: half the speed of a recording
_MOST_FRAMES = 90  # of a video
_CAPTIONS = ("source", "prediction")


def panels(view: View, faces: np.ndarray, skin: Array, prediction: Array, target: Array | None) -> tuple[tuple[str, np.ndarray], ...]:
    """Captions and pictures of one frame: source, prediction, and the scan coloured by the error of either; meshes [V, 3], metres."""
    drawn = [view.draw(skin, faces), view.draw(prediction, faces)]
    captions = list(_CAPTIONS)
    if target is not None:
        errors = [error_mm(mesh, target) for mesh in (skin, prediction)]
        drawn += view.draw_all(target, faces, [error_colours(error) for error in errors])
        captions += [f"scan; {mesh} is {error.mean():.1f} mm off" for mesh, error in zip(_CAPTIONS, errors, strict=True)]
    return tuple(zip(captions, drawn, strict=True))


def of_sample(prediction: Mapping[str, Array], sample: Batch, assets: Assets) -> dict[str, np.ndarray]:
    """A sample's scan, the prediction, and the scan coloured by the error, as `Task.draw_sample` gives them; {} without a scan.

    Args:
      prediction: `vertices` [V, 3].
      sample: without the batch axis.
      assets: of the task.
    """
    if "target" not in sample:
        return {}
    target, found, faces = np.asarray(sample["target"]), np.asarray(prediction["vertices"]), assets.arrays["faces"]
    view = View.around(np.concatenate([np.asarray(sample["source"])[-1], target]), *PANEL)
    scan, error = view.draw_all(target, faces, [None, error_colours(error_mm(found, target))])
    return {"scan": scan, "prediction": view.draw(found, faces), f"error (0 to {FULL_SCALE:.0f} mm)": error}


def with_legend(picture: Image.Image) -> Image.Image:
    """The picture with the legend of errors under it."""
    bar = legend(picture.width)
    whole = Image.new("RGB", (picture.width, picture.height + len(bar)), PAPER)
    whole.paste(picture, (0, 0))
    whole.paste(Image.fromarray(bar), (0, picture.height))
    return whole


def progress(pictures: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
    """What training shows of a batch: a sheet of its meshes.

    Args:
      pictures: `vertices` [B, V, 3], predicted.
      batch: that they are of.
      assets: of the task.

    Returns:
      `meshes`, u8 [H, W, 3].
    """
    strips = []
    for i, row in enumerate(source.describe(batch, assets)):
        skin, target = np.asarray(batch["source"])[i, -1], np.asarray(batch["target"])[i]
        view = View.around(np.concatenate([skin, target]), *PANEL)  # a network that has learnt nothing yet does not set the frame
        strips.append(sheet.Strip(_title(row), panels(view, assets.arrays["faces"], skin, pictures["vertices"][i], target)))
    return {"meshes": np.asarray(with_legend(sheet.compose(strips, columns=1, height=PANEL[0])))}


def write_examples(
    compile_model: Compile,
    predict: motion.Predict,
    config: ConfigDict,
    best: Sequence[Example],
    worst: Sequence[Example],
    path: pathlib.Path,
) -> bool:
    """Draws samples beside what the model makes of them into a JPEG: the best to the left, the worst to the right.

    `predict` is the task's.
    """
    examples = [example for pair in zip(best, worst, strict=True) for example in pair]
    if not examples:
        return False
    compiled = compile_model(predict)
    _, faces = source.load(config)
    strips = []
    for label, row, sample in examples:
        batch = {name: value[None] for name, value in sample.items()}
        vertices = np.asarray(compiled(batch)["vertices"])[0]
        skin, target = sample["source"][-1], sample["target"]
        view = View.around(np.concatenate([skin, target]), *PANEL)
        strips.append(sheet.Strip(f"{_title(row)}: {label}", panels(view, faces, skin, vertices, target)))
    sheet.save(with_legend(sheet.compose(strips, columns=2, height=PANEL[0])), path)
    return True


def write_artefacts(
    compile_model: Compile, predict: motion.Predict, config: ConfigDict, assets: Assets, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes what an evaluation shows of motions: jitter as a table, and a sheet and a video of the longest stretch that was held out.

    Args:
      compile_model: of the trained model.
      predict: of the task.
      config: of the task.
      assets: of the task.
      folder: that exists.
    """
    recordings = motion.record(compile_model, predict, config, assets, keep=_MOST_FRAMES)
    if not recordings:
        return []
    written = motion.write_jitter(recordings, folder)
    longest = max(recordings, key=lambda recording: len(recording.frames))
    return [*written, write_sheet(longest, assets, folder), *write_video(longest, assets, folder)]


def write_sheet(recording: motion.Recording, assets: Assets, folder: pathlib.Path, *, most: int = 4) -> pathlib.Path:
    """Writes `motion.jpg`: frames of a recording, evenly spread, in one view; not the first, which has none before it."""
    view = View.around(recording.target, *PANEL)
    count = len(recording.frames)
    shown = min(most, count)
    chosen = ((np.arange(shown) + 0.5) * count / shown).astype(int)
    strips = [sheet.Strip(_title(_row(recording, i)), _of(recording, i, view, assets)) for i in chosen]
    path = folder / "motion.jpg"
    sheet.save(with_legend(sheet.compose(strips, columns=min(2, len(strips)), height=PANEL[0])), path)
    return path


def write_video(recording: motion.Recording, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `motion.mp4` and its frames as PNGs, of a recording in one view."""
    view = View.around(recording.target, *PANEL)
    bar = None

    def frames() -> Iterator[np.ndarray]:
        nonlocal bar
        for i in range(len(recording.frames)):
            picture = _row_of_panels(_title(_row(recording, i)), _of(recording, i, view, assets))
            bar = legend(picture.shape[1]) if bar is None else bar
            yield np.concatenate([picture, bar])

    return video.write(frames(), folder, "motion", fps=FRAMES_PER_SECOND, total=len(recording.frames))


def _row_of_panels(title: str, parts: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """A title over captioned panels, u8 [H, W, 3]: plain, so that a hundred of them take a second."""
    height, width = parts[0][1].shape[:2]
    picture = Image.new("RGB", (width * len(parts), height + 44), PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    draw.text((8, 5), title, fill=(235, 235, 235), font=font)
    for i, (caption, panel) in enumerate(parts):
        draw.text((i * width + 8, 25), caption, fill=(150, 152, 158), font=font)
        picture.paste(Image.fromarray(panel), (i * width, 44))
    return np.asarray(picture)


def _of(recording: motion.Recording, i: int, view: View, assets: Assets) -> tuple[tuple[str, np.ndarray], ...]:
    return panels(view, assets.arrays["faces"], recording.source[i], recording.prediction[i], recording.target[i])


def _row(recording: motion.Recording, i: int) -> dict[str, str]:
    return {"sequence": recording.sequence, "frame": recording.frames[i]}


def _title(row: dict[str, str]) -> str:
    return f"{row['sequence']} {row['frame']}"
