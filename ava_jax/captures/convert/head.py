"""Where a head is: rigid alignment over the vertices that no expression moves."""

from typing import NamedTuple

import numpy as np

from ava_jax.core.types import Array

_ROUNDS = 12  # of the search for what is still
_STILL = 0.3  # of the vertices, those that move least, are taken for the skull
_SOFTNESS = 0.25  # mm: residuals below are of the tracker
_FEWEST = 4


class Skull(NamedTuple):
    """Vertices that no expression moves.

    Attributes:
      index: int [S], vertices.
      shape: f64 [S, 3], their mean shape, mm, as the first mesh lies.
      motion: f64 [V], how far each vertex of the mesh moves against them, RMS over frames, mm; those not in `used` are inf.
    """

    index: np.ndarray
    shape: np.ndarray
    motion: np.ndarray


def rigid(source: Array, target: Array, weights: Array | None = None, *, scaled: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
    """The proper rotation R, translation t and scale s (1, unless `scaled`) with the least squares of s R source + t - target.

    Args:
      source, target: [P, 3], points that belong together.
      weights: [P], 0 or more; None: all alike.
      scaled: whether a scale is sought as well.

    Returns:
      R f64 [3, 3], t f64 [3], s.

    Raises:
      ValueError: fewer than 3 points count, or they lie on a line.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    w = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    total = w.sum()
    if np.count_nonzero(w) < 3:
        raise ValueError(f"rigid: three points or more must count; got {np.count_nonzero(w)}.")
    middle_a, middle_b = w @ source / total, w @ target / total
    a, b = source - middle_a, target - middle_b
    u, size, vt = np.linalg.svd((b * w[:, None]).T @ a)
    if size[1] < 1e-9 * max(size[0], 1e-300):
        raise ValueError("rigid: the points lie on a line, which fixes no rotation.")
    sign = np.array([1.0, 1.0, np.linalg.det(u @ vt)])  # -1 where the best fit would mirror
    rotation = (u * sign) @ vt
    scale = float((size * sign).sum() / (w[:, None] * a * a).sum()) if scaled else 1.0
    return rotation, middle_b - scale * rotation @ middle_a, scale


def mirrored(source: Array, target: Array) -> bool:
    """Whether points [P, 3] fit others [P, 3] far better by a reflection than by a rotation, as meshes do whose axes were mixed up."""
    a, b = (np.asarray(points, np.float64) - np.mean(points, axis=0) for points in (source, target))
    u, size, vt = np.linalg.svd(b.T @ a)
    return bool(np.linalg.det(u @ vt) < 0 and size[2] > 0.02 * size[0])


def find_skull(meshes: Array, used: Array) -> Skull:
    """The vertices that move least, and their mean shape.

    Each mesh is aligned to the mean with weights that fall where vertices move, the mean is taken anew, and so on.

    Args:
      meshes: [F, V, 3], mm, of frames with different expressions; one is enough where there is no other.
      used: int, the vertices that are in any face.
    """
    meshes, used = np.asarray(meshes, np.float64), np.asarray(used)
    points = meshes[:, used]
    mean, weights = points[0], np.ones(len(used))
    residual = np.zeros(len(used))
    for _ in range(_ROUNDS if len(points) > 1 else 0):
        moved = np.stack([_moved(mesh, mean, weights) for mesh in points])
        mean = moved.mean(0)
        residual = np.sqrt(np.square(moved - mean).sum(-1).mean(0))
        mean = _moved(mean, points[0], weights)
        weights = 1 / (_SOFTNESS**2 + residual**2)
    count = max(_FEWEST, int(len(used) * (_STILL if len(points) > 1 else 1)))
    chosen = np.sort(np.argsort(residual, kind="stable")[:count])
    motion = np.full(meshes.shape[1], np.inf)
    motion[used] = residual
    return Skull(used[chosen], mean[chosen], motion)


def given_skull(meshes: Array, index: Array) -> Skull:
    """As `find_skull`, of vertices that are given, int [S]; `motion` of other vertices is inf.

    Args:
      meshes: [F, V, 3], mm.
      index: which.
    """
    meshes, index = np.asarray(meshes, np.float64), np.asarray(index)
    shape = meshes[0, index]
    for _ in range(3 if len(meshes) > 1 else 0):
        shape = _moved(np.mean([_moved(mesh, shape) for mesh in meshes[:, index]], axis=0), meshes[0, index])
    residual = np.sqrt(np.mean([np.square(_moved(mesh, shape) - shape).sum(-1) for mesh in meshes[:, index]], axis=0))
    motion = np.full(meshes.shape[1], np.inf)
    motion[index] = residual
    return Skull(index, shape, motion)


def _moved(mesh: np.ndarray, onto: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    rotation, translation, _ = rigid(mesh, onto, weights)
    return mesh @ rotation.T + translation


def axes_from_template(skull: Skull, template: Array) -> np.ndarray:
    """Head to world of the mesh that the skull lies as, f64 [3, 4]: its axes and origin are the template's, whose size is free.

    Args:
      skull: as found.
      template: [V, 3], a mesh of the same topology in head axes: x to the subject's left, y up, z out of the face, origin in the head.

    Raises:
      ValueError: the template mirrors the meshes.
    """
    points = np.asarray(template, np.float64)[skull.index]
    if mirrored(points, skull.shape):
        raise ValueError("the meshes fit the template only mirrored: an axis has the wrong sign, or two of them are exchanged.")
    rotation, translation, _ = rigid(points, skull.shape, scaled=True)
    return np.concatenate([rotation, translation[:, None]], axis=1)


def axes_from_cameras(skull: Skull, rotations: Array, centres: Array) -> np.ndarray:
    """As `axes_from_template`, where there is none: up is what is up for the cameras, forward is where most of them are.

    The origin is the middle of the skull's bounding box.

    Args:
      skull: as found.
      rotations: [C, 3, 3], world to camera.
      centres: [C, 3], mm, world.
    """
    up = -np.asarray(rotations, np.float64)[:, 1].mean(0)
    origin = (skull.shape.min(0) + skull.shape.max(0)) / 2
    way = np.asarray(centres, np.float64) - origin
    forward = (way / np.linalg.norm(way, axis=1, keepdims=True)).mean(0)
    left = np.cross(up, forward)
    if np.linalg.norm(left) < 1e-3:
        raise ValueError("the cameras stand all around, or all above: they do not tell where the face looks; give --template.")
    left /= np.linalg.norm(left)
    forward /= np.linalg.norm(forward)
    box = np.stack([left, np.cross(forward, left), forward], axis=1)  # columns: the head's axes in the world
    local = skull.shape @ box
    return np.concatenate([box, (box @ (local.min(0) + local.max(0)) / 2)[:, None]], axis=1)


def pose_of(mesh: Array, skull: Skull, first: Array) -> np.ndarray:
    """Head to world of a mesh, f64 [3, 4].

    Args:
      mesh: [V, 3], mm, world.
      skull: of all meshes.
      first: [3, 4], head to world of the mesh that the skull lies as.
    """
    rotation, translation, _ = rigid(skull.shape, np.asarray(mesh)[skull.index])
    first = np.asarray(first, np.float64)
    return np.concatenate([rotation @ first[:, :3], (rotation @ first[:, 3] + translation)[:, None]], axis=1)


def into_head(mesh: Array, pose: Array) -> np.ndarray:
    """Vertices f64 [V, 3] in the head's axes of a mesh [V, 3] in the world whose pose is [3, 4]."""
    pose = np.asarray(pose, np.float64)
    return (np.asarray(mesh, np.float64) - pose[:, 3]) @ pose[:, :3]
