"""What a rig's numbers are held to: poses that agree over frames, rotations that do not mirror, and lengths that can be a head's.

`reprojection` looks at where points fall in pictures.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.rigs.types import Rig, RigCamera
from ava_jax.core.cameras import rotation_fault
from ava_jax.core.types import Array

MOST_DEGREES = 0.2  # by which poses of one camera may differ over frames: a rig's adjustment, image by image
MOST_MOVED = 0.005  # likewise of centres, of the rig's extent
EYES_MM = (80.0, 105.0)  # between the outer corners of the eyes
HEAD_MM = (200.0, 280.0)  # of a head's height
DISTANCE_MM = (300.0, 3000.0)  # of cameras from the head
_FACTORS = (1000.0, 100.0, 10.0, 25.4, 304.8, 0.1, 0.01, 0.001)  # metres, cm, dm, inches, feet; what was multiplied once too often


def extent(poses: np.ndarray) -> float:
    """Of a rig: the median distance of its cameras' centres to their mean; `poses` f64 [C, 4, 4], world to camera."""
    centres = _centres(poses)
    return float(np.median(np.linalg.norm(centres - centres.mean(0), axis=-1)))


def spread(poses: np.ndarray) -> tuple[float, float, int]:
    """How far poses f64 [F, 4, 4] of one camera differ from the first: degrees, distance of centres, and the frame's index of the most."""
    turns = np.einsum("fij,kj->fik", poses[:, :3, :3], poses[0, :3, :3])
    # Of the antisymmetric part for small angles, where the trace's cosine is blind.
    sine = np.linalg.norm([turns[:, 2, 1] - turns[:, 1, 2], turns[:, 0, 2] - turns[:, 2, 0], turns[:, 1, 0] - turns[:, 0, 1]], axis=0)
    angles = np.degrees(np.arctan2(sine, np.trace(turns, axis1=1, axis2=2) - 1))
    centres = _centres(poses)
    moved = np.linalg.norm(centres - centres[0], axis=-1)
    worst = int(np.argmax(angles / MOST_DEGREES + moved / max(moved.max(), 1e-300)))
    return float(angles.max()), float(moved.max()), worst


def _centres(poses: np.ndarray) -> np.ndarray:
    return -np.einsum("cji,cj->ci", poses[:, :3, :3], poses[:, :3, 3])


def rotation_faults(cameras: Sequence[RigCamera]) -> list[str]:
    """Cameras whose rotation is none, a line each; [] where all are sound."""
    faults = ((camera.name, rotation_fault(camera.world_to_camera[:3, :3])) for camera in cameras)
    return [f"camera {name!r}: its rotation is none: {fault}" for name, fault in faults if fault]


class Similarity(NamedTuple):
    """target = scale rotation source + translation.

    Attributes:
      scale: a factor.
      rotation: f64 [3, 3], determinant +1; translation: f64 [3].
      error: root of the mean squared distance that is left, in the target's unit.
      mirrored: whether a mirrored source would fit better.
    """

    scale: float
    rotation: np.ndarray
    translation: np.ndarray
    error: float
    mirrored: bool


def similarity(source: Array, target: Array) -> Similarity:
    """The similarity that carries points onto others, by least squares (Umeyama).

    Args:
      source: [P, 3].
      target: [P, 3], the same points elsewhere.

    Raises:
      ValueError: there are fewer than 3 points, or they lie on a line or in one spot, or shapes differ.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3 or len(source) < 3:
        raise ValueError(f"rigs.checks.similarity: both must be [P, 3] with P of 3 at least; got {source.shape} and {target.shape}.")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError("rigs.checks.similarity: points must be finite.")
    from_, to = source - source.mean(0), target - target.mean(0)
    u, s, v = np.linalg.svd(to.T @ from_)
    if s[1] <= 1e-9 * max(s[0], 1e-300):
        raise ValueError("rigs.checks.similarity: points must not be all on one line.")
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))
    signs = np.array([1.0, 1.0, sign])
    rotation = (u * signs) @ v
    scale = float((s * signs).sum() / (from_**2).sum())
    translation = target.mean(0) - scale * rotation @ source.mean(0)
    left = to - scale * from_ @ rotation.T
    # Points in a plane fit either way: their third singular value is 0.
    return Similarity(scale, rotation, translation, float(np.sqrt((left**2).sum(1).mean())), bool(sign < 0 and s[2] > 1e-6 * s[0]))


def mm_of_distance(rig: Rig, first: str, second: str, mm: float) -> float:
    """Millimetres per unit of a rig, of the distance between two of its cameras' centres.

    Raises:
      ValueError: a camera is not there, both are one, or the distance is not positive.
    """
    names = [camera.name for camera in rig.cameras]
    for name in (first, second):
        if name not in names:
            raise ValueError(f"rigs.checks.mm_of_distance: camera {name!r} is not in the rig, which has {', '.join(names[:8])}.")
    centres = _centres(np.stack([camera.world_to_camera for camera in rig.cameras if camera.name in (first, second)]))
    distance = float(np.linalg.norm(centres[0] - centres[-1]))
    if not (distance > 0 and mm > 0):
        raise ValueError(
            f"rigs.checks.mm_of_distance: cameras must be apart, by millimetres above 0; got {distance:g} units and {mm:g} mm."
        )
    return mm / distance


def mm_of_points(points: Array, points_mm: Array) -> float:
    """Millimetres per unit of points [P, 3], of the same points in mm, [P, 3].

    Raises:
      ValueError: as `similarity`, or one is the mirror image of the other.
    """
    found = similarity(points, points_mm)
    if found.mirrored:
        raise ValueError("rigs.checks.mm_of_points: the points in mm are a mirror image of the others: a mesh or the world is mirrored.")
    return found.scale


def cameras_in_mm(rig: Rig, mm_per_unit: float | None = None) -> tuple[RigCamera, ...]:
    """A rig's cameras with translations in mm.

    Args:
      rig: whose `mm_per_unit` is taken where no other is given.
      mm_per_unit: a factor that is given, measured (`mm_of_distance`) or fitted (`mm_of_points`).

    Raises:
      ValueError: neither is known.
    """
    factor = rig.mm_per_unit if mm_per_unit is None else mm_per_unit
    if factor is None or not 0 < factor < np.inf:
        raise ValueError("rigs.checks.cameras_in_mm: the rig's unit must be known: give a scale, or the distance of two cameras in mm.")
    scale = np.diag([factor, factor, factor, 1.0])
    moved = []
    for camera in rig.cameras:
        pose = camera.world_to_camera.copy()
        pose[:3, 3] = scale[:3, :3] @ pose[:3, 3]
        moved.append(dataclasses.replace(camera, world_to_camera=pose))
    return tuple(moved)


def require_plausible(cameras: Sequence[RigCamera], head: Array, *, eyes: Array | None = None, up: Array | None = None) -> None:
    """Holds lengths in mm against those of people and of studios.

    Args:
      cameras: in mm.
      head: [V, 3], its mesh in the world, mm, without shoulders.
      eyes: [2, 3], outer corners of the eyes, mm; None is not looked at.
      up: [3], the head's own up in the world; None: the height is not looked at.

    Raises:
      ValueError: a length is not a head's or a studio's; the message has the measures and the factor that would fit.
    """
    head = np.asarray(head, np.float64)
    centre = np.median(head, axis=0)
    distances = np.linalg.norm(_centres(np.stack([camera.world_to_camera for camera in cameras])) - centre, axis=-1)
    measured = [("cameras' distance from the head", float(np.median(distances)), DISTANCE_MM)]
    if eyes is not None:
        corners = np.asarray(eyes, np.float64)
        measured.insert(0, ("outer corners of the eyes apart", float(np.linalg.norm(corners[0] - corners[1])), EYES_MM))
    if up is not None:
        along = head @ (np.asarray(up, np.float64) / np.linalg.norm(up))
        measured.insert(0, ("head's height", float(np.ptp(along)), HEAD_MM))
    wrong = [f"{what} {value:.4g} mm, not {low:g} to {high:g}" for what, value, (low, high) in measured if not low <= value <= high]
    if wrong:
        raise ValueError(f"rigs: lengths must be a head's in mm; {'; '.join(wrong)}: {_advice(measured)}.")


def _advice(measured: Sequence[tuple[str, float, tuple[float, float]]]) -> str:
    """The factor that makes all measures fit, in words."""
    for factor in _FACTORS:
        if all(low <= factor * value <= high for _, value, (low, high) in measured):
            return f"a scale of {factor:g} times the present one would fit"
    lows = max(low / max(value, 1e-300) for _, value, (low, _) in measured)
    highs = min(high / max(value, 1e-300) for _, value, (_, high) in measured)
    if lows <= highs:
        return f"a scale of {np.sqrt(lows * highs):.4g} times the present one would fit"
    return "no one scale fits all: the mesh and the cameras are in different units, or not of one head"
