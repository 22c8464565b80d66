"""The uniform Laplacian of a mesh: how far each vertex lies from the mean of its neighbours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.core.types import Array
from ava_jax.core.variables import Constant


class Neighbours(nnx.Module):
    """Which vertices each vertex shares an edge with, as tables of few widths.

    Vertices are sorted by how many neighbours they have, into tables of 2, 4, 8, ... columns, so that one pole of a thousand edges does
    not widen the table of all. Reading neighbours is the only access: the gradient reads them too, as an edge has two ends, and
    adds nothing up in an order that changes from run to run.
    """

    def __init__(self, faces: np.ndarray):
        """Args: faces: int [M, 3]. Vertices that are in no face have no neighbours; those above the last one named are unknown.

        Raises:
          ValueError: the faces have another shape or name vertices below 0.
        """
        faces = np.asarray(faces)
        if faces.ndim != 2 or faces.shape[1] != 3 or (faces.size and faces.min() < 0):
            raise ValueError(f"Neighbours: faces must be [M, 3], vertices from 0 on; got {faces.shape}.")
        begin, ends = _adjacency(faces)
        degree = np.diff(begin)
        width = np.where(degree > 0, 2 ** np.ceil(np.log2(np.maximum(degree, 2))).astype(int), 0)
        tables, order = [], []
        for w in np.unique(width[width > 0]):
            members = np.flatnonzero(width == w)
            columns = begin[members, None] + np.arange(w)
            # Columns that are left over name the vertex itself, which adds nothing to a sum of differences.
            filled = np.where(np.arange(w) < degree[members, None], ends[np.minimum(columns, len(ends) - 1)], members[:, None])
            tables.append(Constant(jnp.asarray(filled, jnp.int32)))
            order.append(members)
        order = np.concatenate([*order, np.flatnonzero(width == 0)]).astype(np.int32)
        self.tables = nnx.List(tables)  # [V_w, w] each, rows in the order of `order`
        self.order = Constant(jnp.asarray(order))  # [V]: the vertices by table, those without neighbours last
        self.rank = Constant(jnp.asarray(np.argsort(order), jnp.int32))  # [V]: where each vertex is in that order
        self.reciprocal = Constant(jnp.asarray(np.where(degree > 0, 1 / np.maximum(degree, 1), 0), jnp.float32))  # [V]

    def __call__(self, vertices: Array) -> jax.Array:
        """The mean of each vertex's neighbours, less the vertex: [B, V, 3], 0 where it has none.

        Raises:
          ValueError: there are fewer vertices than the faces name.
        """
        vertices = jnp.asarray(vertices)
        known = len(self.reciprocal)
        if vertices.ndim != 3 or vertices.shape[1] < known:
            raise ValueError(f"Neighbours: vertices must be [B, V, 3] with V at least {known}, as the faces name; got {vertices.shape}.")
        tables = tuple(table[...] for table in self.tables)
        out = _laplacian(vertices[:, :known], tables, self.order[...], self.rank[...], self.reciprocal[...])
        return jnp.pad(out, ((0, 0), (0, vertices.shape[1] - known), (0, 0)))


def _adjacency(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each vertex's neighbours begin [V + 1] and, sorted and each once, which they are [2 edges]."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    edges = edges[edges[:, 0] != edges[:, 1]]
    count = int(faces.max()) + 1 if faces.size else 0
    pairs = np.unique(np.concatenate([edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]]))
    owner, ends = np.divmod(pairs, max(count, 1))
    return np.searchsorted(owner, np.arange(count + 1)), ends


@functools.partial(jax.custom_vjp)
def _laplacian(vertices, tables, order, rank, reciprocal):
    return _sum_of_differences(vertices, tables, order, rank) * reciprocal[:, None]


def _sum_of_differences(vertices, tables, order, rank):
    """[B, V, 3]: the sum over each vertex's neighbours of (neighbour - vertex)."""
    parts, start = [], 0
    for table in tables:
        own = vertices[:, order[start : start + len(table)]]
        parts.append(sum(vertices[:, table[:, j]] - own for j in range(table.shape[1])))
        start += len(table)
    parts.append(jnp.zeros((len(vertices), len(order) - start, 3), vertices.dtype))
    return jnp.concatenate(parts, axis=1)[:, rank]


def _laplacian_forward(vertices, tables, order, rank, reciprocal):
    return _laplacian(vertices, tables, order, rank, reciprocal), (tables, order, rank, reciprocal)


def _laplacian_backward(kept, cotangent):
    tables, order, rank, reciprocal = kept
    scaled = cotangent * reciprocal[:, None]
    # Transposed: sum over neighbours of theirs, less as often one's own. The same sum, and what it subtracts too often is none.
    return _sum_of_differences(scaled, tables, order, rank), None, None, None, None


_laplacian.defvjp(_laplacian_forward, _laplacian_backward)


def roughness(neighbours: Neighbours, vertices: Array) -> jax.Array:
    """The mean over the vertices of the length of their Laplacian: [B, V, 3] to [B], in the vertices' unit.

    Source: PyTorch3D's `mesh_laplacian_smoothing`, method "uniform".
    """
    square = jnp.sum(jnp.square(neighbours(vertices)), axis=-1)
    # A length has no slope at 0; it is taken as 0.
    flat = square == 0
    return jnp.mean(jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, square))), axis=-1)
