"""Geometry images: a mesh's surface laid out on its UV chart."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.mesh import Topology, first_uv_of_vertex, uv_barycentric
from ava_jax.core.types import Assets

UvMap = tuple[np.ndarray, np.ndarray]  # vertex index [S, S, 3], weights [S, S, 3]
LOOKUPS = ("uv_index", "uv_weights", "vertex_points")  # of imported weights, which learned with them


def interpolate(vertices: jax.Array, index: jax.Array, weights: jax.Array) -> jax.Array:
    """Surface points: vertices [B, V, 3], index and weights [..., 3], to [B, ..., 3], in the vertices' unit."""
    # Rows of one array for all frames: otherwise XLA interleaves the frames, pixel by pixel, and an H200 takes 0.3 ms to separate them.
    frames, count = vertices.shape[:2]
    rows = index + count * jnp.arange(frames).reshape(-1, *[1] * index.ndim)
    corners = [vertices.reshape(-1, 3)[rows[..., i]] * weights[..., i, None] for i in range(3)]
    return corners[0] + corners[1] + corners[2]


class ChartLookup:
    """The UV maps of a mesh, by side; each is made once."""

    def __init__(self, assets: Assets, uv_maps: Mapping[int, UvMap] | None = None):
        """Of assets, and with what imported weights brought along: `LOOKUPS`, where they are there.

        Args:
          assets: `faces`, `face_uvs`, `uvs`, `vertices_mean`; and of imported weights `uv_index` and `uv_weights` [S, S, 3], a map that is
            taken for its side, and `vertex_points` [V, 2] in -1..1, where each vertex is read.
          uv_maps: side -> map, to take instead of those computed from the topology.
        """
        arrays = {name: np.asarray(array) for name, array in assets.arrays.items()}
        self._topology = Topology(arrays["faces"], arrays["face_uvs"], arrays["uvs"])
        self._maps = dict(uv_maps or {})
        if "uv_index" in arrays:
            self._maps.setdefault(len(arrays["uv_index"]), (arrays["uv_index"], arrays["uv_weights"]))
        if "vertex_points" in arrays:
            self.vertex_uvs = (arrays["vertex_points"].astype(np.float64) + 1.0) / 2.0  # in 64 bits nothing is lost
        else:
            self.vertex_uvs = first_uv_of_vertex(self._topology, len(arrays["vertices_mean"]))

    def uv_map(self, side: int) -> UvMap:
        """Vertices [S, S, 3] and their weights [S, S, 3] at each texel of a chart of side S."""
        if side not in self._maps:
            self._maps[side] = uv_barycentric(self._topology, side)
        return self._maps[side]
