"""Pictures resized as Pillow does by default, bit for bit, in a quarter of the time, where the compiled part and the processor allow."""

import ctypes
import functools
import importlib.util
import pathlib
from typing import NamedTuple

import numpy as np

_LIBRARY = "_resize.so"  # ffi/images/resize.cc
_BITS, _LOW = 22, 11  # of a weight's fraction; of its low part
_SUPPORT = 2.0  # of the bicubic filter, in pixels of the smaller picture
_SHARPNESS = -0.5  # of that filter: its slope where it first crosses 0
_MAST = 100  # heights per width
_MOST_SIDE = 1 << 14  # pixels: sums stay far from 32 bits, and so do offsets


class _Weights(NamedTuple):
    """first int32 [N], the first input of each output; weights int32 [N, taps], of 2^-22; rows end in zeros."""

    first: np.ndarray
    weights: np.ndarray


@functools.cache
def available() -> bool:
    """Whether the compiled part is there and the processor runs it."""
    return _library() is not None


def bicubic(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Resizes by Pillow's bicubic filter, which covers as much of the picture as an output pixel does where it shrinks.

    Args:
      picture: u8 [H, W, 3].
      size: (height, width).

    Returns:
      u8 [height, width, 3]; None where it cannot be done here, and Pillow must.
    """
    library = _library()
    height, width = picture.shape[:2]
    fits = min(*picture.shape[:2], *size) > 0 and max(*picture.shape[:2], *size) <= _MOST_SIDE
    # Pillow leaves out a pass that changes nothing, and makes the other one first for pictures like masts.
    if library is None or not fits or height == size[0] or width == size[1] or height > _MAST * width:
        return None
    picture = np.ascontiguousarray(picture)
    first_x, weights_x = _columns(width, size[1])
    first_y, weights_y = _rows(height, size[0])
    out = np.empty((*size, 3), np.uint8)
    failed = library.ava_resize(
        picture.ctypes.data, height, width, out.ctypes.data, *size,
        weights_x.shape[1], first_x.ctypes.data, weights_x.ctypes.data, weights_y.shape[2], first_y.ctypes.data, weights_y.ctypes.data,
    )  # fmt: skip
    return None if failed else out


def is_built() -> bool:
    """Whether the compiled part is there, whatever the processor."""
    return _path() is not None


def _path() -> pathlib.Path | None:
    """Where it lies: beside the package's compiled module, which an editable installation keeps apart from the sources."""
    module = importlib.util.find_spec("ava_jax._ffi")
    folders = [pathlib.Path(module.origin).parent] if module is not None and module.origin else []
    found = (folder / _LIBRARY for folder in (*folders, pathlib.Path(__file__).resolve().parents[1]))
    return next(filter(pathlib.Path.is_file, found), None)


@functools.cache
def _library() -> ctypes.CDLL | None:
    path = _path()
    if path is None:  # a pure install
        return None
    library = ctypes.CDLL(str(path))
    pointer, number = ctypes.c_void_p, ctypes.c_int
    library.ava_resize.argtypes = [pointer, number, number, pointer, number, number, number, pointer, pointer, number, pointer, pointer]
    return library if library.ava_resize_supported() else None


def _weights(inputs: int, outputs: int) -> _Weights:
    """The filter's weights in whole numbers, as Pillow rounds them."""
    scale = inputs / outputs
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    center = (np.arange(outputs) + 0.5) * scale
    first = np.maximum((center - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((center + support + 0.5).astype(np.int64), inputs)
    at = np.arange(int((stop - first).max()))
    inside = at < (stop - first)[:, None]
    values = np.where(inside, _bicubic((at + first[:, None] - center[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    # One after the other, as Pillow adds them: another order would round otherwise.
    total = np.zeros(outputs)
    for column in values.T:
        total += column
    values = values / np.where(total == 0, 1.0, total)[:, None]
    whole = (values * (1 << _BITS) + np.where(values < 0, -0.5, 0.5)).astype(np.int64)
    return _Weights(first.astype(np.int32), np.where(inside, whole, 0).astype(np.int32))


def _bicubic(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), _SHARPNESS
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _parts(weights: np.ndarray) -> np.ndarray:
    """High and low parts, int16 [2, ...]."""
    return np.stack([weights >> _LOW, weights & ((1 << _LOW) - 1)]).astype(np.int16)


@functools.lru_cache(maxsize=16)
def _columns(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """First int32 [outputs]; weights int16 [outputs, groups of 4 taps, 2, 16], as `ResizeRow` takes them."""
    first, weights = _weights(inputs, outputs)
    groups = -(-weights.shape[1] // 4)
    filled = np.pad(weights, ((0, 0), (0, 4 * groups - weights.shape[1]))).reshape(outputs, groups, 2, 1, 2)
    spread = np.broadcast_to(filled, (outputs, groups, 2, 4, 2)).reshape(outputs, groups, 16)
    return first, np.ascontiguousarray(np.moveaxis(_parts(spread), 0, 2))


@functools.lru_cache(maxsize=16)
def _rows(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """First int32 [outputs]; weights int16 [outputs, 2, an even number of taps], as `ResizeColumn` takes them."""
    first, weights = _weights(inputs, outputs)
    filled = np.pad(weights, ((0, 0), (0, weights.shape[1] % 2)))
    return first, np.ascontiguousarray(np.moveaxis(_parts(filled), 0, 1))
