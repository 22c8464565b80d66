"""Bodies as small shaded pictures, and errors in mm as colours on them."""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ava_jax.core import zbuffer
from ava_jax.core.types import Array, Cameras

FULL_SCALE = 15.0  # mm that the colours end at
SKIN = (214, 190, 172)
PAPER = (16, 17, 20)  # of `viz.sheet`
_INK = (235, 235, 235)
_SAMPLES = 2  # per pixel along each axis
_YAW, _PITCH = np.radians(28.0), np.radians(8.0)  # from where the body is seen: its left front, a little above
_FOCAL = 2.4  # picture heights: a long lens
_ROOM = 1.06  # around the body
# Ivory, yellow, orange, red, violet: lightness falls all along, so it reads in grey too.
_STOPS = np.array([[238, 236, 226], [250, 214, 110], [238, 130, 48], [196, 40, 62], [92, 14, 104]], np.float64)


@dataclasses.dataclass(frozen=True)
class View:
    """A camera that looks at bodies of one kind of motion.

    Attributes:
      camera: in metres.
      height, width: of pictures, pixels.
    """

    camera: Cameras
    height: int
    width: int

    @classmethod
    def around(cls, points: Array, height: int, width: int) -> "View":
        """The view in which all points are seen, as large as they can be.

        Args:
          points: [..., 3], metres, y up; bodies look along z.
          height: pixels.
          width: pixels.
        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        ahead = -np.array([np.sin(_YAW) * np.cos(_PITCH), np.sin(_PITCH), np.cos(_YAW) * np.cos(_PITCH)])
        right = np.cross(ahead, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(ahead, right), ahead])
        seen = points @ rotation.T
        low, high = seen.min(0), seen.max(0)
        size = max(_ROOM * max((high[1] - low[1]) / height, (high[0] - low[0]) / width) * height, 1e-6)
        # As far away as the nearest points need that the lens sees this size there.
        centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] - _FOCAL * size])
        focal, principal = np.full(2, _FOCAL * height), np.array([(width - 1) / 2, (height - 1) / 2])
        return cls(Cameras(rotation, centre @ rotation, focal, principal), height, width)

    def draw(self, vertices: Array, faces: np.ndarray, colours: Array | None = None) -> np.ndarray:
        """A shaded picture.

        Args:
          vertices: [V, 3], metres.
          faces: int [M, 3], outward by the right hand.
          colours: [V, 3], 0-255; None: `SKIN`.

        Returns:
          u8 [height, width, 3].
        """
        return self.draw_all(vertices, faces, [colours])[0]

    def draw_all(self, vertices: Array, faces: np.ndarray, colours: list[Array | None]) -> list[np.ndarray]:
        """As `draw`, a picture [height, width, 3] per colouring [V, 3] of one mesh [V, 3]."""
        vertices = np.asarray(vertices, np.float64)
        scale = _SAMPLES
        pixels = zbuffer.project(vertices, self.camera)
        pixels[:, :2] = (pixels[:, :2] + 0.5) * scale - 0.5
        normals, front = self._normals(vertices, faces)
        shown = np.flatnonzero(front)
        triangle, weights = zbuffer.rasterize(pixels, faces[shown], self.height * scale, self.width * scale)
        covered = triangle >= 0
        corners, weight = faces[shown[triangle[covered]]], weights[covered].astype(np.float64)
        light = _light(np.einsum("pk,pki->pi", weight, normals[corners]) @ np.asarray(self.camera.rotation).T)
        pictures = []
        for colour in colours:
            flat = (
                np.array(SKIN, np.float64) if colour is None else np.einsum("pk,pki->pi", weight, np.asarray(colour, np.float64)[corners])
            )
            picture = np.empty((*covered.shape, 3))
            picture[:] = PAPER
            picture[covered] = flat * light[:, None]
            small = picture.reshape(self.height, scale, self.width, scale, 3).mean((1, 3))
            pictures.append(np.clip(np.rint(small), 0, 255).astype(np.uint8))
        return pictures

    def _normals(self, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit normals of vertices, [V, 3], and which faces look at the camera, [M]."""
        a, b, c = (vertices[faces[:, i]] for i in range(3))
        flat = np.cross(b - a, c - a)
        total = np.stack([np.bincount(faces.ravel(), np.repeat(flat[:, i], 3), len(vertices)) for i in range(3)], axis=1)
        total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        return total, np.einsum("mi,mi->m", flat, a - np.asarray(self.camera.position)) < 0


def error_mm(vertices: Array, target: Array) -> np.ndarray:
    """Distances of vertices [V, 3] from a target's [V, 3], metres: f64 [V], mm."""
    return 1e3 * np.linalg.norm(np.asarray(vertices, np.float64) - np.asarray(target, np.float64), axis=-1)


def error_colours(error: Array) -> np.ndarray:
    """Errors [...], mm, any shape, as colours f64 [..., 3], 0-255: ivory for 0, violet from `FULL_SCALE` on."""
    at = np.linspace(0.0, FULL_SCALE, len(_STOPS))
    return np.stack([np.interp(error, at, _STOPS[:, i]) for i in range(3)], axis=-1)


def legend(width: int) -> np.ndarray:
    """The colours with what they mean, u8 [H, width, 3]: a bar with numbers under it."""
    bar, margin = 12, 16
    picture = Image.new("RGB", (width, 46), PAPER)
    length = min(width - 2 * margin, 360)
    colours = np.rint(error_colours(np.linspace(0.0, FULL_SCALE, length)))
    picture.paste(Image.fromarray(np.broadcast_to(colours.astype(np.uint8), (bar, length, 3)).copy()), (margin, 6))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for value in range(0, int(FULL_SCALE) + 1, 5):
        x = margin + (length - 1) * value / FULL_SCALE
        draw.line([(x, 6 + bar), (x, 6 + bar + 3)], fill=_INK)
        text = f"{value} mm" if value < FULL_SCALE else f"{value}+ mm"
        anchor = {0: "lt"}.get(value, "mt" if value < FULL_SCALE else "rt")
        draw.text((x, 6 + bar + 6), text, fill=_INK, font=font, anchor=anchor)
    return np.asarray(picture)


def _light(normals: np.ndarray) -> np.ndarray:
    """How bright a surface is, [P]: from above left, with a soft fill. Normals [P, 3] in the camera's axes: right, down, ahead."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    key = np.array([-0.45, -0.6, -0.66])
    return 0.42 + 0.5 * np.clip(normals @ key, 0.0, 1.0) + 0.12 * np.clip(-normals[:, 2], 0.0, 1.0)
