"""Meshes as shaded pictures, by the package's rasteriser."""

import math

import numpy as np

from ava_jax.core.cameras import look_at
from ava_jax.core.types import Cameras

_FINER = 2  # drawn at so many times the size, and reduced
_LEAST = 1024  # vertices and faces are filled up to powers of two from here on: few sizes to compile for
_AMBIENT, _KEY, _FILL = 0.38, 0.55, 0.22
_KEY_LIGHT, _FILL_LIGHT = np.array([-0.45, 0.75, 0.6]), np.array([0.9, 0.1, 0.3])  # in the camera's frame: x right, y up, z to the eye


def camera(size: int, *, azimuth: float = 35.0, elevation: float = 20.0, distance: float = 3.2, reach: float = 0.85) -> Cameras:
    """A camera that looks at the origin, leading axis 1.

    Args:
      size: of the square picture, pixels.
      azimuth, elevation: of its place, degrees; at azimuth 0 it stands on the z axis, y is up.
      distance: from the origin.
      reach: of what it sees there, to every side.
    """
    a, e = math.radians(azimuth), math.radians(elevation)
    position = distance * np.array([math.sin(a) * math.cos(e), math.sin(e), math.cos(a) * math.cos(e)])
    rotation = look_at(position, np.zeros(3), np.array([0.0, 1.0, 0.0]))
    focal, middle = size / 2 * distance / reach, (size - 1) / 2
    one = lambda values: np.asarray(values, np.float32)[None]  # noqa: E731
    return Cameras(one(rotation), one(position), one([focal, focal]), one([middle, middle]))


def draw(
    vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, size: int, *, paper: tuple[int, int, int] = (30, 31, 36), **view: float
) -> np.ndarray:
    """A mesh in two lights, both sides of its faces.

    Args:
      vertices: [V, 3].
      faces: int [F, 3]; empty: the paper alone.
      colours: u8 [V, 3].
      size: of the picture, pixels.
      paper: the background.
      view: as of `camera`.

    Returns:
      u8 [size, size, 3].
    """
    from ava_jax.ops import mesh as ops

    side = _FINER * size
    canvas = np.broadcast_to(np.array(paper, np.float64), (side, side, 3)).copy()
    if len(faces):
        eye = camera(side, **view)
        seen = ops.rasterize(ops.project(_filled(vertices, np.float32)[None], eye), _filled(faces, np.int32), side, side)
        index, weights = np.asarray(seen.index[0]), np.asarray(seen.barycentrics[0], np.float64)
        hit = index >= 0
        corners = np.asarray(faces)[index[hit]]
        mixed = lambda values: np.einsum("pc,pcx->px", weights[hit], np.asarray(values, np.float64)[corners])  # noqa: E731
        canvas[hit] = mixed(colours) * _light(mixed(_normals(np.asarray(vertices, np.float64), faces)), eye)
    canvas = canvas.reshape(size, _FINER, size, _FINER, 3).mean((1, 3))
    return np.rint(np.clip(canvas, 0, 255)).astype(np.uint8)


def _light(normals: np.ndarray, eye: Cameras) -> np.ndarray:
    local = normals @ np.asarray(eye.rotation[0], np.float64).T * [1, -1, -1]
    local /= np.maximum(np.linalg.norm(local, axis=1, keepdims=True), 1e-12)
    local = np.where(local[:, 2:] < 0, -local, local)
    lit = [np.maximum(local @ (light / np.linalg.norm(light)), 0) for light in (_KEY_LIGHT, _FILL_LIGHT)]
    return (_AMBIENT + _KEY * lit[0] + _FILL * lit[1])[:, None]


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of vertices, weighted by the faces' areas, [V, 3], of any length."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], normal)
    return total


def _filled(rows: np.ndarray, dtype: type) -> np.ndarray:
    """Rows [N, 3] with zeros behind: a face of one vertex three times has no area."""
    size = max(_LEAST, 1 << (len(rows) - 1).bit_length())
    return np.concatenate([np.asarray(rows, dtype), np.zeros((size - len(rows), 3), dtype)])
