"""How far predicted vertices lie from the scan's."""

import numpy as np

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import Score

SCORES = (
    Score("mse", higher_is_better=False, unit="m²", digits=2, scientific=True, ratio=True),
    Score("mean_error", higher_is_better=False, unit="mm", digits=2),
    Score("p95_error", higher_is_better=False, unit="mm", digits=2),
)


def score(prediction: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
    """Scores of predictions.

    Args:
      prediction: `vertices` [B, V, 3], metres.
      batch: `target` [B, V, 3], metres.
      assets: of the task.

    Returns:
      As `SCORES`, [B] each: `mse`, as published, the mean of squared differences over vertices and x, y, z, m²; mean and 95th percentile of
      the distances between vertices, mm.
    """
    del assets
    return of_vertices(prediction["vertices"], batch["target"])


def of_vertices(vertices: Array, target: Array) -> dict[str, np.ndarray]:
    """As `score`, of vertices [B, V, 3] against a target [B, V, 3], metres."""
    squared = np.square(np.asarray(vertices, np.float64) - np.asarray(target, np.float64))
    distances = 1e3 * np.sqrt(squared.sum(-1))
    return {
        "mse": squared.mean((1, 2)),
        "mean_error": distances.mean(1),
        "p95_error": np.percentile(distances, 95, axis=1),
    }
