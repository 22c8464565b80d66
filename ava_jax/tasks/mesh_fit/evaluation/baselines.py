"""Answers that need no learning; a network that has learnt anything beats them."""

import functools
from collections.abc import Callable, Mapping

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import TRAIN
from ava_jax.tasks.mesh_fit.data import source
from ava_jax.tasks.mesh_fit.evaluation import scores

IDENTITY, MEAN_OFFSET, RIGID = "identity", "mean_offset", "rigid"
BASELINES = (IDENTITY, MEAN_OFFSET, RIGID)


def baselines(config: ConfigDict, assets: Assets) -> Mapping[str, Callable[[Batch], dict[str, np.ndarray]]]:
    """Name -> scores of a batch, [B] each, as `scores.SCORES` names them.

    - identity: the skin interpolation as it is.
    - mean_offset: it, and each vertex's mean offset from it over the frames of training.
    - rigid: it, turned and moved as a whole to fit the scan best. It sees the scan, and is only as good as a rigid motion can be.
    """
    del assets

    @functools.cache
    def offset() -> np.ndarray:  # read when it is first needed
        return mean_offset(config)

    return {
        IDENTITY: lambda batch: scores.of_vertices(_skin(batch), batch["target"]),
        MEAN_OFFSET: lambda batch: scores.of_vertices(_skin(batch) + offset(), batch["target"]),
        RIGID: lambda batch: scores.of_vertices(best_rigid(_skin(batch), batch["target"]), batch["target"]),
    }


def mean_offset(config: ConfigDict) -> np.ndarray:
    """The mean of target minus source over all frames of training, f64 [V, 3], metres.

    Raises:
      ValueError: the data cannot be read.
    """
    loaded, _ = source.load(config)
    total, count = 0.0, 0
    for sequence in loaded:
        for frame in source.frames_of(config, TRAIN, sequence):
            total = total + (sequence.target[frame].astype(np.float64) - sequence.source[frame])
            count += 1
    return total / max(count, 1)


def best_rigid(points: Array, target: Array) -> np.ndarray:
    """Points turned and moved so that they fit a target with the least squares (Kabsch, 1976; never mirrored).

    Args:
      points: [B, V, 3].
      target: [B, V, 3].

    Returns:
      f64 [B, V, 3].
    """
    points, target = np.asarray(points, np.float64), np.asarray(target, np.float64)
    middle, goal = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(points - middle, 1, 2) @ (target - goal))
    sign = np.sign(np.linalg.det(u @ vt))
    vt[:, -1] *= sign[:, None]
    return (points - middle) @ (u @ vt) + goal


def _skin(batch: Batch) -> np.ndarray:
    """The skin interpolation of the frame itself, [B, V, 3]."""
    return np.asarray(batch["source"])[:, -1].astype(np.float64)
