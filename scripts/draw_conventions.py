"""Draws the conventions that docs/reference/formats.md describes: axes, pixels and UVs, on procedural heads.

python scripts/draw_conventions.py --out=docs/images        # axes.jpg, pixels.png, uv.jpg
"""

import pathlib

import numpy as np
from absl import app, flags
from PIL import Image, ImageDraw, ImageFont

from ava_jax.core import zbuffer
from ava_jax.core.cameras import look_at
from ava_jax.core.mesh import first_uv_of_vertex, uv_barycentric
from ava_jax.core.types import Cameras
from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, render

_OUT = flags.DEFINE_string("out", None, "Folder for the pictures.", required=True)
_PAPER, _INK, _FAINT = (24, 25, 29), (238, 238, 238), (160, 163, 170)
_X, _Y, _Z = (255, 105, 97), (119, 221, 119), (108, 170, 255)  # the usual colours of axes
_MARK = (255, 214, 90)
_REQUEST = Request(identities=1, cameras=8, frames=12, texture_size=512)
_POSE = np.eye(3, 4)
_FONT, _SMALL = ImageFont.load_default(size=16), ImageFont.load_default(size=13)


def main(_) -> None:
    out = pathlib.Path(_OUT.value)
    expression = ava256_layout.script(_REQUEST, 0)[0][1]
    head = render.face(ava256_layout.identity(_REQUEST, 0), expression, 512)
    axes(head).save(out / "axes.jpg", quality=88)
    pixels().save(out / "pixels.png", optimize=True)
    uv(head).save(out / "uv.jpg", quality=88)


class View:
    """A camera that looks at the scene, and the canvas that it draws on, shifted by `left` pixels."""

    def __init__(self, draw: ImageDraw.ImageDraw, camera: render.Camera, height: int, left: int) -> None:
        scale = height / 4096
        self.draw, self.left = draw, left
        self.cameras = Cameras(camera.rotation, camera.position, camera.focal * scale, camera.principal * scale)

    def at(self, point) -> tuple[float, float]:
        """Column and row of a point [3], mm."""
        x, y, _ = zbuffer.project(np.asarray(point, np.float64)[None], self.cameras)[0]
        return float(x) + self.left, float(y)

    def arrow(self, start, end, colour, text: str) -> None:
        arrow(self.draw, self.at(start), self.at(end), colour)
        way = np.subtract(self.at(end), self.at(start))
        way /= max(np.linalg.norm(way), 1e-9)
        x, y = np.add(self.at(end), way * (22 + 4.2 * len(text) * abs(way[0])))
        label(self.draw, (x, y), text, colour)


def arrow(draw: ImageDraw.ImageDraw, start, end, colour, width: int = 3) -> None:
    start, end = np.array(start), np.array(end)
    way = (end - start) / max(np.linalg.norm(end - start), 1e-9)
    across = np.array([-way[1], way[0]])
    draw.line((*start, *(end - 8 * way)), fill=colour, width=width)
    draw.polygon([tuple(end), tuple(end - 12 * way + 6 * across), tuple(end - 12 * way - 6 * across)], fill=colour)


def label(draw: ImageDraw.ImageDraw, at, text: str, colour=_INK, font=_FONT, anchor: str = "mm") -> None:
    """Text on a patch of paper, so that it can be read on anything."""
    box = draw.multiline_textbbox(at, text, font=font, anchor=anchor, spacing=3)
    draw.rectangle((box[0] - 3, box[1] - 2, box[2] + 3, box[3] + 2), fill=_PAPER)
    draw.multiline_text(at, text, fill=colour, font=font, anchor=anchor, spacing=3)


def camera_at(position, target, focal: float) -> render.Camera:
    rotation = look_at(np.array(position, np.float64), np.array(target, np.float64), np.array([0.0, 1.0, 0.0]))
    like = render.rig(1, 0)[0]
    return like._replace(rotation=rotation, position=np.array(position, np.float64), focal=np.array([focal, focal]))


def portrait(head: render.Painted, camera: render.Camera, height: int) -> Image.Image:
    """The head alone, on paper."""
    picture, labels = render.picture(head, camera, _POSE, height)
    return Image.fromarray(np.where(labels[..., None] == 0, np.array(_PAPER, np.uint8), picture))


def axes(head: render.Painted) -> Image.Image:
    """The head's axes, a camera's, and what takes one to the other."""
    height, width = 620, 980
    viewer = camera_at((660, 560, 1500), (0, 10, 40), 9800.0)
    canvas = Image.new("RGB", (width, height), _PAPER)
    shown = portrait(head, viewer, height)
    left = (width - shown.width) // 2 + 90
    canvas.paste(shown, (left, 0))
    view = View(ImageDraw.Draw(canvas), viewer, height, left)
    for way, colour, text in (
        ((210, 0, 0), _X, "x: the subject's left"),
        ((0, 240, 0), _Y, "y: up"),
        ((0, 0, 260), _Z, "z: out of the face"),
    ):
        view.arrow((0, 0, 0), way, colour, text)
    _draw_camera(view)
    lines = (
        "meshes are in head space, keypoints and cameras in the world, both in mm",
        "x_world = Rh x_head + th          head_pose/*.txt: [Rh, th]",
        "x_camera = R x_world + t          camera_calibration.json: T = [R, t; 0 1] transposed",
        "pixel = focal x_camera.xy / x_camera.z + principal",
    )
    for i, line in enumerate(lines):
        view.draw.text((20, height - 24 * (len(lines) - i) - 8), line, fill=_INK if i else _FAINT, font=_SMALL)
    return canvas


def _draw_camera(view: View) -> None:
    """A dome camera, nearer than it stands, as a frustum with its axes."""
    position, target = np.array([-470.0, 40.0, 330.0]), np.zeros(3)
    rotation = look_at(position, target, np.array([0.0, 1.0, 0.0]))
    corners = np.array([[-1, -1.5, 3.6], [1, -1.5, 3.6], [1, 1.5, 3.6], [-1, 1.5, 3.6]]) * 32
    world = corners @ rotation + position
    for i in range(4):
        for a, b in ((position, world[i]), (world[i], world[(i + 1) % 4])):
            view.draw.line((*view.at(a), *view.at(b)), fill=_FAINT, width=2)
    for axis, length, colour, text in ((0, 110, _X, "x: right"), (1, 110, _Y, "y: down"), (2, 210, _Z, "z: forward")):
        view.arrow(position, position + length * rotation[axis], colour, text)
    x, y = view.at(world[0])
    label(view.draw, (x - 20, y - 40), "camera: row 0, column 0\nat this corner", _FAINT, _SMALL)


def pixels() -> Image.Image:
    """Whole numbers at the centres of pixels; what halving does to them."""
    side, left, top = 88, 90, 110
    canvas = Image.new("RGB", (980, 500), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((20, 16), "An image's pixels: whole numbers are the CENTRES", fill=_INK, font=_FONT)
    for row in range(4):
        for column in range(5):
            x, y = left + column * side, top + row * side
            draw.rectangle((x, y, x + side, y + side), outline=_FAINT, fill=(38, 40, 46) if (row + column) % 2 else (50, 52, 60))
            centre = (x + side / 2, y + side / 2)
            draw.ellipse((centre[0] - 4, centre[1] - 4, centre[0] + 4, centre[1] + 4), fill=_MARK)
            draw.text((centre[0], centre[1] + 17), f"({column}, {row})", fill=_INK, font=_SMALL, anchor="mm")
    arrow(draw, (left, top - 18), (left + 2.2 * side, top - 18), _X)
    draw.text((left + 2.35 * side, top - 18), "column, x", fill=_X, font=_FONT, anchor="lm")
    arrow(draw, (left - 18, top), (left - 18, top + 2.2 * side), _Y)
    draw.text((left - 10, top + 2.4 * side), "row, y", fill=_Y, font=_FONT, anchor="rm")
    draw.ellipse((left - 5, top - 5, left + 5, top + 5), fill=_Z)
    draw.text((left - 8, top - 40), "(-0.5, -0.5): COLMAP's and OpenGL's (0, 0)", fill=_Z, font=_SMALL, anchor="lm")
    lines = (
        ("The ray of column c, row r:", _INK),
        ("((c, r) - principal) / focal, 1", _MARK),
        ("", _INK),
        ("ava-256: K in pixels of the full sensor,", _INK),
        ("4096 rows x 2668 columns", _INK),
        ("multiface: K in pixels of the images,", _INK),
        ("2048 rows x 1334 columns", _INK),
        ("", _INK),
        ("downsample d, as published: K / d", _INK),
        ("exact for averaged pixels: focal / d and", _FAINT),
        ("(principal + 0.5) / d - 0.5; the two differ by", _FAINT),
        ("0.5 - 0.5 / d small pixels: 0.375 at d = 4", _FAINT),
        ("", _INK),
        ("from COLMAP, nerfstudio, Metashape:", _INK),
        ("principal - 0.5", _Z),
    )
    for i, (line, colour) in enumerate(lines):
        draw.text((570, top + 23 * i), line, fill=colour, font=_FONT)
    return canvas


def uv(head: render.Painted) -> Image.Image:
    """The same points on the texture, on the geometry image and in a photograph."""
    size, top = 300, 84
    cameras = ava256_layout.cameras_of(_REQUEST, 0)
    texture = Image.fromarray(render.texture(head, cameras, _POSE)).resize((size, size), Image.Resampling.LANCZOS)
    index, weights = uv_barycentric(geometry.topology(), size)
    points = (head.vertices[index] * weights[..., None]).sum(-2)
    colours = (points - points.min((0, 1))) / np.ptp(points, axis=(0, 1)) * 255
    photograph = camera_at((330, 60, 1000), (0, -10, 0), 10500.0)
    shown = portrait(head, photograph, 462)
    canvas = Image.new("RGB", (3 * size + 180, 470), _PAPER)
    draw = ImageDraw.Draw(canvas)
    lefts = (62, 62 + size + 42, 62 + 2 * size + 80)
    canvas.paste(texture, (lefts[0], top))
    canvas.paste(Image.fromarray(colours.astype(np.uint8)), (lefts[1], top))
    canvas.paste(shown, (lefts[2], 0))
    for x, title in ((lefts[0], "texture, uv_image/color.zip"), (lefts[1], "geometry image: x red, y green, z blue")):
        draw.text((x, 22), title, fill=_INK, font=_FONT)
        draw.text((x, top - 8), "row 0: v = 1", fill=_FAINT, font=_SMALL, anchor="ls")
        draw.text((x, top + size + 18), "last row: v = 0", fill=_FAINT, font=_SMALL, anchor="lm")
    arrow(draw, (lefts[0], top + size + 46), (lefts[0] + 150, top + size + 46), _X)
    draw.text((lefts[0] + 160, top + size + 46), "u = (column + 0.5) / T", fill=_X, font=_SMALL, anchor="lm")
    arrow(draw, (lefts[0] - 22, top + size), (lefts[0] - 22, top + size - 150), _Y)
    draw.text((lefts[0] - 44, top + size - 168), "v, up", fill=_Y, font=_SMALL, anchor="lm")
    draw.text((lefts[1], top + size + 46), "v = 1 - (row + 0.5) / T", fill=_Y, font=_SMALL, anchor="lm")
    view = View(draw, photograph, 462, lefts[2])
    chart = first_uv_of_vertex(geometry.topology(), len(head.vertices))
    for vertex, name in _landmarks(head).items():
        u, v = chart[vertex]
        for left in lefts[:2]:
            _mark(draw, (left + u * size, top + (1 - v) * size), name)
        _mark(draw, view.at(head.vertices[vertex]), name)
    draw.text((lefts[2] + 6, 448), "A: the subject's left eye (+x)", fill=_MARK, font=_SMALL)
    return canvas


def _landmarks(head: render.Painted) -> dict[int, str]:
    """Vertices by what they are called in the picture."""
    front = head.vertices[:, 2] > 0
    x, y = geometry.EYE
    named = {"A": (x, y), "B": (-x, y), "C": (0.0, -2.0), "D": (0.0, geometry.MOUTH)}
    distance = {name: np.where(front, np.linalg.norm(head.vertices[:, :2] - at, axis=1), np.inf) for name, at in named.items()}
    return {int(np.argmin(away)): name for name, away in distance.items()}


def _mark(draw: ImageDraw.ImageDraw, at, name: str) -> None:
    x, y = at
    draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=_PAPER, fill=_MARK)
    draw.text((x + 8, y - 10), name, fill=_MARK, font=_FONT, stroke_width=2, stroke_fill=_PAPER)


if __name__ == "__main__":
    app.run(main)
