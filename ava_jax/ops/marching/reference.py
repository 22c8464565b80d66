"""Marching cubes in plain JAX: the reference implementation of the compiled calls, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ava_jax.ops.marching import table

_OWNERS = np.array(
    [
        [0 if other == axis else (number & 1 if other == min(o for o in range(3) if o != axis) else number >> 1 & 1) for other in range(3)]
        for axis in range(3)
        for number in range(4)
    ]
)  # [12, 3]: the corner that an edge starts at, x, y, z


def extract_jax(grid: jax.Array, level: float, vertex_capacity: int, face_capacity: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `extract_padded`: grid f32 [Z, Y, X] to vertices f32 [vertex_capacity, 3], faces int32 [face_capacity, 3], counts int32 [3].

    Several arrays of three or five numbers per place are made on the way, which are indexed in 32 bits: for under 2^31 / 5 places.
    """
    level = jnp.float32(level)
    inside = ~(grid > level)
    sizes = grid.shape
    x, y, z = (lax.broadcasted_iota(jnp.int32, sizes, axis) for axis in (2, 1, 0))
    crossings, ends = [], []
    for axis in (2, 1, 0):  # x, y, z
        following = jnp.roll(inside, -1, axis)
        has_end = lax.broadcasted_iota(jnp.int32, sizes, axis) < sizes[axis] - 1
        crossings.append((following != inside) & has_end)
        ends.append(jnp.roll(grid, -1, axis))
    crosses, end = jnp.stack(crossings, -1), jnp.stack(ends, -1)
    number = (jnp.cumsum(crosses.reshape(-1).astype(jnp.int32)) - 1).reshape(crosses.shape)

    at = jnp.nonzero(crosses.reshape(-1), size=vertex_capacity, fill_value=-1)[0]
    point, axis = at // 3, at % 3
    a, b = grid.reshape(-1)[point], end.reshape(-1)[at]
    along = ((level - a) / (b - a))[:, None] * (axis[:, None] == jnp.arange(3))
    where = jnp.stack([part.reshape(-1)[point] for part in (x, y, z)], -1).astype(jnp.float32)
    vertices = jnp.where(at[:, None] >= 0, where + along, 0)

    if min(sizes) < 2:  # no cell: no face
        counts = [jnp.sum(crosses, dtype=jnp.int32), jnp.zeros((), jnp.int32), jnp.sum(~jnp.isfinite(grid), dtype=jnp.int32)]
        return vertices, jnp.zeros((face_capacity, 3), jnp.int32), jnp.stack(counts)
    cell = inside[: sizes[0] - 1, : sizes[1] - 1, : sizes[2] - 1]
    case = jnp.zeros(cell.shape, jnp.int32)
    for corner in range(8):
        dx, dy, dz = corner & 1, corner >> 1 & 1, corner >> 2 & 1
        part = lax.slice(inside, (dz, dy, dx), tuple(n - 1 + d for n, d in zip(sizes, (dz, dy, dx))))
        case += part.astype(jnp.int32) << corner
    triangles = jnp.asarray(table.triangles(), jnp.int32)
    wanted = jnp.arange(table.MOST) < triangles[case.reshape(-1), 0][:, None]
    found = jnp.nonzero(wanted.reshape(-1), size=face_capacity, fill_value=-1)[0]
    index, which = found // table.MOST, found % table.MOST
    edges = triangles[case.reshape(-1)[index][:, None], 1 + 3 * which[:, None] + jnp.arange(3)]
    cz, cy, cx = jnp.unravel_index(index, cell.shape)
    owner = jnp.asarray(_OWNERS)[edges] + jnp.stack([cx, cy, cz], -1)[:, None]
    faces = number[owner[..., 2], owner[..., 1], owner[..., 0], edges // 4]
    faces = jnp.where(found[:, None] >= 0, faces, 0)
    counts = [
        jnp.sum(crosses, dtype=jnp.int32),
        jnp.sum(triangles[case, 0], dtype=jnp.int32),
        jnp.sum(~jnp.isfinite(grid), dtype=jnp.int32),
    ]
    return vertices, faces.astype(jnp.int32), jnp.stack(counts)
