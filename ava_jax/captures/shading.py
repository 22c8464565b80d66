"""Meshes drawn as shaded surfaces, on the host, to look at them."""

import numpy as np

from ava_jax.captures.convert import texture
from ava_jax.core import zbuffer
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Array, Cameras

SKIN = (225.0, 215.0, 205.0)  # of meshes that have no colours
_DARKEST = 0.05  # of a surface's colour


def shaded(
    vertices: Array, faces: Array, camera: Cameras, height: int, width: int, light: Array, colours: Array | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A mesh in the light of one lamp far away.

    Args:
      vertices: [V, 3], in the camera's space.
      faces: int [M, 3].
      camera: that sees it.
      height, width: of the picture.
      light: [3], towards the lamp; its length is the brightness.
      colours: [V, 3], 0-255; None: SKIN.

    Returns:
      The picture, u8 [H, W, 3], black where nothing is; where the mesh is, bool [H, W].
    """
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    triangle, weights = zbuffer.rasterize(zbuffer.project(vertices, camera), faces, height, width)
    covered = triangle >= 0
    corners, weights = faces[triangle[covered]], weights[covered][..., None]
    normals = (texture.vertex_normals(vertices, faces)[corners] * weights).sum(-2)
    bright = np.clip(normals @ np.asarray(light, np.float64), _DARKEST, 1)[..., None]
    surface = np.array(SKIN) if colours is None else (np.asarray(colours, np.float64)[corners] * weights).sum(-2)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[covered] = bright * surface
    return picture, covered


def vertex_colours(topology: Topology, picture: np.ndarray, vertices: int) -> np.ndarray:
    """Colours of a mesh's vertices as its texture has them, f64 [V, 3]; SKIN of those that are in no face.

    Args:
      topology: of the mesh.
      picture: the texture, u8 [T, T, 3], its first row v = 1.
      vertices: V.
    """
    side = len(picture)
    column, row = np.clip((topology.uvs * [1, -1] + [0, 1]) * side, 0, side - 1).astype(int).T
    corners = picture[row, column][topology.face_uvs].reshape(-1, 3)
    at = topology.faces.ravel()
    count = np.bincount(at, minlength=vertices)[:, None]
    total = np.stack([np.bincount(at, corners[:, i], vertices) for i in range(3)], axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.array(SKIN))
