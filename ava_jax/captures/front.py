"""The camera in front of a face: found from calibration and a head pose, without decoding an image."""

from collections.abc import Sequence

import numpy as np

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.core import cameras as geometry
from ava_jax.data.archive import Archives


def front_camera(archives: Archives, capture: Capture, cameras: Sequence[str], *, threads: int = 8) -> str:
    """Of `cameras`, ids of the capture's, the one most in front of the face that has any image of a complete frame.

    Cameras stand still and the head hardly moves: one head pose says where they all are, that of the first frame which has a readable
    pose and an image.

    Args:
      threads: that read zips' directories.

    Raises:
      ValueError: no frame with an image has a head pose that can be read; or as `reading.availability`.
    """
    used = [capture.cameras.index(camera) for camera in cameras]
    available = reading.availability(archives, capture, used, segmentation=False, threads=threads)
    pose = _first_pose(archives, capture, np.flatnonzero(available.any(0)))
    _, positions = geometry.head_to_camera(capture.rotation[used], capture.translation[used], pose)
    frontality = np.where(available.any(1), geometry.frontality(positions), -np.inf)
    return cameras[int(np.argmax(frontality))]


def _first_pose(archives: Archives, capture: Capture, frames: np.ndarray) -> np.ndarray:
    """The first head pose [3, 4] that can be read, of frames given by index."""
    for frame in capture.frames[frames].tolist():
        try:
            return reading.head_pose(archives, capture, frame)
        except reading.Unreadable:
            continue
    raise ValueError(f"{capture.decoder}: no camera has an image of a frame whose head pose can be read.")
