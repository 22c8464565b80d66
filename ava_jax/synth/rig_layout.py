"""Writes a recording of a procedural head as somebody's own rig would have it, for trying `ava convert` without one.

  cameras.txt, images.txt   COLMAP's, of cameras whose lenses distort (OPENCV), in metres, in a world whose axes are no head's
  images/CAMERA/FRAME.png   as the lens sees; masks/CAMERA/FRAME.png: white where the head is, grey along its rim
  meshes/FRAME.obj          tracked meshes, metres, world; topology.obj: the same faces, a plain head in head axes, mm
  segments.csv              seg_id,frame_id

It is the first person of the captures that `ava synth` writes for the same request: what the conversion gives can be held against those.
The lens's formula is written out here, apart from the one that converts.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import tqdm
from scipy.spatial.transform import Rotation

from ava_jax.data import files, images, mesh_files, obj_files
from ava_jax.data.workers import Workers
from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.synth.heads import geometry, render
from ava_jax.synth.heads.geometry import Expression

# Of the first camera; others differ a little. Its corners move by some 6% of its height, the rim of a head by 2%.
_K1, _K2, _P1, _P2 = -1.6, 6.0, 0.02, -0.015
# A rig's world: z up and out of the floor, the head somewhere in the room. Metres.
_WORLD = Rotation.from_euler("xyz", [90.0, 11.0, 23.0], degrees=True).as_matrix()
_AT = np.array([0.7, -0.4, 1.35])
REQUEST = "rig.json"


class Lens(NamedTuple):
    """OpenCV's distortion of a camera at a picture's size: focal, principal f64 [2], pixels; k1, k2, p1, p2."""

    focal: np.ndarray
    principal: np.ndarray
    k1: float
    k2: float
    p1: float
    p2: float

    def bend(self, pixel: np.ndarray) -> np.ndarray:
        """Where the lens puts what a pinhole would have at `pixel`, f64 [V, 2]."""
        x, y = ((pixel - self.principal) / self.focal).T
        square = x * x + y * y
        radial = 1 + self.k1 * square + self.k2 * square**2
        bent_x = x * radial + 2 * self.p1 * x * y + self.p2 * (square + 2 * x * x)
        bent_y = y * radial + self.p1 * (square + 2 * y * y) + 2 * self.p2 * x * y
        return np.stack([bent_x, bent_y], axis=-1) * self.focal + self.principal


class _Frame(NamedTuple):
    request: Request
    number: int
    expression: Expression
    pose: np.ndarray
    folder: pathlib.Path


def write(folder: pathlib.Path, request: Request, *, jobs: int = 1, exist_ok: bool = False) -> bool:
    """Writes the recording into a new folder: whole, or not at all.

    Args:
      folder: to be made.
      request: of which the first person is recorded; `identities` must be 1.
      jobs: processes that render.
      exist_ok: whether a recording of the same request may be there already; it is left as it is.

    Returns:
      Whether anything was written.

    Raises:
      ValueError: the folder holds something else, or several people are asked for.
    """
    if request.identities != 1:
        raise ValueError(f"a rig records one person: --identities must be 1; got {request.identities}.")
    with files.new_folder(folder, REQUEST, json.dumps(request.record, indent=1), exist_ok=exist_ok) as partial:
        if partial is not None:
            _write_all(partial, request, jobs)
    return partial is not None


def lens(camera: render.Camera, at: int, height: int) -> Lens:
    """The lens of the rig's camera number `at` for pictures of so many rows."""
    scale, more = height / render.SENSOR[0], 1 + 0.1 * np.cos(at)
    return Lens(camera.focal * scale, camera.principal * scale, _K1 * more, _K2, _P1 * np.sin(at), _P2 * more)


def _write_all(root: pathlib.Path, request: Request, jobs: int) -> None:
    cameras = ava256_layout.cameras_of(request, 0)
    topology = geometry.topology()
    plain = geometry.shape(geometry.Identity(0, dict.fromkeys(geometry.SHAPE, 0.0), {}), Expression(), np.zeros(len(topology.uvs)))
    mesh_files.write_topology(root / "topology.obj", topology, plain)
    for camera in cameras:
        for kind in ("images", "masks"):
            (root / kind / camera.name).mkdir(parents=True)
    (root / "meshes").mkdir()
    numbers, script = ava256_layout.frame_numbers(request, 0), ava256_layout.script(request, 0)
    poses = ava256_layout.head_poses(request, 0)
    frames = [_Frame(request, n, expression, pose, root) for n, (_, expression), pose in zip(numbers, script, poses, strict=True)]
    with tqdm.tqdm(total=len(frames) * len(cameras), desc="rig", unit="image", dynamic_ncols=True) as progress:
        if jobs == 1:
            for count in map(_record, frames):
                progress.update(count)
        else:
            with Workers(jobs) as pool:
                for count in pool.map(_record, frames):
                    progress.update(count)
    _write_cameras(root, request, cameras, numbers)
    rows = [f"{segment},{n}" for (segment, _), n in zip(script, numbers, strict=True)]
    (root / "segments.csv").write_text("\n".join(["seg_id,frame_id", *rows]) + "\n")


def _record(frame: _Frame) -> int:
    """Writes a frame's pictures, masks and mesh; how many pictures."""
    request, root = frame.request, frame.folder
    cameras = ava256_layout.cameras_of(request, 0)
    head = render.face(ava256_layout.identity(request, 0), frame.expression, request.texture_size)
    for at, camera in enumerate(cameras):
        image, _, mask = render.picture_and_mask(head, camera, frame.pose, request.height, lens(camera, at, request.height).bend)
        (root / "images" / camera.name / f"{frame.number:06d}.png").write_bytes(images.encode(image, "png", compress_level=1))
        (root / "masks" / camera.name / f"{frame.number:06d}.png").write_bytes(images.encode(mask, "png", compress_level=1))
    world = (head.vertices @ frame.pose[:, :3].T + frame.pose[:, 3]) / 1000
    obj_files.write(root / "meshes" / f"{frame.number:06d}.obj", world @ _WORLD.T + _AT, geometry.topology().faces, decimals=7)
    return len(cameras)


def _write_cameras(root: pathlib.Path, request: Request, cameras: list[render.Camera], numbers: list[int]) -> None:
    """COLMAP's text: principal points from the corner of the first pixel, rotations as quaternions, scalar first."""
    width = render.SENSOR[1] * request.height // render.SENSOR[0]
    rows, lines = ["# camera, model, width, height, fx fy cx cy k1 k2 p1 p2"], []
    for at, camera in enumerate(cameras):
        bent = lens(camera, at, request.height)
        values = [*bent.focal, *(bent.principal + 0.5), bent.k1, bent.k2, bent.p1, bent.p2]
        rows.append(f"{at + 1} OPENCV {width} {request.height} " + " ".join(f"{value:.12g}" for value in values))
        rotation = camera.rotation @ _WORLD.T
        translation = -rotation @ (_WORLD @ camera.position / 1000 + _AT)
        x, y, z, w = Rotation.from_matrix(rotation).as_quat()
        pose = " ".join(f"{value:.15g}" for value in (w, x, y, z, *translation))
        for number in numbers:
            lines += [f"{len(lines) // 2 + 1} {pose} {at + 1} {camera.name}/{number:06d}.png", ""]  # no points: an empty second line
    (root / "cameras.txt").write_text("\n".join(rows) + "\n")
    (root / "images.txt").write_text("\n".join(lines) + "\n")
