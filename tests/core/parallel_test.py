"""Reductions over the batch, inside and outside of a batch axis."""

import jax
import numpy as np

from ava_jax.core.parallel import BATCH_AXIS, batch_max

X = np.random.default_rng(0).standard_normal((6, 4, 2)).astype(np.float32)


def test_largest_of_the_batch_place_by_place():
    np.testing.assert_array_equal(batch_max(X), X.max(0))


def test_the_same_across_the_shares_of_several_devices():
    shares = jax.vmap(batch_max, axis_name=BATCH_AXIS)(X.reshape(3, 2, 4, 2))
    np.testing.assert_array_equal(shares, np.broadcast_to(X.max(0), (3, 4, 2)))


def test_no_gradient_passes():
    np.testing.assert_array_equal(jax.grad(lambda x: batch_max(x).sum())(X), np.zeros_like(X))
