"""Reductions over the batch, inside and outside of a batch axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.core.parallel import BATCH_AXIS, batch_max, batch_mean, device_count

X = np.random.default_rng(0).standard_normal((6, 4, 2)).astype(np.float32)


def test_largest_of_the_batch_place_by_place():
    np.testing.assert_array_equal(batch_max(X), X.max(0))


def test_the_same_across_the_shares_of_several_devices():
    shares = jax.vmap(batch_max, axis_name=BATCH_AXIS)(X.reshape(3, 2, 4, 2))
    np.testing.assert_array_equal(shares, np.broadcast_to(X.max(0), (3, 4, 2)))


def test_no_gradient_passes():
    np.testing.assert_array_equal(jax.grad(lambda x: batch_max(x).sum())(X), np.zeros_like(X))


def test_the_mean_is_of_the_whole_batch_and_of_further_axes():
    np.testing.assert_allclose(batch_mean(X), X.mean(0), rtol=1e-6, atol=1e-7)
    shares = jax.vmap(lambda x: batch_mean(x, (0, 2)), axis_name=BATCH_AXIS)(X.reshape(3, 2, 4, 2))
    np.testing.assert_allclose(shares, np.broadcast_to(X.mean((0, 2)), (3, 4)), rtol=1e-6, atol=1e-7)
    assert device_count() == 1
    np.testing.assert_array_equal(jax.vmap(lambda x: device_count() + 0 * x, axis_name=BATCH_AXIS)(jnp.zeros(3)), [3, 3, 3])


def test_gradients_of_the_parts_of_a_loss_add_up_to_that_of_the_whole():
    """Each device differentiates its own part, which depends on all samples by their mean."""

    def part(x, mean):
        return jnp.sum(jnp.sin(3 * (x - mean)) * mean)

    want = jax.grad(lambda x: part(x, x.mean(0)))(X)
    shares = jax.vmap(jax.grad(lambda x: part(x, batch_mean(x))), axis_name=BATCH_AXIS)(X.reshape(3, 2, 4, 2))
    np.testing.assert_allclose(shares.reshape(X.shape), want, rtol=1e-5, atol=1e-6)


def test_the_batch_is_among_the_axes():
    with pytest.raises(ValueError, match=r"axes must hold 0, the batch's; got \(1,\)"):
        batch_mean(X, (1,))
