"""Weights of a decoder, `.occnet`, as the published tools read and write them: int32 1 (residual blocks) and the width, then float32.

Dense layers: weights [in, out] row by row, then the bias. Normalisations: the dense layer of the offsets, that of the scales, the mean,
the variance.
Order: first, norm1, dense1, norm2, dense2, norm3, last.
"""

import pathlib

import numpy as np

from ava_jax.data import files
from ava_jax.ops.implicit.decoder import DecoderWeights, Dense, Norm

_WIDEST = 1024


def read(path: pathlib.Path) -> DecoderWeights:
    """The weights, NumPy float32.

    Raises:
      ValueError: it is no such file.
      OSError: it cannot be read.
    """
    data = pathlib.Path(path).read_bytes()
    blocks, width = np.frombuffer(data[:8], "<i4") if len(data) >= 8 else (0, 0)
    if blocks != 1 or not 0 < width <= _WIDEST or len(data) != 8 + 4 * _count(int(width)):
        wanted = f"; of a width of {width} it has {8 + 4 * _count(int(width))} bytes" if blocks == 1 and 0 < width <= _WIDEST else ""
        raise ValueError(f"{path}: no decoder of one residual block as .occnet files hold it; got {len(data)} bytes{wanted}.")
    numbers = np.frombuffer(data[8:], "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: a weight is not finite.")
    return _from_numbers(numbers, int(width))


def render(weights: DecoderWeights) -> bytes:
    """A file's bytes; those of a file that was read come out again.

    Raises:
      ValueError: features are not as wide as the layers, which the format needs.
    """
    width = len(np.asarray(weights.first.bias))
    if np.shape(weights.norm1.beta.weight) != (width, width):
        raise ValueError(f"occnet: features must be as wide as layers, {width}; got {np.shape(weights.norm1.beta.weight)[0]}.")
    numbers = np.concatenate([np.asarray(part, "<f4").reshape(-1) for layer in weights for part in _parts(layer)])
    return np.array([1, width], "<i4").tobytes() + numbers.tobytes()


def write(path: pathlib.Path, weights: DecoderWeights) -> None:
    """Writes what `render` gives, whole or not at all."""
    files.replace(path, render(weights))


def _parts(layer: Dense | Norm) -> list[np.ndarray]:
    return list(layer) if isinstance(layer, Dense) else [*layer.beta, *layer.gamma, layer.mean, layer.variance]


def _count(width: int) -> int:
    square, norm = width * width + width, 2 * (width * width + width) + 2
    return 4 * width + 2 * square + 3 * norm + width + 1


def _from_numbers(numbers: np.ndarray, width: int) -> DecoderWeights:
    at = 0

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return numbers[at - size : at].reshape(shape)

    def dense(into: int, out: int) -> Dense:
        return Dense(take(into, out), take(out))

    def norm() -> Norm:
        return Norm(dense(width, width), dense(width, width), take(), take())

    return DecoderWeights(dense(3, width), norm(), dense(width, width), norm(), dense(width, width), norm(), dense(width, 1))
