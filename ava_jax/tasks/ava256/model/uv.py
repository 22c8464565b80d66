"""Geometry images: a mesh's surface laid out on its UV chart."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.mesh import Topology, first_uv_of_vertex, uv_barycentric
from ava_jax.core.types import Assets

UvMap = tuple[np.ndarray, np.ndarray]  # vertex index [S, S, 3], weights [S, S, 3]


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
        """`uv_maps`: side -> map, to take instead of those computed from the topology."""
        arrays = assets.arrays
        self._topology = Topology(arrays["faces"], arrays["face_uvs"], arrays["uvs"])
        self._maps = dict(uv_maps or {})
        self.vertex_uvs = first_uv_of_vertex(self._topology, len(arrays["vertices_mean"]))

    def uv_map(self, side: int) -> UvMap:
        """Vertices [S, S, 3] and their weights [S, S, 3] at each texel of a chart of side S."""
        if side not in self._maps:
            self._maps[side] = uv_barycentric(self._topology, side)
        return self._maps[side]
