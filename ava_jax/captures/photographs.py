"""One camera's picture of a frame, at the size of a panel, and where points of the world fall in it."""

import numpy as np

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.core import zbuffer
from ava_jax.core.types import Array, Cameras
from ava_jax.data import images
from ava_jax.data.archive import Archives


def size(capture: Capture, height: int) -> tuple[int, int]:
    """(height, width) that pictures are read at to be shown `height` pixels high: the sensor over a whole number, no smaller than shown."""
    return capture.image_size(max(1, capture.sensor[0] // height))


def photograph(archives: Archives, capture: Capture, camera: int, frame: int, height: int) -> np.ndarray:
    """A camera's image of a frame, u8 [H, W, 3], of `size`.

    Args:
      camera: index in the capture's cameras.
      frame: id.

    Raises:
      Unreadable: it is missing or cannot be decoded; the message names it.
    """
    of = size(capture, height)
    path = capture.image(capture.cameras[camera])
    return reading.decoded(archives, path, frame, lambda data: images.decode(data, of, whole=capture.sensor))


def labels(archives: Archives, capture: Capture, camera: int, frame: int, height: int) -> np.ndarray:
    """Class numbers of a camera's image of a frame, u8 [H, W]; as `photograph`, with which it is aligned."""
    of = size(capture, height)
    path = capture.segmentation(capture.cameras[camera])
    return reading.decoded(archives, path, frame, lambda data: images.decode_labels(data, of, whole=capture.sensor))


def project(points: Array, capture: Capture, camera: int, height: int) -> np.ndarray:
    """Points [P, 3], world, mm, in a camera's picture of `height` pixels: column and row in its pixels, and depth, f64 [P, 3].

    Works for matrices that are no rotations, as wrong calibrations have them.
    """
    rotation, translation = capture.rotation[camera], capture.translation[camera]
    scale = height / capture.sensor[0]
    # The position of a matrix that is no rotation is not -R^T t: what lands on the same pixels is.
    position = -np.linalg.pinv(rotation) @ translation
    return zbuffer.project(points, Cameras(rotation, position, capture.focal[camera] * scale, capture.principal[camera] * scale))
