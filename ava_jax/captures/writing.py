"""Writes the files of a capture, each whole or not at all; `ava256` and `reading` read them.

Members are asked for one by one, so that a capture need not fit the memory.
"""

import io
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.ava256 import Capture
from ava_jax.data import archive, files, images, mesh_files

AVIF = {"quality": 85, "speed": 9}  # a slower encoder would take longer than all else


class Pinhole(NamedTuple):
    """A camera as a capture has it.

    Attributes:
      name: a number.
      focal, principal: f64 [2], pixels of the sensor.
      rotation: f64 [3, 3], world to camera; translation: f64 [3], mm.
    """

    name: str
    focal: np.ndarray
    principal: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def calibration(decoder: pathlib.Path, cameras: Sequence[Pinhole], sensor: tuple[int, int] | None = None) -> None:
    """Writes `camera_calibration.json`.

    Args:
      decoder: the capture's folder.
      cameras: of the capture.
      sensor: height and width, pixels, that the cameras' numbers refer to; None: the published captures', which is not written.
    """
    entries = []
    for camera in cameras:
        (fx, fy), (cx, cy) = (np.asarray(pair, np.float64).tolist() for pair in (camera.focal, camera.principal))
        rigid = np.eye(4)
        rigid[:3, :3], rigid[:3, 3] = camera.rotation, camera.translation
        entry = {"cameraId": camera.name, "projectionModel": "Pinhole", "distortionModel": "RadialAndTangential"}
        entry |= {"K": [[fx, 0.0, 0.0], [0.0, fy, 0.0], [cx, cy, 1.0]], "distortion": [0.0] * 4, "T": rigid.T.tolist()}  # both transposed
        entries.append(entry | ({} if sensor is None else {"height": sensor[0], "width": sensor[1]}))
    decoder.mkdir(parents=True, exist_ok=True)
    files.replace(decoder / "camera_calibration.json", json.dumps({"KRT": entries}, indent=1) + "\n")


def frame_list(decoder: pathlib.Path, rows: Iterable[tuple[str, int]]) -> None:
    """Writes `frame_list.csv`, of (segment, frame) in order."""
    decoder.mkdir(parents=True, exist_ok=True)
    lines = [f"{segment},{number}" for segment, number in rows]
    files.replace(decoder / "frame_list.csv", "\n".join(["seg_id,frame_id", *lines]) + "\n")


def poses(decoder: pathlib.Path, found: Iterable[tuple[int, np.ndarray]]) -> None:
    """Writes head poses, (frame, head to world f64 [3, 4], mm)."""
    lines = ((n, "\n".join(" ".join(f"{x:.9e}" for x in row) for row in pose) + "\n") for n, pose in found)
    archive.write(_of(decoder).head_pose, ((f"{n:06d}.txt", text.encode()) for n, text in lines))


def pictures(decoder: pathlib.Path, camera: str, found: Iterable[tuple[int, bytes]], suffix: str = "avif") -> None:
    """Writes a camera's images, (frame, file)."""
    archive.write(_of(decoder).image(camera), ((f"cam{camera}/{n:06d}.{suffix}", data) for n, data in found))


def segmentations(decoder: pathlib.Path, camera: str, found: Iterable[tuple[int, bytes]]) -> None:
    """Writes a camera's pictures of class numbers, (frame, PNG)."""
    archive.write(_of(decoder).segmentation(camera), ((f"cam{camera}/{n:06d}.png", data) for n, data in found))


def vertices(decoder: pathlib.Path, found: Iterable[tuple[int, np.ndarray]]) -> None:
    """Writes meshes, (frame, f32 [V, 3], head space, mm), their mean and variance."""
    path, kept = _of(decoder).vertices, []

    def members() -> Iterable[tuple[str, bytes]]:
        for n, mesh in found:
            kept.append(mesh)
            yield f"{n:06d}.ply", mesh_files.write_vertices(mesh)

    archive.write(path, members())
    every = np.stack(kept).astype(np.float64)
    path.with_name("registration_vertices_mean.npy").write_bytes(npy(every.mean(0).astype(np.float32)))
    path.with_name("registration_vertices_variance.txt").write_text(f"{every.var(0).mean():.6f}\n")


def textures(decoder: pathlib.Path, found: Iterable[tuple[int, bytes, np.ndarray]]) -> None:
    """Writes textures, (frame, AVIF, u8 [T, T, 3] that it was made of), their mean and variance.

    The variance is the mean over texels and channels of that over frames.
    """
    path, total, squares, count = _of(decoder).texture, np.zeros((), np.int64), np.zeros((), np.int64), 0

    def members() -> Iterable[tuple[str, bytes]]:
        nonlocal total, squares, count
        for n, data, texture in found:
            texture = texture.astype(np.int64)
            total, squares, count = total + texture, squares + texture**2, count + 1
            yield f"color/{n:06d}.avif", data

    archive.write(path, members())
    mean = total / count
    path.with_name("color_mean.png").write_bytes(images.encode(np.rint(mean).astype(np.uint8), "png"))
    path.with_name("color_variance.txt").write_text(f"{(squares / count - mean**2).mean():.6f}\n")


def keypoints(decoder: pathlib.Path, found: Iterable[tuple[int, np.ndarray]]) -> None:
    """Writes keypoints, (frame, f32 [K, 6]: index, x, y, z in the world, mm, sum of confidences, inliers)."""
    archive.write(decoder / "keypoints_3d" / "keypoints_3d.zip", ((f"{n:06d}.npy", npy(array)) for n, array in found))


def npy(array: np.ndarray) -> bytes:
    """A .npy file of an array of any shape, C-ordered."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array))
    return buffer.getvalue()


def _of(decoder: pathlib.Path) -> Capture:
    """Knows the files' paths; a capture that is being written has no numbers yet."""
    none = np.zeros(0)
    return Capture(decoder.parent.name, decoder, (), none, none, none, none, none, none)
