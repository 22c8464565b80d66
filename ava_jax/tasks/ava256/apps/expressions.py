"""Sequences of expression codes: stretched, blended, scaled, smoothed. Head poses, where there are any, go with them."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation, Slerp

from ava_jax.core.types import Array
from ava_jax.tasks.ava256.apps.choices import GAUSSIAN, Smoothing
from ava_jax.tasks.ava256.data.codes_file import Codes

_SPEED_CUTOFF = 1.0  # Hz, of the speed that a one-euro filter goes by: its authors' value


class Mix(NamedTuple):
    """A moments' weighted pairs of keys: (1 - weight) * first + weight * second.

    Attributes:
      first, second: int [A], indices of keys.
      weight: f64 [A].
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray


def there_and_back(keys: int, count: int) -> Mix:
    """`count` moments on the closed path through the keys there and back, linear between neighbours."""
    place = (keys - 1) * (1 - np.abs(1 - 2 * np.arange(count) / count))
    first = np.minimum(place.astype(int), max(keys - 2, 0))
    return Mix(first, np.minimum(first + 1, keys - 1), place - first)


def in_turn(keys: int, count: int) -> Mix:
    """`count` moments from key to key and back to the first, slow where a key is reached."""
    place = keys * np.arange(count) / count
    first = place.astype(int)
    part = place - first
    return Mix(first, (first + 1) % keys, part * part * (3 - 2 * part))


def mixed(codes: Codes, mix: Mix) -> Codes:
    """Codes at the moments of a mix; frames, for captions, are those of the nearer key."""
    near = np.where(mix.weight < 0.5, mix.first, mix.second)
    weight = mix.weight.reshape(-1, 1, 1, 1).astype(np.float32)
    blended = (1 - weight) * codes.codes[mix.first] + weight * codes.codes[mix.second]
    pose = None if codes.head_pose is None else _mixed_poses(codes.head_pose, mix)
    return Codes(blended, codes.capture[near], codes.segment[near], codes.frame[near], pose)


def _mixed_poses(poses: np.ndarray, mix: Mix) -> np.ndarray:
    """Turned evenly, moved evenly."""
    turned = []
    for first, second, weight in zip(*mix, strict=True):
        turned.append(Slerp([0, 1], Rotation.from_matrix(poses[[first, second], :, :3]))(weight).as_matrix())
    weight = mix.weight[:, None]
    moved = (1 - weight) * poses[mix.first, :, 3] + weight * poses[mix.second, :, 3]
    return np.concatenate([np.stack(turned), moved[..., None]], axis=-1).astype(np.float32)


def exaggerated(codes: Codes, neutral: np.ndarray, factor: float) -> Codes:
    """Codes whose difference to the neutral one, [1, 4, 4, 16], is scaled: 0 is neutral, 2 twice as much, -1 the opposite."""
    return codes._replace(codes=(neutral + factor * (codes.codes - neutral)).astype(np.float32))


def strongest(codes: Codes, neutral: np.ndarray) -> int:
    """Index of the code farthest from the neutral one, [1, 4, 4, 16]."""
    return int(np.square(codes.codes - neutral).sum((1, 2, 3)).argmax())


def smoothed(codes: Codes, how: Smoothing, fps: float) -> Codes:
    """A sequence smoothed, codes and head poses; each segment of each capture by itself, so that none runs into the next.

    Args:
      how: the kind and its values.
      fps: frames per second, which a one-euro filter goes by.
    """
    parts = np.flatnonzero((codes.capture[1:] != codes.capture[:-1]) | (codes.segment[1:] != codes.segment[:-1])) + 1
    stretches = np.split(np.arange(len(codes.codes)), parts)
    found = codes.codes.copy()
    poses = None if codes.head_pose is None else codes.head_pose.copy()
    for at in stretches:
        found[at] = _filtered(codes.codes[at], how, fps)
        if poses is not None:
            poses[at] = _upright(_filtered(codes.head_pose[at], how, fps))
    return codes._replace(codes=found, head_pose=poses)


def _filtered(values: np.ndarray, how: Smoothing, fps: float) -> np.ndarray:
    """[F, ...], along the first axis."""
    if how.kind == GAUSSIAN:
        return ndimage.gaussian_filter1d(values, how.values[0], axis=0, mode="nearest")
    return one_euro(values, fps, *how.values)


def one_euro(values: Array, fps: float, least_cutoff: float, beta: float) -> np.ndarray:
    """A low-pass filter whose cut-off rises with speed: still where little moves, quick where much does. Source: Casiez et al., CHI 2012.

    Args:
      values: [F, ...].
      fps: frames per second.
      least_cutoff: Hz, where nothing moves.
      beta: Hz per unit of speed, the values' units per second.

    Returns:
      [F, ...], the first as it was.
    """

    def share(cutoff: Array) -> Array:
        rate = 2 * np.pi * cutoff / fps
        return rate / (rate + 1)

    values = np.asarray(values)
    found, speed = [np.asarray(values[0], np.float64)], np.zeros_like(values[0], np.float64)
    for value, before in zip(values[1:], values[:-1], strict=True):
        speed = speed + share(_SPEED_CUTOFF) * ((value - before) * fps - speed)
        found.append(found[-1] + share(least_cutoff + beta * np.abs(speed)) * (value - found[-1]))
    return np.stack(found).astype(values.dtype)


def _upright(poses: np.ndarray) -> np.ndarray:
    """Poses [F, 3, 4] whose rotations are the nearest ones to what a filter made of them."""
    left, _, right = np.linalg.svd(poses[..., :3].astype(np.float64))
    left[..., -1] *= np.linalg.det(left @ right)[:, None]
    return np.concatenate([left @ right, poses[..., 3:]], axis=-1).astype(poses.dtype)
