"""Cameras that move: around a head, through the capture's cameras, through keyframes; and cameras that stand still while a head moves.

All are in head space, at a reference head pose; `in_world` keeps them where they are in the world while the head goes its way.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, Slerp

from ava_jax.core import cameras as geometry
from ava_jax.core.types import Array, Cameras
from ava_jax.tasks.ava256.apps.choices import AROUND

_FLAT = 1 / 3  # an ellipse's and a spiral's height over their width
_TURNS = 3  # of a spiral
_STEEPEST = 89.0  # degrees; straight above the head a picture has no upright


def around(name: str, camera: Cameras, middle: Array, count: int, size: tuple[int, int], degrees: float) -> Cameras:
    """A camera on its way around a head, which stays in the picture's middle; each path loops without a jump.

    Args:
      name: one of AROUND. "swing" goes to either side and back, "circle" once around, "still" stays; "ellipse" goes around the place where
        the camera is, "spiral" away from it and back, in three turns.
      camera: where it starts, or what it goes around; without leading axes.
      middle: [3], mm, head space: of the head.
      count: A, of pictures.
      size: (height, width) of them.
      degrees: how far it goes to either side, seen from the head; a circle goes all the way.

    Returns:
      Cameras with a leading axis A, f32.

    Raises:
      ValueError: there is no such path.
    """
    if name not in AROUND:
        raise ValueError(f"camera path: must be one of {', '.join(AROUND)}; got {name!r}.")
    phase = 2 * np.pi * np.arange(count) / count
    reach, none = np.deg2rad(degrees), 0 * phase
    radius = np.sin(phase / 2)
    azimuth, elevation = {
        "swing": (reach * np.sin(phase), none),
        "circle": (phase, none),
        "orbit": (phase, none),
        "still": (none, none),
        "ellipse": (reach * np.sin(phase), _FLAT * reach * np.cos(phase)),
        "spiral": (reach * radius * np.sin(_TURNS * phase), _FLAT * reach * radius * np.cos(_TURNS * phase)),
    }[name]
    return orbit(camera, middle, azimuth, *size, elevations=elevation)


def orbit(camera: Cameras, center: Array, angles: Array, height: int, width: int, *, elevations: Array | None = None) -> Cameras:
    """A camera carried around a head, about the axis through the head's centre that is upright in its picture.

    The picture is shifted so that the centre lies in its middle.

    Args:
      camera: without leading axes.
      center: [3], mm, head space.
      angles: [A], radians; 0 is the camera's own place, positive moves it to its right.
      height, width: of the picture, pixels.
      elevations: [A], radians; positive moves it up, before it goes around. None: 0.

    Returns:
      Cameras with a leading axis A, f32.
    """
    rotation, center = np.asarray(camera.rotation, np.float64), np.asarray(center, np.float64)
    offset = np.asarray(camera.position, np.float64) - center
    seen = rotation @ -offset
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    principal = middle - seen[:2] / seen[2] * np.asarray(camera.focal, np.float64)
    angles = np.asarray(angles, np.float64)
    lifts = np.zeros_like(angles) if elevations is None else np.asarray(elevations, np.float64)
    right, up = rotation[0], -rotation[1]
    turns = (Rotation.from_rotvec(angles[:, None] * up) * Rotation.from_rotvec(-lifts[:, None] * right)).as_matrix()
    count = len(turns)
    return Cameras(
        rotation=(rotation @ turns.transpose(0, 2, 1)).astype(np.float32),
        position=(center + turns @ offset).astype(np.float32),
        focal=np.tile(np.asarray(camera.focal, np.float32), (count, 1)),
        principal=np.tile(principal.astype(np.float32), (count, 1)),
    )


def tour(cameras: Cameras, middle: Array) -> np.ndarray:
    """An order of cameras [C] that goes from each, from the first on, to the nearest one left, as directions from the head."""
    directions = np.asarray(cameras.position, np.float64) - np.asarray(middle)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    order, left = [0], list(range(1, len(directions)))
    while left:
        order.append(left.pop(int(np.argmax(directions[left] @ directions[order[-1]]))))
    return np.array(order)


def through(cameras: Cameras, middle: Array, count: int) -> Cameras:
    """From camera to camera and back to the first: [C] to [count]."""
    closed = Cameras(*(np.concatenate([value, value[:1]]) for value in cameras))
    times = np.arange(len(closed.position), dtype=np.float64)
    return interpolate(times, closed, middle, times[-1] * np.arange(count) / count)


def one_by_one(cameras: Cameras, count: int) -> Cameras:
    """Each for an equal part of `count` pictures: [C] to [count]."""
    return Cameras(*(np.asarray(value)[np.arange(count) * len(cameras.position) // count] for value in cameras))


def interpolate(times: Array, cameras: Cameras, middle: Array, at: Array, *, azimuths: Sequence[float | None] = ()) -> Cameras:
    """Cameras between keyframes, moved around the head rather than through it: smooth, and never beyond two neighbours' values.

    Their azimuth, elevation and distance from the head's middle, focal length and principal point follow monotone cubics; what they look
    at beside the middle, and their roll, turn evenly.

    Args:
      times: [M], rising.
      cameras: [M].
      middle: [3], mm, head space.
      at: [A]; before the first and after the last keyframe, their cameras.
      azimuths: degrees, M of them: those that are given are taken as they are, so that 360 is once around. None, and where there are none:
        the short way round from the one before.

    Returns:
      Cameras with a leading axis A, f32.

    Raises:
      ValueError: a camera is straight above or below the head.
    """
    times, middle = np.asarray(times, np.float64), np.asarray(middle, np.float64)
    rotation, position, focal, principal = (np.asarray(value, np.float64) for value in cameras)
    polar = np.stack([_polar(place - middle) for place in position])
    if (np.abs(polar[:, 1]) > np.deg2rad(_STEEPEST)).any():
        raise ValueError(f"a camera stands straight above or below the head; {_STEEPEST:g} degrees are allowed")
    for i, given in enumerate(azimuths or [None] * len(polar)):
        turn = 2 * np.pi * np.round((polar[i - 1, 0] - polar[i, 0]) / (2 * np.pi)) if i else 0.0
        polar[i, 0] = polar[i, 0] + turn if given is None else np.deg2rad(given)
    beside = np.stack([r @ _look(p).T for r, p in zip(rotation, polar, strict=True)])
    at = np.clip(np.asarray(at, np.float64), times[0], times[-1])
    if len(times) == 1:
        found = [np.repeat(value, len(at), axis=0) for value in (beside, polar, np.log(focal), principal)]
    else:
        turned = Slerp(times, Rotation.from_matrix(beside))(at).as_matrix()
        found = [turned, *(PchipInterpolator(times, value)(at) for value in (polar, np.log(focal), principal))]
    turned, polar, focal, principal = found
    return Cameras(
        rotation=np.stack([b @ _look(p) for b, p in zip(turned, polar, strict=True)]).astype(np.float32),
        position=(middle + np.exp(polar[:, 2:]) * _direction(polar)).astype(np.float32),
        focal=np.exp(focal).astype(np.float32),
        principal=principal.astype(np.float32),
    )


def in_world(cameras: Cameras, reference: Array, poses: Array) -> Cameras:
    """Cameras that stand where they stood in the world while the head moves: what they are in the head's space of each moment.

    Args:
      cameras: [A], head space at the reference pose.
      reference: [3, 4], head to world, mm.
      poses: [A, 3, 4], likewise, of each moment.

    Returns:
      Cameras with a leading axis A, f32.
    """
    reference, poses = np.asarray(reference, np.float64), np.asarray(poses, np.float64)
    rotation = np.asarray(cameras.rotation, np.float64) @ reference[:, :3].T
    centre = np.asarray(cameras.position, np.float64) @ reference[:, :3].T + reference[:, 3]
    translation = -np.einsum("aij,aj->ai", rotation, centre)
    seen, position = geometry.head_to_camera(rotation, translation, poses)
    return cameras._replace(rotation=seen.astype(np.float32), position=position.astype(np.float32))


def at(cameras: Cameras, index: int) -> Cameras:
    """One of them, its leading axis kept: [A] to [1]."""
    return Cameras(*(value[index : index + 1] for value in cameras))


def _polar(offset: np.ndarray) -> np.ndarray:
    """Azimuth (0 in front, +z; positive to +x) and elevation (positive up, +y) in radians, log of the distance."""
    distance = np.linalg.norm(offset)
    return np.array([np.arctan2(offset[0], offset[2]), np.arcsin(offset[1] / distance), np.log(distance)])


def _direction(polar: np.ndarray) -> np.ndarray:
    level = np.cos(polar[..., 1])
    return np.stack([level * np.sin(polar[..., 0]), np.sin(polar[..., 1]), level * np.cos(polar[..., 0])], axis=-1)


def _look(polar: np.ndarray) -> np.ndarray:
    """Rotation of an upright camera there that looks at the middle."""
    return geometry.look_at(_direction(polar), np.zeros(3), np.array([0.0, 1.0, 0.0]))
