"""A shape on a grid, from coarse to fine: only where bounds do not rule out that its surface passes."""

from collections.abc import Callable

import numpy as np

from ava_jax.ops import implicit
from ava_jax.tasks.ldif.apps import shape as shapes
from ava_jax.tasks.ldif.apps.bounds import Bounds
from ava_jax.tasks.ldif.apps.shape import Shape

_SIDES = (32, 16, 8, 4)  # points per side of the blocks, one after the other
_LEFT_OUT = 1e-6  # sum that elements which a block is evaluated without may add there
_AT_ONCE = 2**18  # pairs of points and elements in a call


def sample(shape: Shape, places: np.ndarray, near: float, *, progress: Callable[[int], object] = lambda count: None) -> np.ndarray:
    """The function on a grid, where it may cross a value.

    Blocks whose bounds, over the block and the places next to it, do not reach `near` are not evaluated, but filled with a value of the
    right side of it; the others are split. So the grid has the signs of the whole one, and its values at both ends of each crossing.

    Args:
      shape: any; with or without details, cut or not.
      places: f32 [R], along each axis, rising.
      near: a value.
      progress: called with the number of points that are done.

    Returns:
      f32 [R, R, R], of z, y, x; where it is evaluated, within 1e-6 of the function.
    """
    places = np.asarray(places, np.float32)
    size, bounds = len(places), Bounds(shape)
    grid = np.zeros((size, size, size), np.float32)
    edges = np.arange(0, size, _SIDES[0])
    starts = np.stack(np.meshgrid(edges, edges, edges, indexing="ij"), -1).reshape(-1, 3)  # z, y, x
    for side in _SIDES:
        low, high, sizes = bounds.of(*_boxes(places, starts, side))
        reached = (low <= near) & (high >= near)
        for start, value in zip(starts[~reached], ((low + high) / 2)[~reached]):
            block = grid[tuple(slice(at, at + side) for at in start)]
            block[...] = value
            progress(block.size)
        starts, sizes = starts[reached], sizes[reached]
        if side != _SIDES[-1]:
            steps = np.arange(0, side, side // 2)
            corners = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
            starts = (starts[:, None] + corners).reshape(-1, 3)
            starts = starts[(starts < size).all(1)]
    _fill(shape, places, grid, starts, sizes, progress)
    return grid


def _boxes(places: np.ndarray, starts: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles and halves of the sides, x, y, z, of blocks and the places next to them."""
    last = len(places) - 1
    first, end = places[np.maximum(starts - 1, 0)], places[np.minimum(starts + side, last)]
    return ((first + end) / 2)[:, ::-1], ((end - first) / 2)[:, ::-1] * np.float32(1 + 1e-6)


def _fill(
    shape: Shape, places: np.ndarray, grid: np.ndarray, starts: np.ndarray, sizes: np.ndarray, progress: Callable[[int], object]
) -> None:
    """Evaluates blocks of the last side, each with the elements that matter there."""
    if not len(starts):
        return
    side, elements_sign = _SIDES[-1], shape.all_elements()
    order = np.argsort(-sizes, axis=1)
    # Of each block the largest elements, until what is left sums up to nothing.
    rest = np.take_along_axis(sizes, order, 1)[:, ::-1].cumsum(1)[:, ::-1]
    counts = np.maximum((rest > _LEFT_OUT).sum(1), 1)
    width = 1 << np.ceil(np.log2(counts)).astype(int)
    for count in np.unique(width):
        members = np.flatnonzero(width == count)
        per_call = max(1, _AT_ONCE // (int(count) * side**3))
        for first in range(0, len(members), per_call):
            part = members[first : first + per_call]
            values = _values(shape, elements_sign, places, starts[part], order[part, :count], counts[part], per_call, int(count))
            for start, value in zip(starts[part], values):
                block = grid[tuple(slice(at, at + side) for at in start)]
                block[...] = value[tuple(slice(length) for length in block.shape)]
                progress(block.size)


def _values(shape, elements_sign, places, starts, order, counts, per_call, width) -> np.ndarray:
    """Blocks [B, 4, 4, 4] with the first `counts` [B] of elements `order` [B, W or fewer]; beyond the grid the last place repeats."""
    elements, sign = elements_sign
    index, real = np.zeros((per_call, width), np.int32), np.zeros((per_call, width), np.float32)
    index[: len(order), : order.shape[1]] = order
    real[: len(order)] = np.arange(width) < counts[:, None]
    side = _SIDES[-1]
    axes = places[np.minimum(starts[:, :, None] + np.arange(side), len(places) - 1)]
    axes = np.concatenate([axes, np.repeat(axes[:1], per_call - len(axes), 0)])
    chosen = implicit.Elements(*(part[index] for part in elements))
    chosen = chosen._replace(constant=chosen.constant * real)
    return np.asarray(shapes.evaluate_blocks(chosen, sign[index], axes, shape.decoder, shape.rotated, shape.cut))[: len(starts)]
