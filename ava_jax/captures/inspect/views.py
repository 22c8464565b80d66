"""A scene drawn from three sides: cameras as pyramids, the head shaded."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ava_jax.captures import shading
from ava_jax.captures.inspect.scene import Scene
from ava_jax.core import zbuffer
from ava_jax.core.cameras import look_at
from ava_jax.core.types import Cameras
from ava_jax.viz import legend, sheet

COLOURS = {"shown": (90, 225, 255), "other": (190, 192, 200), "none": (105, 106, 115), "unreadable": (255, 70, 60)}
WORDS = {"shown": "camera of the overlays", "other": "other camera", "none": "without images", "unreadable": "images unreadable"}
AXES = ((255, 90, 90), (110, 220, 110), (100, 150, 255))  # x, y, z of the head
PATH = (255, 200, 80)
AXIS_MM = 180.0
_SIDES = {
    "from the front and above": ((0.35, 0.45, 1.0), (0, 1, 0)),
    "from its left side": ((1.0, 0.08, 0.0), (0, 1, 0)),
    "from above; the face looks down": ((0.0, 1.0, 0.0), (0, 0, -1)),
}
_AWAY = 3.5  # distance of the view's camera over the scene's radius: some perspective
_FINER = 2  # lines are drawn at so many times the size
_LIGHT = 1.1


class _View(NamedTuple):
    """Where the scene is seen from. `camera`: its; `side`: of the picture, pixels."""

    camera: Cameras
    side: int

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Column, row, depth of points [..., 3], f64 of the same shape."""
        return zbuffer.project(points.reshape(-1, 3), self.camera).reshape(points.shape)


def draw(scene: Scene, side: int) -> Image.Image:
    """The scene from three sides, each picture `side` pixels, with a legend."""
    panels = tuple((words, _draw(scene, np.array(way, float), up, side)) for words, (way, up) in _SIDES.items())
    frame = f", the head of frame {scene.heads[0].frame}" if scene.heads and len(scene.heads[0].faces) else ""
    drawn = sheet.compose([sheet.Strip(f"{len(scene.names)} cameras{frame}", panels)], 1, side)
    return legend.stacked([drawn, legend.legend(entries(scene), drawn.width)])


def entries(scene: Scene) -> list[tuple[str, legend.Colour]]:
    """Of the legend: what the scene has."""
    found = [(WORDS[kind], COLOURS[kind]) for kind in COLOURS if kind in scene.kinds]
    if np.isfinite(scene.axes).all():
        found += [(f"head's {name}", colour) for name, colour in zip("xyz", AXES, strict=True)]
    return found + ([("path of the head", PATH)] if len(scene.path) > 1 else [])


def _draw(scene: Scene, way: np.ndarray, up: tuple[float, float, float], side: int) -> np.ndarray:
    view = _view(scene, way, up, side * _FINER)
    canvas = Image.new("RGB", (side * _FINER,) * 2, (24, 25, 29))
    depth = view.pixels(np.zeros((1, 3)))[0, 2]
    at = view.pixels(scene.positions)
    behind = at[:, 2] > depth
    _pyramids(canvas, view, scene, np.flatnonzero(behind))
    if scene.heads:
        _head(canvas, view, scene, way)
    _lines(canvas, view, scene)
    _pyramids(canvas, view, scene, np.flatnonzero(~behind))
    canvas = canvas.resize((side, side), Image.Resampling.BOX)
    _names(canvas, scene, at[:, :2] / _FINER)
    return np.asarray(canvas)


def _view(scene: Scene, way: np.ndarray, up: tuple[float, float, float], side: int) -> _View:
    """One that shows all, whatever the sizes."""
    heads = [points for head in scene.heads[:1] for points in (head.vertices, head.keypoints)]
    every = np.concatenate([scene.positions, scene.corners.reshape(-1, 3), *heads, np.zeros((1, 3)), scene.origin[None]])
    every = every[np.isfinite(every).all(1)]
    radius = max(float(np.linalg.norm(every, axis=1).max()), 1.0)
    position = way / np.linalg.norm(way) * _AWAY * radius
    rotation = look_at(position, np.zeros(3), up)
    plane = zbuffer.project(every, Cameras(rotation, position, np.ones(2), np.zeros(2)))[:, :2]
    low, high = plane.min(0), plane.max(0)
    focal = 0.86 * side / max((high - low).max(), 1e-6)
    return _View(Cameras(rotation, position, np.full(2, focal), (side - 1) / 2 - focal * (low + high) / 2), side)


def _pyramids(canvas: Image.Image, view: _View, scene: Scene, cameras: np.ndarray) -> None:
    draw = ImageDraw.Draw(canvas)
    tips, corners = view.pixels(scene.positions)[:, :2], view.pixels(scene.corners)[..., :2]
    for i in sorted(cameras.tolist(), key=lambda i: scene.kinds[i] == "shown"):
        colour = COLOURS[scene.kinds[i]]
        tip, ring = tuple(tips[i]), [tuple(corner) for corner in corners[i]]
        for corner in ring:
            draw.line((tip, corner), fill=colour, width=_FINER)
        draw.line([*ring, ring[0]], fill=colour, width=_FINER)
        draw.line((ring[0], ring[1]), fill=colour, width=3 * _FINER)  # the picture's upper edge
        size = 2.5 * _FINER
        draw.ellipse((tip[0] - size, tip[1] - size, tip[0] + size, tip[1] + size), fill=colour)


def _head(canvas: Image.Image, view: _View, scene: Scene, way: np.ndarray) -> None:
    head = scene.heads[0]
    if len(head.faces):
        light = _LIGHT * (way / np.linalg.norm(way) + (0.2, 0.5, 0.2))
        picture, covered = shading.shaded(head.vertices, head.faces, view.camera, view.side, view.side, light, head.colours)
        canvas.paste(Image.fromarray(picture), mask=Image.fromarray(covered))
        return
    draw = ImageDraw.Draw(canvas)
    for x, y, _ in view.pixels(head.keypoints):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(120, 255, 120))


def _lines(canvas: Image.Image, view: _View, scene: Scene) -> None:
    draw = ImageDraw.Draw(canvas)
    if len(scene.path) > 1:
        draw.line([tuple(point) for point in view.pixels(scene.path)[:, :2]], fill=PATH, width=_FINER)
    if np.isfinite(scene.axes).all():
        for axis, colour in zip(scene.axes, AXES, strict=True):
            a, b = view.pixels(np.stack([scene.origin, scene.origin + AXIS_MM * axis]))[:, :2]
            draw.line((*a, *b), fill=colour, width=2 * _FINER)


def _names(canvas: Image.Image, scene: Scene, at: np.ndarray) -> None:
    """Of the cameras, beside them: those shown first, others where there is room."""
    font, draw = ImageFont.load_default(size=11), ImageDraw.Draw(canvas)
    taken: list[tuple[float, float, float, float]] = []
    middle = np.array(canvas.size) / 2
    for i in sorted(range(len(scene.names)), key=lambda i: scene.kinds[i] != "shown"):
        for side in (1, -1) if at[i, 0] >= middle[0] else (-1, 1):  # away from the middle; towards it where the picture ends
            place, anchor = (at[i, 0] + 9 * side, at[i, 1] + 9 * np.sign(at[i, 1] - middle[1])), "lm" if side > 0 else "rm"
            box = draw.textbbox(place, scene.names[i], font=font, anchor=anchor)
            outside = box[0] < 0 or box[1] < 0 or box[2] > canvas.width or box[3] > canvas.height
            if not outside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                taken.append(box)
                draw.text(place, scene.names[i], fill=COLOURS[scene.kinds[i]], font=font, anchor=anchor)
                break
