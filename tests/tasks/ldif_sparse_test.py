"""Bounds of implicit functions hold, and a grid that is filled from coarse to fine misses no crossing."""

import numpy as np
import pytest
from flax import nnx

from ava_jax.ops import implicit
from ava_jax.ops.implicit import SURFACE
from ava_jax.tasks.ldif.apps import shape, sparse
from ava_jax.tasks.ldif.apps.bounds import Bounds
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.model.decoder import Decoder


def made(kind, seed=0, count=5):
    """Shapes whose surfaces pass through much of the grid; decoders add about as much as there is."""
    rng = np.random.default_rng(seed)
    features = 8 if "ldif" in kind else 0
    elements = implicit.Elements(
        *(
            np.asarray(part, np.float32)
            for part in (
                -rng.uniform(0.1, 1.0, count), rng.uniform(-0.5, 0.5, (count, 3)), rng.uniform(0.05, 0.2, (count, 3)) ** 2,
                rng.uniform(-0.7, 0.7, (count, 3)), rng.standard_normal((count, features)),
            )
        )
    )  # fmt: skip
    weights = None
    if features:
        weights = Decoder(features, rngs=nnx.Rngs(seed)).weights()
        norms = {
            name: getattr(weights, name)._replace(variance=np.float32(0.3), mean=np.float32(0.1)) for name in ("norm1", "norm2", "norm3")
        }
        weights = weights._replace(**norms)
    return Shape(elements, 3, weights, rotated=kind != "along the axes", cut="cut" in kind)


KINDS = ("sif", "along the axes", "ldif", "ldif, cut")


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_and_narrow(kind):
    one, rng = made(kind), np.random.default_rng(1)
    middle = rng.uniform(-0.6, 0.6, (32, 3)).astype(np.float32)
    widths = []
    for half in (0.1, 0.01):
        low, high, sizes = Bounds(one).of(middle, np.full((32, 3), half, np.float32))
        places = middle[:, None] + half * rng.uniform(-1, 1, (32, 64, 3)).astype(np.float32)
        values = np.asarray(one.values(places.reshape(-1, 3))).reshape(32, 64)
        assert (low <= values.min(1)).all() and (values.max(1) <= high).all()
        assert sizes.shape == (32, 8) and (np.abs(values).max(1) <= sizes.sum(1) + 1e-4).all()
        widths.append(float(np.median(high - low)))
        assert widths[-1] < 60 * np.median(np.ptp(values, axis=1)), "of some use"
    assert widths[1] < widths[0] / 8


@pytest.mark.parametrize("kind", KINDS)
def test_no_crossing_is_missed(kind):
    """Signs of every point, and values at both ends of each crossing, against the function itself."""
    one, places, done = made(kind, seed=2), shape.centers(29), []
    found = sparse.sample(one, places, SURFACE, progress=done.append)
    assert sum(done) == found.size
    z, y, x = np.meshgrid(places, places, places, indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    whole = np.concatenate([np.asarray(one.values(part)) for part in points.reshape(29, -1, 3)]).reshape(found.shape)
    clear = np.abs(whole - SURFACE) > 3e-6
    np.testing.assert_array_equal((found < SURFACE)[clear], (whole < SURFACE)[clear])
    assert (whole < SURFACE).any() and (np.abs(found - whole) > 1e-4).mean() > 0.3, "much was passed over"
    for axis in range(3):
        crossing = np.diff((whole < SURFACE).astype(int), axis=axis) != 0
        assert crossing.any()
        for cut in (slice(None, -1), slice(1, None)):
            end = tuple(cut if at == axis else slice(None) for at in range(3))
            np.testing.assert_allclose(found[end][crossing], whole[end][crossing], atol=1e-5)
