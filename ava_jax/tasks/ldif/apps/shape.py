"""A shape: elements and, of LDIF, the decoder that adds details; its values at points and on grids, exactly and sparingly."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops import implicit
from ava_jax.ops.implicit.evaluate import CUT
from ava_jax.tasks.ldif.data import element_files, occnet_files

HALF_SIDE = 0.75  # of the cube that meshes are looked for in
_BLOCK = 16  # points per side of a block
_COUNTS = (0, 2, 4, 8, 16, 32, 64, 128, 256)  # of elements that a block is evaluated with: a compiled program each
_LEAST = 64  # blocks in a call at most, halved while elements double
_SLAB = 2**21  # points that are evaluated between two movements of the progress bar
_ROUNDING = 1e-5  # of the float32 sum, which bounds must not fall short of


@dataclasses.dataclass(frozen=True)
class Shape:
    """An implicit function.

    Attributes:
      elements: N of them, without leading axes.
      symmetric: so many of the first serve a second time, reflected at z = 0.
      decoder: of LDIF; None of SIF and SIF++.
      rotated: whether elements have axes of their own; published files of SIF have angles of 0 and are read as rotated too.
      cut: elements count where their Gaussian is over 1e-4 only, as in published meshes of LDIF. It moves values by up to 4e-4 there.
    """

    elements: implicit.Elements
    symmetric: int = 0
    decoder: implicit.DecoderWeights | None = None
    rotated: bool = True
    cut: bool = False

    def values(self, points: Array) -> jax.Array:
        """The function at points f32 [P, 3], all in one call: [P]."""
        return implicit.values_at(self.elements, points, **self._options())

    def values_on_grid(self, z: Array, y: Array, x: Array) -> jax.Array:
        """The function at all places along the axes, f32 [Z], [Y], [X]: [Z, Y, X]."""
        return implicit.values_on_grid(self.elements, z, y, x, **self._options())

    def _options(self) -> dict[str, Any]:
        return {"symmetric": self.symmetric, "decoder": self.decoder, "rotated": self.rotated, "cut": self.cut}

    def all_elements(self) -> tuple[implicit.Elements, np.ndarray]:
        """Elements with the reflected ones behind, [E, ...], and the sign of z that each sees, f32 [E]."""
        count = len(self.elements.constant)
        which = np.r_[:count, : self.symmetric]
        sign = np.where(np.arange(len(which)) < count, 1, -1).astype(np.float32)
        return implicit.Elements(*(np.asarray(part, np.float32)[which] for part in self.elements)), sign


def read(path: pathlib.Path, decoder: pathlib.Path | None = None, *, cut: bool = False) -> Shape:
    """A shape of a `.txt`, and of the `.occnet` that its features need.

    Raises:
      ValueError: a file is not such a one; there are features and no decoder, or none and a decoder, or of another width.
      OSError: a file cannot be read.
    """
    elements, symmetric = element_files.read(path)
    features = elements.features.shape[1]
    if decoder is None:
        if features:
            raise ValueError(f"{path}: its elements have {features} features, which a decoder reads: --decoder=FILE.occnet.")
        return Shape(elements, symmetric, cut=cut)
    weights = occnet_files.read(decoder)
    if len(weights.norm1.beta.weight) != features:
        raise ValueError(f"{path}: its elements have {features} features; {decoder} reads {len(weights.norm1.beta.weight)}.")
    return Shape(elements, symmetric, weights, cut=cut)


def centers(resolution: int) -> np.ndarray:
    """Places of a grid's points along an axis, f32 [R]: centres of R equal cells over the cube."""
    return ((np.arange(resolution) + 0.5) * (2 * HALF_SIDE / resolution) - HALF_SIDE).astype(np.float32)


def sample(
    shape: Shape,
    places: np.ndarray,
    *,
    near: float | None = None,
    progress: Callable[[int], object] = lambda count: None,
    implementation: str | None = None,
) -> np.ndarray:
    """The function on a grid.

    The compiled call evaluates every point, with the elements that count there (`implicit.values_on_grid`). Plain JAX goes by blocks of the
    grid, with the elements that matter there by bounds that hold for every point of a block. With `shape.cut`, an element of a Gaussian of
    at most 1e-4 in a whole block is left out, as it adds nothing; without, one of a sum under 1e-6 altogether.

    Args:
      shape: E elements.
      places: f32 [R], along each axis, rising.
      near: a value. Blocks of which a bound proves that they do not reach it need not be evaluated, but may be filled with a value of the
        right side of it, as plain JAX does: no crossing of `near` between any two neighbours is missed. Needs a shape without a decoder,
        whose blocks alone have bounds that tight, or one with `cut`, where blocks that no element reaches are 0.
      progress: called with the number of points that are done.
      implementation: "native" (the compiled call), "jax", or None for the best there is.

    Returns:
      f32 [R, R, R], of z, y, x.
    """
    if implementation == "native" or (implementation is None and implicit.is_compiled(shape.decoder)):
        return _sample_native(shape, places, progress)
    size = len(places)
    blocks = _Blocks(shape, places)
    grid = np.zeros((size, size, size), np.float32)
    groups: dict[int, list[int]] = {}
    for at in range(len(blocks.starts)):
        which = blocks.elements_of(at)
        if near is not None and not blocks.reaches(at, which, near):
            grid[blocks.slices(at)] = blocks.constant(at, which)
            progress(grid[blocks.slices(at)].size)
            continue
        count = len(which)
        groups.setdefault(next((c for c in _COUNTS if c >= count), count), []).append(at)
    for count, members in sorted(groups.items()):
        if not count:
            progress(sum(grid[blocks.slices(at)].size for at in members))
            continue
        per_call = max(1, min(_LEAST, 256 // count))
        for first in range(0, len(members), per_call):
            part = members[first : first + per_call]
            values = blocks.evaluate(part, count, per_call)
            for at, value in zip(part, values):
                z, y, x = (axis.stop - axis.start for axis in blocks.slices(at))
                grid[blocks.slices(at)] = value[:z, :y, :x]
                progress(z * y * x)
    return grid


def _sample_native(shape: Shape, places: np.ndarray, progress: Callable[[int], object]) -> np.ndarray:
    """By slabs of equal height, so that one program serves; the last overlaps the one before."""
    places = np.asarray(places, np.float32)
    size = len(places)
    height = min(size, max(1, _SLAB // size**2))
    grid = np.empty((size, size, size), np.float32)
    for first in range(0, size, height):
        start = min(first, size - height)
        grid[start : start + height] = _slab(shape.elements, shape.decoder, places[start : start + height], places, _statics(shape))
        progress((start + height - first) * size**2)
    return grid


def sample_on_device(shape: Shape, places: np.ndarray) -> jax.Array:
    """`sample` at places f32 [R] in one call, left where JAX computes: f32 [R, R, R]."""
    return _slab(shape.elements, shape.decoder, places, places, _statics(shape))


def _statics(shape: Shape) -> tuple[int, bool, bool]:
    return shape.symmetric, shape.rotated, shape.cut


@functools.partial(jax.jit, static_argnums=4)
def _slab(elements, decoder, z, places, statics):
    symmetric, rotated, cut = statics
    return Shape(elements, symmetric, decoder, rotated, cut).values_on_grid(z, places, places)


class _Blocks:
    """Blocks of a grid, and what of a shape matters in each."""

    def __init__(self, shape: Shape, places: np.ndarray) -> None:
        self.shape, self.places = shape, np.asarray(places, np.float32)
        self.elements, self.sign = shape.all_elements()
        edges = range(0, len(places), _BLOCK)
        self.starts = [(z, y, x) for z in edges for y in edges for x in edges]
        self._bounds()

    def slices(self, at: int) -> tuple[slice, slice, slice]:
        """Of the grid: z, y, x."""
        return tuple(slice(start, min(start + _BLOCK, len(self.places))) for start in self.starts[at])

    def _bounds(self) -> None:
        """Least and greatest Gaussian of each element over each block and the places next to it, f64 [blocks, E].

        With these, a surface between a block and its neighbour is reached by both, and lies where both ends are evaluated.
        """
        last = len(self.places) - 1
        blocks = [self.slices(at) for at in range(len(self.starts))]
        around = [[(max(part.start - 1, 0), min(part.stop, last)) for part in block] for block in blocks]
        ends = self.places[np.array(around)].astype(np.float64)
        middle, half = ends.mean(-1)[:, ::-1], (ends[..., 1] - ends[..., 0])[:, ::-1] / 2  # x, y, z
        e = self.elements
        seen = np.where(np.arange(3) == 2, self.sign[:, None], 1.0)  # [E, 3]
        offset = middle[:, None] * seen - np.asarray(e.center, np.float64)
        if self.shape.rotated:
            axes = np.asarray(implicit.rotations(e.angles), np.float64)
            scale = 1 / np.sqrt(np.asarray(e.variance, np.float64) + 1e-8)
        else:
            axes = np.broadcast_to(np.eye(3), (len(self.sign), 3, 3))
            scale = 1 / np.sqrt(np.maximum(np.asarray(e.variance, np.float64), 5e-9))
        # Along an element's axis the block reaches |axis| . half to either side: a box around it in the element's frame.
        along = np.abs(np.einsum("bei,eij->bej", offset, axes)) * scale
        reach = np.einsum("bi,eij->bej", half, np.abs(axes)) * scale
        self.most = np.exp(-0.5 * np.square(np.maximum(along - reach, 0)).sum(-1))
        self.least = np.exp(-0.5 * np.square(along + reach).sum(-1))

    def elements_of(self, at: int) -> np.ndarray:
        """Indices of the elements that a block is evaluated with."""
        if self.shape.cut:
            return np.flatnonzero(self.most[at] > CUT * (1 - 1e-3))
        if self.shape.decoder is not None:
            return np.flatnonzero(self.most[at] > 0)
        size = np.abs(self.elements.constant) * self.most[at]
        order = np.argsort(size)
        return np.sort(order[np.cumsum(size[order]) > 1e-6])

    def _range(self, at: int, which: np.ndarray) -> tuple[float, float]:
        constant = np.asarray(self.elements.constant, np.float64)[which]
        low, high = self.least[at, which], self.most[at, which]
        if self.shape.cut:
            low = np.where(low > CUT * (1 + 1e-3), low, 0)
        ends = np.stack([constant * low, constant * high])
        return float(ends.min(0).sum()) - _ROUNDING, float(ends.max(0).sum()) + _ROUNDING

    def reaches(self, at: int, which: np.ndarray, value: float) -> bool:
        """Whether a block's values may lie on both sides of `value`, or on it."""
        if self.shape.decoder is not None:
            return len(which) > 0
        low, high = self._range(at, which)
        return low <= value <= high

    def constant(self, at: int, which: np.ndarray) -> float:
        """A value that stands for a block which does not reach what was asked about."""
        return 0.0 if self.shape.decoder is not None else sum(self._range(at, which)) / 2

    def evaluate(self, part: list[int], count: int, per_call: int) -> np.ndarray:
        """Blocks [len(part), 16, 16, 16], evaluated with `count` elements each; what lies beyond the grid repeats its last place."""
        members = [*part, *[part[0]] * (per_call - len(part))]
        index = np.zeros((per_call, count), np.int32)
        real = np.zeros((per_call, count), np.float32)
        axes = np.empty((per_call, 3, _BLOCK), np.float32)
        for row, at in enumerate(members):
            which = self.elements_of(at)
            index[row, : len(which)], real[row, : len(which)] = which, 1
            axes[row] = [self.places[np.minimum(np.arange(start, start + _BLOCK), len(self.places) - 1)] for start in self.starts[at]]
        elements = implicit.Elements(*(np.asarray(array)[index] for array in self.elements))
        elements = elements._replace(constant=elements.constant * real)
        return np.asarray(evaluate_blocks(elements, self.sign[index], axes, self.shape.decoder, self.shape.rotated, self.shape.cut))[
            : len(part)
        ]


@functools.partial(jax.jit, static_argnums=(4, 5))
def evaluate_blocks(elements, sign, axes, decoder, rotated, cut):
    """Blocks [B, S, S, S] (z, y, x) of elements [B, N, ...], signs of z [B, N], places along z, y, x [B, 3, S]."""
    z, y, x = (axes[:, i] for i in range(3))
    side = axes.shape[-1]
    shape = (len(axes), side, side, side)
    parts = (x[:, None, None, :], y[:, None, :, None], z[:, :, None, None])
    points = jnp.stack([jnp.broadcast_to(part, shape) for part in parts], axis=-1).reshape(len(axes), 1, -1, 3)
    points = points * jnp.stack([jnp.ones_like(sign), jnp.ones_like(sign), sign], axis=-1)[:, :, None]  # [B, E, P, 3]
    one = implicit.Elements(*(array[:, :, None] for array in elements))  # [B, E, 1, ...]: a shape of a single element each
    detail = None if decoder is None else functools.partial(implicit.decode, decoder)
    return implicit.evaluate(one, points, detail=detail, rotated=rotated, cut=cut).sum(axis=1).reshape(shape)
