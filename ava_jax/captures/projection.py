"""Calibrations held against the data: a mesh projected into each camera, and what would have to be wrong where it falls outside.

What a calibration means cannot be told from its numbers: a rotation that is not transposed is a rotation too. But a face that the cameras
photograph falls inside their images. One mesh per capture and a product of matrices per camera, a fraction of a millisecond, tell.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.data.archive import Archives

SOUND = 0.5  # of a mesh inside an image: fewer is told; sound captures have all of it, close-ups a part
LEAST = 0.01  # fewer is refused
_CONVINCING = 0.9  # of a mesh, on average over the cameras: so much inside under another reading of the numbers says that it is meant
_SMALLEST = 0.03  # of the image's height that a mesh spans under a reading that is convincing
_MESH_MM = (50.0, 2000.0)  # sides of a head's bounding box
_CENTRAL = (0.25, 0.75)  # of the image, where a principal point lies
_MOST_TRIED = 20  # frames whose mesh or pose cannot be read
_OPENGL = np.diag([1.0, -1.0, -1.0])
_POINTS = 1000  # of a mesh that are looked at
_ALL = slice(None)
_CAMERAS = 16  # at a time: arrays of 128 KB, which come from memory in use; those of 80 cameras take ten times as long
_NAMED = 5  # cameras in one message


class Reference(NamedTuple):
    """A frame's mesh. `frame`: its id; `points`: f64 [V, 3], world, mm; `pose`: head to world, f64 [3, 4], mm."""

    frame: int
    points: np.ndarray
    pose: np.ndarray


def reference(archives: Archives, capture: Capture, *, threads: int = 8) -> Reference:
    """A capture's neutral mesh in the world; where that cannot be read, the next frame's of the list that can.

    Raises:
      ValueError: there is none, a zip is missing or not whole, or the mesh is not one of a head in millimetres.
    """
    there = reading.members(archives, capture, [capture.head_pose, capture.vertices], threads).all(0)
    frames = np.flatnonzero(there)
    frames = frames[np.argsort(capture.segments[frames] != capture.neutral_segment, kind="stable")]
    last: Exception | None = None
    for frame in capture.frames[frames[:_MOST_TRIED]].tolist():
        try:
            pose = reading.head_pose(archives, capture, frame)
            vertices = reading.decoded(archives, capture.vertices, frame, capture.parse_vertices).astype(np.float64)
        except reading.Unreadable as e:
            last = e
            continue
        side = float(np.ptp(vertices, axis=0).max()) if len(vertices) else 0.0
        if not _MESH_MM[0] <= side <= _MESH_MM[1]:
            raise ValueError(f"{capture.vertices}, frame {frame}: the mesh of a head must be in mm; this one is {side:.4g} long.")
        return Reference(frame, vertices @ pose[:, :3].T + pose[:, 3], pose)
    raise ValueError(f"{capture.decoder}: no frame has both a mesh and a head pose that can be read{f' ({last})' if last else ''}.")


def inside(
    points: np.ndarray, capture: Capture, rotation: np.ndarray, translation: np.ndarray, cameras: np.ndarray | slice = _ALL
) -> tuple[np.ndarray, np.ndarray]:
    """How much of a mesh falls into each camera's image.

    Args:
      points: f64 [V, 3], world, mm.
      capture: of which focal lengths, principal points and sensor are taken.
      rotation: f64 [C, 3, 3], world to camera; translation: f64 [C, 3], mm.
      cameras: int [C], which of the capture's these are; all of them by default.

    Returns:
      Fraction of the vertices inside, f64 [C]; how much of the image's height those inside span, f64 [C].
    """
    focal, principal = capture.focal[cameras], capture.principal[cameras]
    blocks = [slice(i, i + _CAMERAS) for i in range(0, max(len(rotation), 1), _CAMERAS)]
    found = [_inside(points, capture.sensor, rotation[at], translation[at], focal[at], principal[at]) for at in blocks]
    seen, span = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return seen, span


def _inside(
    points: np.ndarray, sensor: tuple[int, int], rotation: np.ndarray, translation: np.ndarray, focal: np.ndarray, principal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """As `inside`, of a few cameras; focal, principal: f64 [C, 2]."""
    height, width = sensor
    # Coordinate by coordinate, [C, V] each, by one product of matrices.
    x, y, z = np.moveaxis((rotation.reshape(-1, 3) @ points.T).reshape(len(rotation), 3, -1) + translation[..., None], 1, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        column, row = x / z * focal[:, :1] + principal[:, :1], y / z * focal[:, 1:] + principal[:, 1:]
    seen = (z > 0) & (np.abs(column - (width - 1) / 2) <= width / 2) & (np.abs(row - (height - 1) / 2) <= height / 2)
    span = np.where(seen, row, -np.inf).max(-1) - np.where(seen, row, np.inf).min(-1)
    return seen.mean(-1), np.where(seen.any(-1), span, 0.0) / height


def fractions(found: Reference, capture: Capture) -> np.ndarray:
    """How much of a mesh falls into each camera's image as the calibration has them, f64 [C]."""
    return inside(found.points, capture, capture.rotation, capture.translation)[0]


def require(archives: Archives, captures: Sequence[Capture], *, undistorted: bool = True, threads: int = 8) -> list[str]:
    """Holds the captures' calibrations against their meshes.

    Args:
      archives: the captures' zips.
      captures: all cameras of each.
      undistorted: images are, whatever calibrations say of distortion, which is told; False: a distortion is refused.
      threads: that read zips' directories.

    Returns:
      What is doubtful, a line each, to be told.

    Raises:
      ValueError: a camera sees next to nothing of the face, or little where another reading of the calibration's numbers shows it whole;
        or a calibration gives a distortion and it is to be refused. The message names file, cameras and the reading that fits.
    """
    doubts = []
    distorted = [capture for capture in captures if capture.distorted]
    if distorted and undistorted:
        more = f" and {len(distorted) - 1} captures more" if len(distorted) > 1 else ""
        doubts.append(
            f"{distorted[0].calibration}: {_cameras(distorted[0].distorted)} with a distortion{more}: images are taken as undistorted, as "
            "published ones are. Are they? --config.data.undistorted=False refuses such calibrations."
        )
    for capture in captures:
        if capture.distorted and not undistorted:
            raise ValueError(
                f"{capture.calibration}: {_cameras(capture.distorted)} with a distortion, which is not modelled: undistort the images and "
                "write zeros; or, where they are undistorted already, as published ones are, say so: --config.data.undistorted=True."
            )
        doubts += doubts_of(reference(archives, capture, threads=threads), capture)
    return doubts


def doubts_of(found: Reference, capture: Capture) -> list[str]:
    """What is doubtful of one capture, whose mesh is found; raises ValueError as `require`."""
    doubts = []
    found = found._replace(points=found.points[:: max(1, len(found.points) // _POINTS)])
    seen = fractions(found, capture)
    few = np.flatnonzero(seen < SOUND)
    if len(few):
        which = int(few[np.argmin(seen[few])])
        others = f" ({len(few)} of {len(capture.cameras)} cameras are below {SOUND:.0%})" if len(few) > 1 else ""
        where = f"{capture.calibration}: camera {capture.cameras[which]}: {seen[which]:.0%} of the face falls inside its images{others}"
        # Some cameras that see a part may be close-ups; a convention is of most of them or all.
        mostly = seen[which] < LEAST or 2 * len(few) > len(seen)
        meant = other_reading(found, capture, few if seen[which] < LEAST else np.arange(len(seen))) if mostly else ""
        if meant or seen[which] < LEAST:
            why = f"it would with {meant}" if meant else "K or T transposed, or not in mm"
            raise ValueError(f"{where}; {why}? ava train --check draws it; config.data.cameras leaves cameras out.")
        doubts.append(f"{where}: is that so? ava train --check draws it.")
    middle = np.median(capture.principal / [capture.sensor[1], capture.sensor[0]], axis=0)
    if not capture.cropped and not ((middle > _CENTRAL[0]) & (middle < _CENTRAL[1])).all():
        x, y = np.median(capture.principal, axis=0)
        doubts.append(
            f"{capture.calibration}: principal points lie around ({x:.0f}, {y:.0f}), far from the middle of images of "
            f"{capture.sensor[1]} x {capture.sensor[0]}: is K for images of another size?"
        )
    return doubts


def other_reading(found: Reference, capture: Capture, chosen: np.ndarray) -> str:
    """Another reading of a calibration's numbers under which the face falls into the images; "" where none convinces.

    Args:
      found: a frame's mesh.
      capture: whose calibration.
      chosen: int [C'], indices of the cameras that must show it.
    """
    best, text = 0.0, ""
    for name, points, rotation, translation in readings(found, capture):
        seen, span = inside(points, capture, rotation, translation)
        score = float((seen * (span > _SMALLEST))[chosen].mean())
        if score >= _CONVINCING and score > best + 0.02:  # the plainer readings come first
            best, text = score, name
    return text


def readings(found: Reference, capture: Capture) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """What else rotation and translation of T could be meant as: words, points [V, 3], rotation [C, 3, 3], translation [C, 3].

    Plain ones come first.
    """
    turned = np.swapaxes(capture.rotation, -1, -2)
    t = capture.translation
    kinds = (
        ("", capture.rotation, t),
        ("rotation transposed", turned, t),
        ("camera to world inverted", turned, -np.einsum("cij,cj->ci", turned, t)),
        ("translation taken as the camera's position", capture.rotation, -np.einsum("cij,cj->ci", capture.rotation, t)),
    )
    units = (("", 1.0), ("metres to mm", 1000.0), ("centimetres to mm", 10.0))
    axes = (("", np.eye(3)), ("y up and z backwards (OpenGL) to y down and z forward", _OPENGL))
    choices = [(kind, unit, axis) for kind in kinds for unit in units for axis in axes]
    for kind, unit, axis in sorted(choices, key=lambda choice: sum(bool(part[0]) for part in choice)):
        words = [part[0] for part in (kind, unit, axis) if part[0]]
        if words:
            yield f"T changed so: {', '.join(words)}", found.points, axis[1] @ kind[1], unit[1] * kind[2] @ axis[1].T
    head, shift = found.pose[:, :3], found.pose[:, 3]
    vertices = (found.points - shift) @ head
    yield "head poses inverted", (vertices - shift) @ head, capture.rotation, t


def _cameras(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names)} camera{'' if len(names) == 1 else 's'} ({', '.join(names[:_NAMED])}{more})"
