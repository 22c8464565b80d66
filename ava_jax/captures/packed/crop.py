"""Crops to the head: for each camera, where the meshes of all frames fall in its images; of the whole set, one size that holds them.

A crop keeps calibrations true: its corner is taken off the principal points, and the sensor is the crop's.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from ava_jax.captures import ava256, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.packed import index
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.data import files, images, mesh_files

MULTIPLE = 8  # of stored pixels, so that halves, quarters and eighths of a crop are whole
_FILE = "boxes.json"
_FEWEST_MM = 1.0  # in front of a camera; a vertex nearer than that is nowhere in its image


def measure(folder: pathlib.Path, source: pathlib.Path) -> None:
    """Writes the boxes of a capture, `source`, into the folder that it is packed to; where they are there, nothing.

    Raises:
      ValueError: as `boxes`.
    """
    path = folder / index.PACKING / _FILE
    if not path.is_file():
        capture = ava256.load(source)
        found = boxes(RecordArchives(), capture)
        files.replace(path, json.dumps(dict(zip(capture.cameras, found.tolist(), strict=True))))


def measured(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """What `measure` wrote: by camera, f64 [4], left, top, right, bottom, pixels of the sensor."""
    return {camera: np.array(box) for camera, box in json.loads((folder / index.PACKING / _FILE).read_text()).items()}


def boxes(archives: RecordArchives, capture: Capture) -> np.ndarray:
    """Where the meshes of all frames fall in each camera's images, as far as they are inside.

    Returns:
      f64 [C, 4]: left, top, right, bottom, pixels of the sensor.

    Raises:
      ValueError: no frame has both a mesh and a head pose that can be read, or a camera sees nothing of any.
    """
    low, high = np.full((len(capture.cameras), 2), np.inf), np.full((len(capture.cameras), 2), -np.inf)
    there = reading.members(archives, capture, [capture.head_pose, capture.vertices], threads=1).all(0)
    for frame in np.unique(capture.frames[there]).tolist():
        try:
            pose = reading.head_pose(archives, capture, frame)
            vertices = reading.decoded(archives, capture.vertices, frame, mesh_files.read_vertices).astype(np.float64)
        except reading.Unreadable:
            continue  # training passes over it too
        if not np.isfinite(vertices).all():
            continue
        points = _hull(vertices) @ pose[:, :3].T + pose[:, 3]
        local = np.einsum("cij,vj->cvi", capture.rotation, points) + capture.translation[:, None]
        before = local[..., 2] > _FEWEST_MM
        depth = np.where(before, local[..., 2], 1.0)[..., None]
        pixel = local[..., :2] / depth * capture.focal[:, None] + capture.principal[:, None]
        low = np.minimum(low, np.where(before[..., None], pixel, np.inf).min(1))
        high = np.maximum(high, np.where(before[..., None], pixel, -np.inf).max(1))
    if not np.isfinite(low).any():
        raise ValueError(f"{capture.decoder}: no frame has a mesh and a head pose that can be read: there is no head to crop to.")
    last = np.array(capture.sensor[::-1]) - 1.0
    low, high = np.clip(low, 0.0, last), np.clip(high, 0.0, last)
    if (empty := ~(low < high).all(1)).any():
        camera = capture.cameras[int(np.flatnonzero(empty)[0])]
        raise ValueError(f"{capture.calibration}: camera {camera} sees no mesh of any frame to crop to; leave it out of the file.")
    return np.concatenate([low, high], 1)


def stored_scale(archives: RecordArchives, capture: Capture) -> int:
    """The downsample that a capture's images are stored at, looked up in the first that can be decoded.

    Raises:
      ValueError: there is none, or they are not the sensor over a whole number.
    """
    fault = "it has none"
    for camera in capture.cameras:
        path = capture.image(camera)
        there = reading.members(archives, capture, [path], threads=1)[0]
        for frame in capture.frames[there][:3].tolist():
            try:
                height, width = reading.decoded(archives, path, frame, images.decode).shape[:2]
            except reading.Unreadable as e:
                fault = str(e)
                continue
            scale = capture.sensor[0] // height
            if scale and capture.image_size(scale) == (height, width):
                return scale
            raise ValueError(
                f"{path}, frame {frame}: is of {height} x {width} pixels, not {capture.sensor[0]} x {capture.sensor[1]} over a whole "
                "number; give --downsample, which resizes."
            )
    raise ValueError(f"{capture.decoder}: no image can be read ({fault}).")


def decide(found: Mapping[str, Mapping[str, np.ndarray]], scale: int, size: tuple[int, int], margin: float) -> tuple[int, int]:
    """The size that holds every box with its margin, as far as there is image: (height, width), pixels of stored images.

    Args:
      found: by capture and camera, f64 [4], as `boxes`.
      scale: pixels of the sensor per stored pixel.
      size: (height, width) of the stored images.
      margin: around a box, a fraction of its sides.
    """
    sides = np.array([_padded(box, scale, size, margin) for cameras in found.values() for box in cameras.values()])
    width, height = np.max(sides[:, 2:] - sides[:, :2], axis=0).tolist()
    return min(-(-height // MULTIPLE) * MULTIPLE, size[0]), min(-(-width // MULTIPLE) * MULTIPLE, size[1])


def corners(
    found: Mapping[str, np.ndarray], cameras: Sequence[str], scale: int, size: tuple[int, int], crop: tuple[int, int], margin: float
) -> dict[str, tuple[int, int]]:
    """Where each camera's crop begins, so that its box is in the middle as far as there is image: (left, top), stored pixels.

    Args:
      found: by camera, f64 [4], as `boxes`.
      cameras: ids.
      scale, size, margin: as of `decide`.
      crop: (height, width), stored pixels.

    Raises:
      ValueError: a box with its margin does not fit; the message is a part of a line.
    """
    result = {}
    for camera in cameras:
        box = _padded(found[camera], scale, size, margin)
        needed = box[2:] - box[:2]
        if (needed > crop[::-1]).any():
            raise ValueError(f"camera {camera} needs a crop of {needed[1]} x {needed[0]}")
        left, top = np.clip((box[:2] + box[2:] - crop[::-1]) // 2, 0, np.array(size[::-1]) - crop[::-1]).tolist()
        result[camera] = (left, top)
    return result


def _padded(box: np.ndarray, scale: int, size: tuple[int, int], margin: float) -> np.ndarray:
    """A box [4] with its margin, as far as there is image, int [4]: stored pixels, the last ones excluded."""
    low, high = np.floor(box[:2] / scale), np.ceil(box[2:] / scale) + 1
    pad = margin * (high - low)
    edges = np.array(size[::-1])
    return np.concatenate([np.clip(np.floor(low - pad), 0, edges), np.clip(np.ceil(high + pad), 0, edges)]).astype(int)


def _hull(vertices: np.ndarray) -> np.ndarray:
    """The corners of the convex hull of [V, 3]: a projection's extremes are among them, and they are a tenth as many."""
    try:
        return vertices[ConvexHull(vertices).vertices]
    except (QhullError, ValueError):  # flat, or too few
        return vertices
