"""Where elements begin: on what the shapes of the training split have in common, instead of all in one place."""

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.sampling import Source, thin
from ava_jax.tasks.ldif.data import compact

ANYWHERE, SHAPES = BEGIN = "anywhere", "shapes"
_EXAMPLES = 60  # that are looked at, evenly spaced in the split
_PLACES = 400  # inside each
_CONSTANT = -0.1  # of an element: just inside at its centre, where the occupancy has a gradient
_LARGEST_RADIUS, _RADIUS = 0.15, 0.07  # as `ops.implicit.from_network` has it; at the start


def initial_elements(source: Source, config: ConfigDict) -> np.ndarray:
    """What a network says of elements before it has learnt anything, as `ops.implicit.from_network` takes it.

    Centres are those of clusters of places inside the shapes; of elements that are reflected, of the places and their reflections,
    laid over each other.

    Args:
      source: of the training split.
      config: `config.model`.

    Returns:
      f32 [N, 7 or 10].

    Raises:
      ValueError: a sample cannot be read, or the shapes have no inside.
    """
    from scipy.cluster import vq

    places = []
    for at in thin(len(source), _EXAMPLES):
        sample = source[int(at)]
        rows = np.asarray(compact.samples(sample["near"][None], None if "reach" not in sample else sample["reach"][None]))[0]
        inside = rows[rows[:, 3] < 0, :3]
        places.append(inside[thin(len(inside), _PLACES)])
    places = np.concatenate(places).astype(np.float64)
    if len(places) < config.elements:
        raise ValueError(
            f"config.model.begin: {len(places)} places inside the training split's shapes are fewer than the {config.elements} elements."
        )
    rng, centers = np.random.default_rng(0), []
    for count, rows in ((config.symmetric, places * [1, 1, 0] + np.abs(places) * [0, 0, 1]), (config.elements - config.symmetric, places)):
        if count:
            centers.append(vq.kmeans2(rows, count, minit="++", seed=rng)[0])
    raw = np.zeros((config.elements, 10 if config.rotated else 7))
    raw[:, 0] = _CONSTANT
    raw[:, 1:4] = 2 * np.concatenate(centers)
    raw[:, 4:7] = np.log(_RADIUS / (_LARGEST_RADIUS - _RADIUS))
    return raw.astype(np.float32)
