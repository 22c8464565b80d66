"""Textures by visibility: each texel takes the colours that cameras see at its point of the surface, weighted by how well they see it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ava_jax.core import zbuffer
from ava_jax.core.mesh import Topology, uv_triangles
from ava_jax.core.types import Array, Cameras

_FACING = 0.2  # cosine of the angle between surface and view, under which a camera does not count
_NEAR = 2.0  # mm that a point may lie from what the camera sees, beside what the slope makes within a pixel
_BORDER = 2.0  # pixels from the image's edge that do not count
_ERODED = 3  # pixels of a mask's rim that do not count
_INWARD = 0.3  # of what a sphere has: a shape whose faces look so much towards its middle is wound the other way
_FULL = 0.1  # coverage from which a texel's own colour counts alone, in filling


class Texels(NamedTuple):
    """The texels that show the surface: flat index int [Q] in a chart of `size`^2, vertices int [Q, 3], their weights f32 [Q, 3]."""

    size: int
    at: np.ndarray
    corners: np.ndarray
    weights: np.ndarray


class View(NamedTuple):
    """What a camera sees: image u8 [H, W, 3]; the camera in the mesh's space, pixels of the image; mask bool [H, W] or None."""

    image: np.ndarray
    camera: Cameras
    mask: np.ndarray | None = None


class Unwrapped(NamedTuple):
    """A texture f32 [T, T, 3], 0-255, 0 where no camera sees; coverage f32 [T, T], the sum of squared cosines of those that do."""

    colour: np.ndarray
    coverage: np.ndarray


def texels(topology: Topology, size: int) -> Texels:
    """Looks up the surface point of each texel of a chart of size x size."""
    triangle, weights = uv_triangles(topology, size)
    at = np.flatnonzero(triangle.ravel() >= 0)
    return Texels(size, at, topology.faces[triangle.ravel()[at]], weights.reshape(-1, 3)[at])


def unwrap(vertices: Array, faces: Array, chart: Texels, views: Sequence[View]) -> Unwrapped:
    """The colours of a mesh's texels, from all cameras that see them.

    Args:
      vertices: [V, 3], mm.
      faces: int [M, 3].
      chart: the texels.
      views: of the cameras, in the space of `vertices`.
    """
    return blend([sample(vertices, faces, chart, view) for view in views], chart)


def blend(samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], chart: Texels) -> Unwrapped:
    """The weighted mean of what `sample` gives for each camera: [P], [P, 3], [P], [P]."""
    total, colour, coverage = np.zeros(len(chart.at)), np.zeros((len(chart.at), 3)), np.zeros(len(chart.at))
    for which, seen, weight, square in samples:
        total[which] += weight
        colour[which] += weight[:, None] * seen
        coverage[which] += square
    picture, cover = np.zeros((chart.size**2, 3), np.float32), np.zeros(chart.size**2, np.float32)
    picture[chart.at] = colour / np.maximum(total, 1e-12)[:, None]
    cover[chart.at] = coverage
    return Unwrapped(picture.reshape(chart.size, chart.size, 3), cover.reshape(chart.size, chart.size))


def sample(vertices: Array, faces: Array, chart: Texels, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The texels that a camera sees.

    Args:
      vertices, faces, chart: as of `unwrap`.
      view: the camera's.

    Returns:
      Which of the chart's texels int [P], their colours f64 [P, 3], weights (squared cosine times pixels per mm^2) f64 [P] and squared
      cosines f64 [P].
    """
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    height, width = view.image.shape[:2]
    normals = vertex_normals(vertices, faces)
    way = np.asarray(view.camera.position) - vertices
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    cosine = _mixed((normals * way).sum(1), chart, slice(None))
    which = np.flatnonzero(cosine > _FACING)
    points = np.stack([_mixed(vertices[:, axis], chart, which) for axis in range(3)], axis=1)
    column, row, depth = zbuffer.project(points, view.camera).T
    within = (depth > 0) & (np.abs(column - (width - 1) / 2) <= width / 2 - 0.5 - _BORDER)
    within &= np.abs(row - (height - 1) / 2) <= height / 2 - 0.5 - _BORDER
    which, column, row, depth = (values[within] for values in (which, column, row, depth))
    cosine = cosine[which]
    focal = float(np.mean(view.camera.focal))
    buffer = depth_map(vertices, faces, view.camera, height, width)
    pixel = 2 * depth / focal  # mm across a pixel of the buffer, which has half the size
    slope = np.sqrt(np.maximum(1 - cosine**2, 0)) / cosine
    near = np.abs(depth - _at(buffer, (column + 0.5) / 2 - 0.5, (row + 0.5) / 2 - 0.5)) < _NEAR + pixel * slope
    if view.mask is not None:
        near &= _at(_eroded(view.mask), column, row) > 0
    which, column, row, depth, cosine = (values[near] for values in (which, column, row, depth, cosine))
    return which, _bilinear(view.image, column, row), cosine**2 * (focal / depth) ** 2, cosine**2


def depth_map(vertices: np.ndarray, faces: np.ndarray, camera: Cameras, height: int, width: int) -> np.ndarray:
    """Depth along the camera's axis at half the size, f64 [H / 2, W / 2], mm; inf beside the mesh.

    Args:
      vertices: f64 [V, 3], mm.
      faces: int [M, 3].
      camera: pixels of a picture of height x width.
      height, width: its size.
    """
    pixel = zbuffer.project(vertices, camera)
    depth = pixel[:, 2].copy()
    pixel[:, :2] = (pixel[:, :2] + 0.5) / 2 - 0.5
    triangle, weights = zbuffer.rasterize(pixel, faces, -(-height // 2), -(-width // 2))
    found = (depth[faces[triangle]] * weights).sum(-1)
    return np.where(triangle >= 0, found, np.inf)


def silhouette(vertices: Array, faces: Array, camera: Cameras, height: int, width: int) -> np.ndarray:
    """Where a mesh, [V, 3] with faces int [M, 3], covers a picture, bool [H, W]."""
    pixel = zbuffer.project(vertices, camera)
    return zbuffer.rasterize(pixel, np.asarray(faces), height, width)[0] >= 0


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals f64 [V, 3] of vertices f64 [V, 3]: as faces, int [M, 3], wind, and outwards of a head however they wind."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    count = len(vertices)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, i], 3), count) for i in range(3)], axis=-1)
    middle = vertices[np.unique(faces)].mean(0)
    way = (a + b + c) / 3 - middle
    most = (np.linalg.norm(across, axis=1) * np.linalg.norm(way, axis=1)).sum()
    sign = -1.0 if np.einsum("mi,mi->", across, way) < -_INWARD * most else 1.0
    return sign * total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)


def fill(found: Unwrapped, mean: Array | None) -> np.ndarray:
    """A whole texture, u8 [T, T, 3]: unseen texels take the capture's mean texture [T, T, 3], softly; without one, their surroundings."""
    colour, trust = found.colour.astype(np.float64), np.clip(found.coverage / _FULL, 0, 1)[..., None]
    whole = push_pull(colour, found.coverage > 0) if mean is None else trust * colour + (1 - trust) * np.asarray(mean, np.float64)
    return np.clip(np.rint(whole), 0, 255).astype(np.uint8)


def push_pull(picture: Array, known: Array) -> np.ndarray:
    """Fills what is not known, bool [T, T], of a picture [T, T, 3], f64, from coarser and coarser means of what is."""
    picture, known = np.asarray(picture, np.float64), np.asarray(known, bool)
    if known.all() or not known.any():
        return picture
    side = len(picture)
    even = side + side % 2
    weight = np.zeros((even, even, 1))
    weight[:side, :side, 0] = known
    padded = np.zeros((even, even, 3))
    padded[:side, :side] = picture
    quarters = [(padded[i::2, j::2] * weight[i::2, j::2], weight[i::2, j::2]) for i in (0, 1) for j in (0, 1)]
    total = sum(w for _, w in quarters)
    coarse = sum(c for c, _ in quarters) / np.maximum(total, 1e-12)
    coarse = push_pull(coarse, total[..., 0] > 0)
    at = (np.arange(side) + 0.5) / 2 - 0.5
    finer = np.stack(
        [ndimage.map_coordinates(coarse[..., c], np.meshgrid(at, at, indexing="ij"), order=1, mode="nearest") for c in range(3)], axis=-1
    )
    return np.where(known[..., None], picture, finer)


def _mixed(values: np.ndarray, chart: Texels, which: np.ndarray | slice) -> np.ndarray:
    """Values [V] of vertices at texels."""
    corners, weights = chart.corners[which], chart.weights[which]
    return values[corners[:, 0]] * weights[:, 0] + values[corners[:, 1]] * weights[:, 1] + values[corners[:, 2]] * weights[:, 2]


def _at(picture: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The nearest pixel's value."""
    height, width = picture.shape
    return picture[np.clip(np.rint(row).astype(int), 0, height - 1), np.clip(np.rint(column).astype(int), 0, width - 1)]


def _eroded(mask: np.ndarray) -> np.ndarray:
    return ndimage.minimum_filter(mask.astype(np.uint8), 2 * _ERODED + 1, mode="nearest")


def _bilinear(image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Colours f64 [P, 3] at pixels inside of the image."""
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    x, y = (column - left)[:, None], (row - top)[:, None]
    upper = image[top, left] * (1 - x) + image[top, left + 1] * x
    return upper * (1 - y) + (image[top + 1, left] * (1 - x) + image[top + 1, left + 1] * x) * y
