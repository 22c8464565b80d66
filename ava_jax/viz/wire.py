"""Meshes drawn as wire over photographs, to see whether a camera's calibration is right."""

import numpy as np
from PIL import Image, ImageDraw

from ava_jax.core import zbuffer

MARGIN = 0.12  # of the picture's height, on each side: what falls outside is seen there
_FINER = 3  # lines are drawn at so many times the size, and reduced
_WIRE, _OUTSIDE, _PAPER = (90, 225, 255), (255, 150, 60), (30, 31, 36)
_STRENGTH = 0.5  # of a line at most, where many fall together too: the photograph stays visible
_ARROW = 0.05  # length of its head over the picture's height


def overlay(picture: np.ndarray, vertices: np.ndarray, faces: np.ndarray, height: int) -> np.ndarray:
    """A mesh's visible edges over a photograph with a margin around it; an arrow points to a mesh that lies outside.

    Args:
      picture: u8 [H, W, 3].
      vertices: [V, 3]: column and row in the picture's pixels, depth; as `zbuffer.project` gives them.
      faces: int [M, 3].
      height: pixels that the photograph is brought to.

    Returns:
      u8 [H', W', 3], with the margin.
    """
    scale = height / picture.shape[0]
    width = round(picture.shape[1] * scale)
    margin = round(MARGIN * height)
    canvas = Image.new("RGB", (width + 2 * margin, height + 2 * margin), _PAPER)
    canvas.paste(Image.fromarray(picture).resize((width, height)), (margin, margin))
    points = np.array(vertices, np.float64)
    points[:, :2] = (points[:, :2] + 0.5) * scale - 0.5 + margin
    mask = Image.new("L", (canvas.width * _FINER, canvas.height * _FINER))
    edges = _visible_edges(points, faces, canvas.height, canvas.width)
    draw = ImageDraw.Draw(mask)
    for a, b in ((points[edges, :2] + 0.5) * _FINER).tolist():
        draw.line((*a, *b), fill=255, width=2)
    mask = mask.resize(canvas.size, Image.Resampling.BOX).point(lambda value: min(value, round(255 * _STRENGTH)))
    canvas.paste(Image.new("RGB", canvas.size, _WIRE), mask=mask)
    ImageDraw.Draw(canvas).rectangle((margin - 1, margin - 1, margin + width, margin + height), outline=(110, 112, 120))
    if not len(edges):
        _point_to(canvas, points)
    return np.asarray(canvas)


def _visible_edges(points: np.ndarray, faces: np.ndarray, height: int, width: int) -> np.ndarray:
    """Edges of the triangles that no other hides, int [E, 2]."""
    triangle, _ = zbuffer.rasterize(points, faces, height, width)
    seen = faces[np.unique(triangle[triangle >= 0])]
    return np.unique(np.sort(seen[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)


def _point_to(canvas: Image.Image, points: np.ndarray) -> None:
    """An arrow from the middle to where the mesh lies, as far as it lies in front of the camera."""
    front = points[(points[:, 2] > 0) & np.isfinite(points).all(1)]
    if not len(front):
        return
    middle = np.array([canvas.width, canvas.height]) / 2
    way = np.median(front[:, :2], axis=0) - middle
    way /= max(np.linalg.norm(way), 1e-9)
    tip = middle + way * (middle / np.maximum(np.abs(way), 1e-9)).min() * 0.97
    size = _ARROW * canvas.height
    across = np.array([-way[1], way[0]])
    draw = ImageDraw.Draw(canvas)
    draw.line((*(tip - 4 * size * way), *(tip - size * way)), fill=_OUTSIDE, width=max(round(size / 4), 1))
    draw.polygon([tuple(tip), tuple(tip - size * way + size / 2 * across), tuple(tip - size * way - size / 2 * across)], fill=_OUTSIDE)
