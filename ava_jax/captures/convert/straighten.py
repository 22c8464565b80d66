"""Pictures of a rig's camera as a capture has them: undistorted, of one size, and the calibration that goes with them."""

import pathlib
from typing import NamedTuple

import numpy as np
from scipy import sparse

from ava_jax.captures.rigs import lens
from ava_jax.captures.rigs.types import RigCamera
from ava_jax.data import images

_ROWS = 256  # of an image that are sampled at once
_FOREGROUND = 128  # of 255, from which a mask's pixel counts


class Target(NamedTuple):
    """What a camera's pictures become.

    Attributes:
      size: height and width of all cameras' pictures.
      scale: of this camera's, at most 1.
      inner: height and width of this camera's picture at that scale.
      corner: row and column of it in the picture; the rest is black.
      k: f64 [3, 3], pixels of the picture, without skew; centres of pixels at whole numbers, exactly.
    """

    size: tuple[int, int]
    scale: float
    inner: tuple[int, int]
    corner: tuple[int, int]
    k: np.ndarray


def common_size(cameras: tuple[RigCamera, ...], height: int) -> tuple[int, int]:
    """Height and width of the pictures of all cameras: `height`, or the largest camera's where that is less; wide enough for each.

    Raises:
      ValueError: `height` is not positive.
    """
    if height < 1:
        raise ValueError(f"--height must be 1 or more; got {height}.")
    rows = min(height, max(camera.size[0] for camera in cameras))
    return rows, max(int(camera.size[1] * min(1.0, rows / camera.size[0]) + 1e-6) for camera in cameras)


def target(camera: RigCamera, size: tuple[int, int]) -> Target:
    """What a camera's pictures become in pictures of `size`: as high, never enlarged, in the middle of it."""
    scale = min(1.0, size[0] / camera.size[0])
    inner = tuple(max(1, int(side * scale + 1e-6)) for side in camera.size)
    corner = tuple((whole - part) // 2 for whole, part in zip(size, inner, strict=True))
    k = np.eye(3)
    k[0, 0], k[1, 1] = camera.k[0, 0] * scale, camera.k[1, 1] * scale
    k[:2, 2] = (camera.k[:2, 2] + 0.5) * scale - 0.5 + corner[::-1]
    return Target(size, scale, inner, corner, k)


class Straightener:
    """Brings pictures of one camera to what its `Target` says."""

    def __init__(self, camera: RigCamera, goal: Target) -> None:
        """Works out where each pixel comes from: 12 bytes per pixel of the camera's.

        Args:
          camera: of the rig.
          goal: its target.
        """
        self._camera, self._goal = camera, goal
        self._areas = None
        if goal.scale < 1:
            self._areas = tuple(_area(inner, goal.scale, side) for inner, side in zip(goal.inner, camera.size, strict=True))
        self._map: tuple[np.ndarray, np.ndarray] | None = None
        if camera.distortion.model != "none" or camera.k[0, 1]:
            straight = camera.k.copy()
            straight[0, 1] = 0.0
            self._map = lens.undistortion_map(camera, straight, camera.size)

    def picture(self, picture: np.ndarray, *, linear: bool = False) -> np.ndarray:
        """A picture u8 [h, w, 3] of the camera's size as u8 [H, W, 3]; black where it shows nothing.

        Args:
          picture: as the camera gave it.
          linear: whether sRGB's curve is taken off.

        Raises:
          ValueError: it has another size.
        """
        self._require(picture)
        straight = self._framed(self._sampled(picture))
        return _LINEAR[straight] if linear else straight

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask u8 [h, w], white where the person is, as bool [H, W]."""
        self._require(mask)
        return self._framed(self._sampled(mask[..., None]))[..., 0] >= _FOREGROUND

    def _require(self, picture: np.ndarray) -> None:
        if picture.shape[:2] != self._camera.size:
            sizes = [" x ".join(map(str, size)) for size in (self._camera.size, picture.shape[:2])]
            raise ValueError(f"camera {self._camera.name}: its images must be {sizes[0]} (height x width); got {sizes[1]}")

    def _sampled(self, picture: np.ndarray) -> np.ndarray:
        """Undistorted at its own size, bilinear; 0 outside."""
        if self._map is None:
            return picture
        source, valid = self._map
        height, width, channels = picture.shape
        flat, out = picture.reshape(-1, channels), np.zeros_like(picture)
        for top in range(0, height, _ROWS):
            part = slice(top, top + _ROWS)
            column, row = np.clip(source[part, :, 0], 0, width - 1), np.clip(source[part, :, 1], 0, height - 1)
            left, upper = np.minimum(column.astype(np.int32), max(width - 2, 0)), np.minimum(row.astype(np.int32), max(height - 2, 0))
            x, y = (column - left)[..., None], (row - upper)[..., None]
            at = upper * width + left
            right, down = min(1, width - 1), width * min(1, height - 1)
            first = flat[at] * (1 - x) + flat[at + right] * x
            second = flat[at + down] * (1 - x) + flat[at + down + right] * x
            out[part] = np.where(valid[part][..., None], first * (1 - y) + second * y + np.float32(0.5), 0)
        return out

    def _framed(self, picture: np.ndarray) -> np.ndarray:
        """At the target's scale and place: [h, w, channels] to [H, W, channels]."""
        goal = self._goal
        if self._areas is not None:
            rows, columns = self._areas
            height, width, channels = picture.shape
            lower = (rows @ picture.reshape(height, -1).astype(np.float32)).reshape(-1, width, channels)
            turned = np.ascontiguousarray(lower.swapaxes(0, 1)).reshape(width, -1)
            small = (columns @ turned).reshape(-1, goal.inner[0], channels).swapaxes(0, 1)
            picture = (small + np.float32(0.5)).astype(np.uint8)
        if goal.inner == goal.size:
            return np.ascontiguousarray(picture)
        out = np.zeros((*goal.size, picture.shape[2]), np.uint8)
        (top, left), (height, width) = goal.corner, goal.inner
        out[top : top + height, left : left + width] = picture
        return out


def _area(count: int, scale: float, side: int) -> sparse.csr_array:
    """Means over the `count` pixels of a side reduced by `scale`: [count, side], rows sum to 1; parts of pixels count as parts."""
    edges = np.minimum(np.arange(count + 1) / scale, side)
    first, last = np.floor(edges[:-1]).astype(int), np.minimum(np.ceil(edges[1:] - 1e-9).astype(int), side)
    lengths = last - first
    row = np.repeat(np.arange(count), lengths)
    column = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[row]
    overlap = np.minimum(column + 1, edges[1:][row]) - np.maximum(column, edges[:-1][row])
    weights = overlap / np.bincount(row, overlap, count)[row]
    return sparse.csr_array((weights.astype(np.float32), (row, column)), shape=(count, side))


def read_picture(path: pathlib.Path) -> np.ndarray:
    """A colour picture, u8 [h, w, 3].

    Raises:
      ValueError: it cannot be read; the message names it.
    """
    try:
        return images.decode(path.read_bytes())
    except (OSError, ValueError) as e:
        raise ValueError(f"{path}: {e}") from e


def read_mask(path: pathlib.Path) -> np.ndarray:
    """A mask, white where the person is, u8 [h, w]. Of a picture in colours, all of one grey, one channel is taken.

    Raises:
      ValueError: it cannot be read, or has colours; the message names it.
    """
    picture = read_picture(path)
    if (picture[..., :1] != picture).any():
        raise ValueError(f"{path}: a mask must be grey, white where the person is; this picture has colours.")
    return picture[..., 0]


def _srgb_to_linear() -> np.ndarray:
    """Table u8 [256]: light of 0-255 in proportion to sRGB's values."""
    value = np.arange(256) / 255
    return np.rint(255 * np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)).astype(np.uint8)


_LINEAR = _srgb_to_linear()
