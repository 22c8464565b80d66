"""Textures beside what the model makes of them, and predictions written as files."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from ava_jax.core.mesh import Topology
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.data import files, mesh_files
from ava_jax.tasks.base import Example
from ava_jax.tasks.multiface.data import source
from ava_jax.tasks.multiface.evaluation import display
from ava_jax.viz import sheet

_MOST = 4  # samples of a progress picture


def panels(found: Array, truth: Array) -> dict[str, np.ndarray]:
    """Caption -> u8 [T, T, 3], upright: the truth, the prediction, their difference where the truth was seen.

    Args:
      found: [T, T, 3], raw, 0-255, row 0 at v = 0.
      truth: u8 [S, S, 3], the same; brought to T.
    """
    found, truth = np.asarray(found)[::-1], np.asarray(truth)[::-1]
    whole = _resized(np.where(truth.any(-1), np.uint8(255), np.uint8(0)), len(found)) == 255  # texels beside unseen ones mix with black
    shown, expected = display.shown(found), display.shown(_resized(truth, len(found)))
    return {"truth": expected, "prediction": shown, display.DIFFERENCE: display.difference(shown, expected, whole)}


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture u8 [S, S, ...] as [size, size, ...]."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((size, size), Image.Resampling.BILINEAR))


def progress(textures: Array, batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
    """A sheet of a batch's first textures f32 [B, T, T, 3]."""
    strips = []
    for i, row in enumerate(source.describe(batch, assets)[:_MOST]):
        strips.append(sheet.Strip(_title(row), tuple(panels(textures[i], np.asarray(batch["texture"])[i]).items())))
    return {"textures": np.asarray(sheet.compose(strips, columns=1))}


def write_examples(
    predict: Callable[[Batch], Mapping[str, Array]], best: Sequence[Example], worst: Sequence[Example], path: pathlib.Path
) -> bool:
    """Draws the best samples to the left, the worst to the right, into a JPEG. False where there are none.

    `predict`: compiled; its `texture` is [B, T, T, 3].
    """
    strips = []
    for label, row, sample in (example for pair in zip(best, worst, strict=True) for example in pair):
        found = predict({name: value[None] for name, value in sample.items()})
        strips.append(sheet.Strip(f"{_title(row)}: {label}", tuple(panels(found["texture"][0], sample["texture"]).items())))
    if strips:
        sheet.save(sheet.compose(strips, columns=2), path)
    return bool(strips)


def export(prediction: Mapping[str, Array], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes SEGMENT_FRAME_CAMERA.obj, mm, with its material and its texture as a PNG, raw values.

    `prediction`: `vertices` [V, 3], mm; `texture` [T, T, 3], 0-255, row 0 at v = 0.
    """
    row = source.describe({name: np.asarray(value)[None] for name, value in sample.items()}, assets)[0]
    name = f"{row['segment']}_{row['frame']:06d}_{row['camera']}"
    topology = Topology(*(assets.arrays[part] for part in ("faces", "face_uvs", "uvs")))
    picture = np.clip(np.rint(np.asarray(prediction["texture"])[::-1]), 0, 255).astype(np.uint8)
    paths = [folder / f"{name}.{end}" for end in ("obj", "mtl", "png")]
    files.replace(paths[0], mesh_files.textured_obj(topology, np.asarray(prediction["vertices"]), paths[1].name, "skin"))
    files.replace(paths[1], mesh_files.textured_material("skin", paths[2].name))
    with files.writing(paths[2]) as file:
        Image.fromarray(picture).save(file, "PNG")
    return paths


def _title(row: Mapping[str, object]) -> str:
    return f"{row['segment']} {row['frame']}, camera {row['camera']}"
