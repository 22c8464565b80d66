"""Cameras seen from the head: calibration (world) and head pose to head space."""

import numpy as np

from ava_jax.core.types import Array

_ROTATION_TOLERANCE = 1e-3  # calibrations are written with 6 digits or more


def head_to_camera(rotation: Array, translation: Array, head_pose: Array) -> tuple[np.ndarray, np.ndarray]:
    """Moves a camera from world to head space: camrot = R Rh, campos = Rh^T (C - th) with C = -R^T t.

    Args:
      rotation: [..., 3, 3], world to camera (R).
      translation: [..., 3], world to camera (t), mm.
      head_pose: [..., 3, 4], head to world [Rh, th], mm.

    Returns:
      Rotation [..., 3, 3], head to camera, and the camera's centre [..., 3] in head space, mm; both float64.
    """
    rotation, translation, head_pose = (np.asarray(x, np.float64) for x in (rotation, translation, head_pose))
    head_rotation, head_translation = head_pose[..., :3], head_pose[..., 3]
    centre = -np.einsum("...ji,...j->...i", rotation, translation)
    position = np.einsum("...ji,...j->...i", head_rotation, centre - head_translation)
    return rotation @ head_rotation, position


def frontality(position: Array) -> np.ndarray:
    """How far in front of the face cameras stand: the cosine of the angle to the head's forward axis, +z.

    Args:
      position: of the cameras' centres, [..., 3], head space.

    Returns:
      f64 [...], -1 to 1.
    """
    position = np.asarray(position, np.float64)
    return position[..., 2] / np.linalg.norm(position, axis=-1)


def look_at(position: Array, target: Array, up: Array) -> np.ndarray:
    """Rotation [3, 3] (f64) of a camera at `position` that looks at `target`: rows are its axes right, down, forward."""
    forward = np.asarray(target, np.float64) - np.asarray(position, np.float64)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def rotation_fault(rotation: Array) -> str:
    """What keeps a matrix [3, 3] from being a rotation; "" where nothing does."""
    rotation = np.asarray(rotation, np.float64)
    if not np.isfinite(rotation).all():
        return "not all numbers are finite"
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if off > _ROTATION_TOLERANCE:
        return f"its rows are not orthonormal (off by {off:.2g})"
    determinant = float(np.linalg.det(rotation))
    return f"it mirrors (determinant {determinant:.2g})" if determinant < 0 else ""
