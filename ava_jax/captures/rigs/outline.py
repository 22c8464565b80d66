"""How far the outline of a mesh, as a camera would see it, lies from the outline of a mask.

Outline points are middles of edges between a triangle that faces the camera and one that does not, or at a border, of which nothing of the
mesh lies just outside. Their distance to the mask's border is exact to a fraction of a pixel when averaged over many.
"""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from ava_jax.captures.rigs import lens
from ava_jax.captures.rigs.types import RigCamera

_SIDE = 384  # pixels of the drawing that tells outer edges from inner ones
_OUTSIDE = 1.75  # of its pixels, that must be empty outside an outer edge
_LEAST = 12  # points, with fewer there is no outline


class Outline:
    """A mesh and a mask, to be held against each other for any camera."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, mask: np.ndarray):
        """Prepares edges and distances.

        Args:
          vertices: [V, 3], world.
          faces: int [T, 3].
          mask: [H, W], bool, or 0..255.

        Raises:
          ValueError: shapes are wrong, or the mask is empty or full.
        """
        self._vertices, self._faces = np.asarray(vertices, np.float64), np.asarray(faces)
        if self._vertices.ndim != 2 or self._vertices.shape[1] != 3 or self._faces.ndim != 2 or self._faces.shape[1] != 3:
            raise ValueError(f"rigs.outline: a mesh must be [V, 3] and [T, 3]; got {self._vertices.shape} and {self._faces.shape}.")
        inside = mask if mask.dtype == bool else mask >= 128
        if inside.all() or not inside.any():
            raise ValueError("rigs.outline: a mask must have an inside and an outside.")
        # Zero half way between the outermost pixel inside and its neighbour; positive inside.
        within, without = ndimage.distance_transform_edt(inside) - 0.5, ndimage.distance_transform_edt(~inside) - 0.5
        self._signed = np.where(inside, within, -without)
        self._edges, self._sides = _edges(self._faces)
        self._known: dict[bytes, np.ndarray] = {}

    def distances(self, camera: RigCamera) -> np.ndarray:
        """Distances f64 [P] of the outline's points, as a camera sees them, to the mask's border, pixels; inf where there is no outline."""
        key = camera.world_to_camera.tobytes()  # the outline is that of a point of view, whatever K and lens
        if key not in self._known:
            self._known[key] = self._points(camera.world_to_camera)
        points = self._known[key]
        if len(points) < _LEAST:
            return np.full(_LEAST, np.inf)
        pixels = lens.project(points, camera)
        height, width = self._signed.shape
        nearest = np.clip(pixels, 0, [width - 1, height - 1])
        off = np.linalg.norm(pixels - nearest, axis=-1)
        signed = ndimage.map_coordinates(self._signed, nearest[:, ::-1].T, order=1, mode="nearest")
        # Where a mask runs out of the picture, so does the outline: not to be seen, so not wrong.
        found = np.where(off > 0, np.where(signed > 0, 0.0, off - signed), np.abs(signed))
        return np.where(np.isfinite(pixels).all(-1), found, np.inf)

    def _points(self, pose: np.ndarray) -> np.ndarray:
        """Points of the outline, f64 [P, 3], world."""
        local = self._vertices @ pose[:3, :3].T + pose[:3, 3]
        if not (local[:, 2] > 1e-9 * np.abs(local).max()).all():
            return np.zeros((0, 3))  # the camera stands in the mesh, or the mesh behind it
        flat = local[:, :2] / local[:, 2:]
        a, b, c = (flat[self._faces[:, i]] for i in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        first, second = self._sides.T
        turned = np.where(second < 0, True, (area[first] > 0) != (area[second] > 0))
        edges, own = self._edges[turned], first[turned]
        if not len(edges):
            return np.zeros((0, 3))
        outer = _outer(flat, self._faces, edges, own)
        return self._vertices[edges[outer]].mean(1)


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges int [E, 2] and the one or two triangles of each, [E, 2], -1 = none."""
    every = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, inverse, counts = np.unique(every, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    triangles = np.repeat(np.arange(len(faces)), 3)
    order = np.argsort(inverse, kind="stable")
    start = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sides = np.full((len(edges), 2), -1)
    sides[:, 0] = triangles[order[start]]
    shared = counts > 1
    sides[shared, 1] = triangles[order[start[shared] + 1]]
    return edges, sides


def _outer(flat: np.ndarray, faces: np.ndarray, edges: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which edges have nothing of the mesh outside of them, bool [E]; the side away from their own triangle is the outside."""
    low = flat.min(0)
    scale = (_SIDE - 9) / max(float((flat.max(0) - low).max()), 1e-300)
    drawn = (flat - low) * scale + 4
    image = Image.new("1", (_SIDE, _SIDE))
    pencil = ImageDraw.Draw(image)
    for corners in drawn[faces].reshape(-1, 6).tolist():
        pencil.polygon(corners, fill=1)
    filled = np.asarray(image)
    ends = drawn[edges]
    middle = ends.mean(1)
    along = ends[:, 1] - ends[:, 0]
    normal = np.stack([along[:, 1], -along[:, 0]], -1) / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    normal *= np.where(np.einsum("ei,ei->e", normal, drawn[faces[own]].mean(1) - middle) > 0, -1.0, 1.0)[:, None]
    at = np.clip(np.rint(middle + _OUTSIDE * normal), 0, _SIDE - 1).astype(int)
    return ~filled[at[:, 1], at[:, 0]]
