"""Elements, decoders and grids made from nothing, for tests of ldif."""

import numpy as np

from ava_jax.ops import implicit
from ava_jax.tasks.ldif.data import occnet_files


def elements_of(count=6, features=0, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    number = lambda *shape: rng.uniform(-1, 1, shape).astype(np.float32)  # noqa: E731
    return implicit.Elements(
        -np.abs(number(count)) * size,
        0.4 * number(count, 3),
        np.square(rng.uniform(0.03, 0.15, (count, 3))).astype(np.float32),
        0.7 * number(count, 3),
        number(count, features),
    )


def decoder_of(width=4, seed=1):
    rng = np.random.default_rng(seed)
    count = occnet_files._count(width)
    return occnet_files._from_numbers((0.3 * np.abs(rng.standard_normal(count))).astype(np.float32), width)


def grid_points(places):
    """Points of a grid, x, y, z, in the order of its values: z, y, x."""
    return np.stack(np.meshgrid(places, places, places, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
