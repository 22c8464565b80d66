"""A shape's values on a grid that follow its elements as they are moved: a change costs what the changed element reaches."""

import functools
from collections.abc import Callable

import jax
import numpy as np

from ava_jax.ops import implicit
from ava_jax.ops.implicit.evaluate import CUT
from ava_jax.tasks.ldif.apps import shape as shapes
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.apps.tints import axes_of

_FAINT = 1e-8  # Gaussians at most this large are left out of shapes that are not cut anyway
_CALLS = (4096, 32768)  # points per call of the compiled function: one program each
_MARGIN = 1.002  # of an element's reach, for rounding
_KEPT = 64  # elements whose values stay, so that taking them out again computes nothing


class Field:
    """Sums what each element adds, in float64: after thousands of changes it is as exact as at first."""

    def __init__(self, resolution: int) -> None:
        """A grid of `resolution` points per side over +-0.75, with nothing in it yet."""
        self.places = shapes.centers(resolution)
        self.values = np.zeros((resolution,) * 3)  # of z, y, x
        self._parts: dict[int, tuple[bytes, Shape]] = {}  # element -> what it was when it was added, of which shape
        self._kept: dict[tuple[int, bytes], tuple[np.ndarray, np.ndarray]] = {}

    def update(self, shape: Shape, outdated: Callable[[], bool] = lambda: False) -> bool:
        """Brings the values to those of a shape; False where `outdated`, asked between elements, ended it: the next call goes on.

        Shapes that follow each other have the same decoder and are cut alike.
        """
        keys = [_key(shape, i) for i in range(len(shape.elements.constant))]
        gone = [i for i in self._parts if i >= len(keys)]
        for i in [*gone, *range(len(keys))]:
            key = keys[i] if i < len(keys) else None
            held = self._parts.get(i)
            if held is not None and held[0] == key:
                continue
            if outdated():
                return False
            if held is not None:
                self._add(held[1], i, held[0], -1.0)
                del self._parts[i]
            if key is not None:
                self._add(shape, i, key, 1.0)
                self._parts[i] = key, shape
        return True

    def _add(self, shape: Shape, i: int, key: bytes, sign: float) -> None:
        index, values = self._contribution(shape, i, key)
        flat, size = self.values.reshape(-1), len(self.places)
        flat[index] += sign * values
        if i < shape.symmetric:  # the same places with z the other way round
            z, rest = np.divmod(index, size * size)
            flat[(size - 1 - z) * size * size + rest] += sign * values

    def _contribution(self, shape: Shape, i: int, key: bytes) -> tuple[np.ndarray, np.ndarray]:
        if (i, key) not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[i, key] = contribution(shape, i, self.places)
        return self._kept[i, key]


def _key(shape: Shape, i: int) -> bytes:
    return np.concatenate([np.ravel(np.asarray(part, np.float32)[i]) for part in shape.elements]).tobytes() + bytes([i < shape.symmetric])


def contribution(shape: Shape, i: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What element `i` adds on a grid, without its reflection.

    Args:
      shape: its elements.
      i: one of them.
      places: f32 [R], along each axis, rising.

    Returns:
      Flat indices [P] of the grid [R, R, R] (z, y, x) that it reaches, and its values f64 [P] there.
    """
    one = implicit.Elements(*(np.asarray(part, np.float32)[i : i + 1] for part in shape.elements))
    axes = np.asarray(axes_of(one, shape.rotated), np.float64)[0]
    sigma = np.sqrt(np.asarray(one.variance[0], np.float64) + 1e-8)
    reach = _MARGIN * np.sqrt(-2 * np.log(CUT if shape.cut else _FAINT))
    half = reach * np.sqrt(np.square(axes * sigma).sum(1))
    center = np.asarray(one.center[0], np.float64)
    low, high = np.searchsorted(places, center - half), np.searchsorted(places, center + half, side="right")
    x, y, z = (places[a:b] - c for a, b, c in zip(low, high, center))
    squares = 0.0
    for j in range(3):  # in the element's frame, a radius long
        along = axes[:, j] / sigma[j]
        squares = squares + np.square(along[0] * x + (along[1] * y)[:, None] + (along[2] * z)[:, None, None])
    at = np.argwhere(np.broadcast_to(squares, (len(z), len(y), len(x))) <= reach * reach) + low[::-1]
    points = places[at[:, ::-1]]
    index = (at[:, 0] * len(places) + at[:, 1]) * len(places) + at[:, 2]
    return index, _values(one, shape, points)


def _values(one: implicit.Elements, shape: Shape, points: np.ndarray) -> np.ndarray:
    found = []
    size = next((size for size in _CALLS if len(points) <= size), _CALLS[-1])
    for first in range(0, len(points), size):
        part = points[first : first + size]
        padded = np.zeros((size, 3), np.float32)
        padded[: len(part)] = part
        found.append(np.asarray(_evaluate(one, padded, shape.decoder, shape.rotated, shape.cut))[: len(part)])
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _evaluate(one, points, decoder, rotated, cut):
    detail = None if decoder is None else functools.partial(implicit.decode, decoder)
    return implicit.evaluate(one, points, detail=detail, rotated=rotated, cut=cut)
