"""Triangle meshes with a UV chart, and lookups from texels to the surface."""

import dataclasses

import numpy as np
from scipy import ndimage

from ava_jax.core import zbuffer


@dataclasses.dataclass(frozen=True)
class Topology:
    """Which vertices, and which places on the UV chart, each triangle joins.

    Attributes:
      faces: int32 [M, 3], vertices.
      face_uvs: int32 [M, 3], rows of `uvs`; apart from `faces`, as a vertex on a seam has several.
      uvs: f32 [U, 2], in 0..1; v points up: v = 1 is the top row of a texture.
    """

    faces: np.ndarray
    face_uvs: np.ndarray
    uvs: np.ndarray

    def __post_init__(self) -> None:
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or self.faces.shape != self.face_uvs.shape:
            raise ValueError(f"Topology: faces and face_uvs must be [M, 3] alike; got {self.faces.shape} and {self.face_uvs.shape}.")
        if self.uvs.ndim != 2 or self.uvs.shape[1] != 2:
            raise ValueError(f"Topology: uvs must be [U, 2]; got {self.uvs.shape}.")
        if len(self.faces) == 0 or self.faces.min() < 0 or self.face_uvs.min() < 0 or self.face_uvs.max() >= len(self.uvs):
            raise ValueError(f"Topology: faces must name vertices >= 0 and one of the {len(self.uvs)} uvs at each corner.")

    @property
    def vertices_used(self) -> int:
        """How many vertices a mesh must have at least."""
        return int(self.faces.max()) + 1


def uv_barycentric(topology: Topology, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The surface point that each texel of a size x size texture shows.

    A texel is looked up at its centre, rows from v = 1 down. Where triangles overlap the first one is taken; a texel in no triangle shows
    what the nearest covered texel shows, so that differences between neighbours stay small.

    Returns:
      Vertex index int32 [S, S, 3] and barycentric weights f32 [S, S, 3]: `(vertices[index] * weights[..., None]).sum(-2)` is
      the geometry image.

    Raises:
      ValueError: no triangle of the chart covers any texel.
    """
    triangle, weights = uv_triangles(topology, size)
    triangle, weights = triangle.ravel(), weights.reshape(-1, 3)
    empty = (triangle < 0).reshape(size, size)
    if empty.any():
        row, column = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
        nearest = (row * size + column).ravel()
        triangle, weights = triangle[nearest], weights[nearest]
    index = topology.faces[triangle].astype(np.int32)
    return index.reshape(size, size, 3), weights.reshape(size, size, 3)


def uv_triangles(topology: Topology, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangle whose piece of the chart covers each texel's centre, as in `uv_barycentric`.

    Returns:
      Triangle int64 [S, S], -1 where there is none, and barycentric weights of its corners f32 [S, S, 3].

    Raises:
      ValueError: no triangle of the chart covers any texel.
    """
    corners = topology.uvs.astype(np.float64)[topology.face_uvs] * size
    corners[..., 1] = size - corners[..., 1]
    which, texel, inside = zbuffer.cover(corners - 0.5, size, size)
    if not len(which):
        raise ValueError(f"uv_barycentric: no triangle of the UV chart covers a texel of {size} x {size}; uvs must lie in 0..1.")
    triangle = np.full(size * size, -1, np.int64)
    weights = np.zeros((size * size, 3), np.float32)
    triangle[texel[::-1]] = which[::-1]  # of several writes to one place the last stays
    weights[texel[::-1]] = inside[::-1]
    return triangle.reshape(size, size), weights.reshape(size, size, 3)


def first_uv_of_vertex(topology: Topology, vertices: int) -> np.ndarray:
    """The UV of each vertex's first corner, in face order. Vertices in no face read the first UV of the chart.

    Returns:
      f32 [V, 2].

    Raises:
      ValueError: `vertices` is fewer than the faces name.
    """
    if vertices < topology.vertices_used:
        raise ValueError(f"first_uv_of_vertex: the faces name {topology.vertices_used} vertices; got a mesh of {vertices}.")
    uvs = np.tile(topology.uvs[0], (vertices, 1))
    vertex, corner = np.unique(topology.faces.ravel(), return_index=True)
    uvs[vertex] = topology.uvs[topology.face_uvs.ravel()[corner]]
    return uvs
