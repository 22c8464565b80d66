"""Where a client looks from, and its picture in parts: coarse and whole first, then finer, tile by tile."""

import functools
import math
from typing import NamedTuple

import numpy as np

from ava_jax.core.types import Cameras

MM = 1000.0  # the page's lengths are metres
_SHORT = 667 / 1024  # a picture's shorter side over its longer one, as the captures' pictures
_ASPECTS = (_SHORT, 1.0, 1 / _SHORT, 2.2)  # width over height of the pictures that are drawn; the page stretches one to its window


class Eye(NamedTuple):
    """A client's camera.

    Attributes:
      rotation: f64 [3, 3], head to camera.
      position: f64 [3], mm, head space.
      fov: vertical field of view, radians.
      aspect: the window's width over its height.
    """

    rotation: np.ndarray
    position: np.ndarray
    fov: float
    aspect: float

    def cameras(self, height: int, width: int, row: int = 0, column: int = 0) -> Cameras:
        """The camera of a picture that fills the window, or of a part that begins at a pixel of it: leading axis 1.

        Pixels need not be square: a picture of any size fills the window.
        """
        slope = 2.0 * math.tan(self.fov / 2)
        return Cameras(
            rotation=self.rotation[None].astype(np.float32),
            position=self.position[None].astype(np.float32),
            focal=np.array([[width / (slope * self.aspect), height / slope]], np.float32),
            principal=np.array([[(width - 1) / 2 - column, (height - 1) / 2 - row]], np.float32),
        )


class Level(NamedTuple):
    """A picture at one resolution.

    Attributes:
      height, width: pixels.
      tiles: (row, column) where each begins, the middle ones first; they may reach beyond the picture.
    """

    height: int
    width: int
    tiles: tuple[tuple[int, int], ...]


class Layout(NamedTuple):
    """The parts that a picture is drawn in: tiles of one size, so that there is one program for all.

    Attributes:
      tile: height and width, pixels.
      levels: the coarsest first, of one tile or two; the last is the whole picture.
    """

    tile: tuple[int, int]
    levels: tuple[Level, ...]


@functools.cache
def layout(height: int, width: int, parts: int) -> Layout:
    """Levels of a picture; each has twice the resolution of the one before.

    Args:
      height, width: of the finest, pixels.
      parts: how much finer the finest is than the coarsest, along a side: a power of 2. Tiles are squares that hold the coarsest of all
        but very wide windows, and the same for all shapes. 1: there is one level, of one tile.
    """
    side = max(1, round(math.sqrt(height * width / _SHORT) / parts))
    tile_height, tile_width = (height, width) if parts == 1 else (side, side)
    levels = []
    for scale in [parts >> i for i in range(parts.bit_length())]:
        size = (-(-height // scale), -(-width // scale))
        rows, columns = -(-size[0] // tile_height), -(-size[1] // tile_width)
        places = [(i - (rows - 1) / 2, j - (columns - 1) / 2, i, j) for i in range(rows) for j in range(columns)]
        places.sort(key=lambda place: place[0] ** 2 + place[1] ** 2)
        levels.append(Level(*size, tuple((i * tile_height, j * tile_width) for *_, i, j in places)))
    return Layout((tile_height, tile_width), tuple(levels))


def picture_size(aspect: float, longer: int) -> tuple[int, int]:
    """Height and width, pixels, of the pictures for a window: of a few shapes, as each is compiled, all of about as many pixels.

    Args:
      aspect: the window's width over its height.
      longer: the longer side of a picture of the captures' shape, pixels.
    """
    shape = min(_ASPECTS, key=lambda one: abs(math.log(one / aspect)))
    height = math.sqrt(longer * longer * _SHORT / shape)
    return round(height), round(height * shape)
