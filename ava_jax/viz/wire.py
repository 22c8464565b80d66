"""Meshes drawn as wire, and points, over photographs, to see whether a camera's calibration is right."""

import numpy as np
from PIL import Image, ImageDraw

from ava_jax.core import zbuffer

MARGIN = 0.12  # of the picture's height, on each side: what falls outside is seen there
_FINER = 3  # lines are drawn at so many times the size, and reduced
_WIRE, _OUTSIDE, _PAPER = (90, 225, 255), (255, 150, 60), (30, 31, 36)
STRENGTH = 0.5  # of a line
_DOT = 0.0055  # a dot's radius over the picture's height
_ARROW = 0.05  # length of its head over the picture's height


def overlay(picture: np.ndarray, vertices: np.ndarray, faces: np.ndarray, height: int, strength: float = STRENGTH) -> np.ndarray:
    """A mesh's visible edges over a photograph with a margin around it; an arrow points to a mesh that lies outside.

    Args:
      picture: u8 [H, W, 3].
      vertices: [V, 3]: column and row in the picture's pixels, depth; as `zbuffer.project` gives them.
      faces: int [M, 3].
      height: pixels that the photograph is brought to.
      strength: of lines at most, 0 to 1, where many fall together too: the photograph stays visible.

    Returns:
      u8 [H', W', 3], with the margin.
    """
    canvas = framed(picture, height)
    points = placed(vertices, picture.shape[0], height)
    mask = Image.new("L", (canvas.width * _FINER, canvas.height * _FINER))
    edges = _visible_edges(points, faces, canvas.height, canvas.width)
    draw = ImageDraw.Draw(mask)
    for a, b in ((points[edges, :2] + 0.5) * _FINER).tolist():
        draw.line((*a, *b), fill=255, width=2)
    mask = mask.resize(canvas.size, Image.Resampling.BOX).point(lambda value: min(value, round(255 * strength)))
    canvas.paste(Image.new("RGB", canvas.size, _WIRE), mask=mask)
    _outline(canvas, height)
    if not len(edges):
        _point_to(canvas, points)
    return np.asarray(canvas)


def dots(picture: np.ndarray, points: np.ndarray, colours: np.ndarray, hidden: np.ndarray, height: int) -> np.ndarray:
    """Points over a photograph with a margin around it, as `overlay` draws meshes; hidden ones as rings.

    Args:
      picture: u8 [H, W, 3].
      points: [P, 3]: column and row in the picture's pixels, depth; those behind the camera are left out.
      colours: u8 [P, 3].
      hidden: bool [P].
      height: pixels that the photograph is brought to.

    Returns:
      u8 [H', W', 3], with the margin.
    """
    canvas = framed(picture, height)
    at = placed(points, picture.shape[0], height)
    finer = canvas.resize((canvas.width * _FINER, canvas.height * _FINER))
    draw = ImageDraw.Draw(finer)
    radius = max(_DOT * height, 1.2) * _FINER
    shown = (at[:, 2] > 0) & (np.abs(at[:, :2]) < 10 * max(canvas.size)).all(1)
    for i in np.flatnonzero(shown):
        x, y = (at[i, :2] + 0.5) * _FINER
        box, colour = (x - radius, y - radius, x + radius, y + radius), tuple(int(value) for value in colours[i])
        if hidden[i]:
            draw.ellipse(box, outline=colour, width=2)
        else:
            draw.ellipse(box, fill=colour)
    canvas = finer.resize(canvas.size, Image.Resampling.BOX)
    _outline(canvas, height)
    return np.asarray(canvas)


def framed(picture: np.ndarray, height: int) -> Image.Image:
    """A photograph, u8 [H, W, 3], brought to `height` pixels, on a canvas that is MARGIN of that wider on each side."""
    width = round(picture.shape[1] * height / picture.shape[0])
    margin = _margin(height)
    canvas = Image.new("RGB", (width + 2 * margin, height + 2 * margin), _PAPER)
    canvas.paste(Image.fromarray(picture).resize((width, height)), (margin, margin))
    return canvas


def placed(points: np.ndarray, picture_height: int, height: int) -> np.ndarray:
    """Points, [P, 3], column and row in pixels of a picture `picture_height` high, in pixels of what `framed` makes of it: f64 [P, 3]."""
    points = np.array(points, np.float64)
    points[:, :2] = (points[:, :2] + 0.5) * (height / picture_height) - 0.5 + _margin(height)
    return points


def _margin(height: int) -> int:
    return round(MARGIN * height)


def _outline(canvas: Image.Image, height: int) -> None:
    """Where the photograph ends."""
    margin = _margin(height)
    box = (margin - 1, margin - 1, canvas.width - margin, canvas.height - margin)
    ImageDraw.Draw(canvas).rectangle(box, outline=(110, 112, 120))


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
