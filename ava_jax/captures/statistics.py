"""Means and deviations over captures, which normalise the model's inputs and outputs."""

import concurrent.futures
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures import kept_statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.multiface import recording
from ava_jax.data import images, npy_files, text_files

_AT_ONCE = 16  # textures held while their sum is taken


class Statistics(NamedTuple):
    """What a model's inputs and outputs are normalised by.

    Attributes:
      texture_mean: f32 [T, T, 3], 0-255.
      texture_std: f32 [], 0-255.
      vertices_mean: f32 [V, 3], mm.
      vertices_std: f32 [], mm.
    """

    texture_mean: np.ndarray
    texture_std: np.ndarray
    vertices_mean: np.ndarray
    vertices_std: np.ndarray


def combine(captures: Sequence[Capture], texture_size: int, *, folder: pathlib.Path | None = None) -> Statistics:
    """Combines the captures' own statistics: `color_mean.png`, `registration_vertices_{mean.npy,variance.txt}`, or multiface's of the kind.

    Means are means of means. The texture's variance is the mean square deviation of the captures' means from it, over texels and
    channels; of a single capture, that of its mean from each texel's mean over channels. The vertices' variance is the mean square
    deviation of the captures' means plus the mean of the captures' variances.

    The texture's variance is taken at the files' own resolution, whatever `texture_size`: it is one figure of the data.

    Args:
      captures: one or more.
      texture_size: T.
      folder: where the result is kept from run to run (`kept_statistics`); None: nowhere.

    Raises:
      ValueError: a file is missing or malformed, or captures differ in their number of vertices.
    """
    textures = [c.texture_mean for c in captures]
    meshes = [c.vertices_mean for c in captures]
    deviations = [c.vertices_variance for c in captures]
    key = kept_statistics.key_of([*textures, *meshes, *deviations], texture_size) if folder else None
    kept = kept_statistics.load(folder, key) if key else None
    if kept is not None:
        return Statistics(*kept)
    small, texture_std = _combine_textures(textures, texture_size)
    means = np.stack(vertex_means(meshes)).astype(np.float64)
    mean = means.mean(0)
    found = Statistics(
        texture_mean=small,
        texture_std=np.float32(texture_std),
        vertices_mean=mean.astype(np.float32),
        vertices_std=np.float32(np.sqrt(np.square(means - mean).mean() + np.mean([_scalar(path) for path in deviations]))),
    )
    if key and key == kept_statistics.key_of([*textures, *meshes, *deviations], texture_size):  # none changed while it was read
        kept_statistics.save(folder, key, found)
    return found


def _combine_textures(paths: Sequence[pathlib.Path], size: int) -> tuple[np.ndarray, float]:
    """The mean at `size`, and the deviation at the files' own. A few textures at a time: 256 of full size would be a gigabyte."""
    total, small, squares = np.zeros((), np.uint32), np.zeros((size, size, 3), np.uint32), 0.0
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for i in range(0, len(paths), _AT_ONCE):
            for path, (texture, resized, square) in zip(paths[i:], pool.map(lambda p: _read_texture(p, size), paths[i : i + _AT_ONCE])):
                if total.shape not in ((), texture.shape):
                    raise ValueError(f"{path}: must be {total.shape} as the other captures' mean textures; got {texture.shape}.")
                if not total.shape:
                    total = np.zeros(texture.shape, np.uint32)
                total += texture
                squares += square
                if resized is not texture:
                    small += resized
    small = total if total.shape == small.shape else small
    mean = total / len(paths)
    if len(paths) == 1:
        variance = np.square(mean - mean.mean(-1, keepdims=True)).mean()
    else:
        variance = max(squares / len(paths) - np.square(mean).mean(), 0.0)
    return (small / len(paths)).astype(np.float32), float(np.sqrt(variance))


def _read_texture(path: pathlib.Path, size: int) -> tuple[np.ndarray, np.ndarray, float]:
    """A texture, the same at `size`, and the mean of its squares."""
    try:
        texture = images.decode(_bytes(path), whole=(1, 1))
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e
    resized = texture if texture.shape[:2] == (size, size) else images.resize(texture, (size, size))
    return texture, resized, float(np.square(texture, dtype=np.uint16).sum(dtype=np.int64)) / texture.size


def vertex_means(paths: Sequence[pathlib.Path]) -> list[np.ndarray]:
    """Mean meshes, [V, 3] each, mm.

    Raises:
      ValueError: a file is missing or malformed, or they differ in V.
    """
    means: list[np.ndarray] = []
    for path in paths:
        mean = recording.vertex_mean(path) if path.suffix == ".bin" else npy_files.read(path)
        if mean.dtype.kind not in "fiu" or not np.isfinite(mean).all():
            raise ValueError(f"{path}: must hold finite numbers; got {mean.dtype}.")
        if mean.ndim != 2 or mean.shape[1] != 3 or (means and mean.shape != means[0].shape):
            raise ValueError(f"{path}: must be {means[0].shape if means else '[V, 3]'}; got {mean.shape}.")
        means.append(mean)
    return means


def _scalar(path: pathlib.Path) -> float:
    data = _bytes(path)
    try:
        (number,) = text_files.numbers(data)
    except ValueError as e:
        raise ValueError(f"{path}: must hold one number ({e}).") from e
    if not 0 <= number < np.inf:
        raise ValueError(f"{path}: must hold a variance, finite and at least 0; got {number}.")
    return number


def _bytes(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
