"""Batch normalisation, its running statistics and its gradient, against NumPy and the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.variables import Running
from ava_jax.nn.batch_norm import BatchNorm

X = (np.random.default_rng(0).standard_normal((6, 5, 4, 3)) * [1, 20, 0.1] + [0, 300, -2]).astype(np.float32)


def _filled():
    layer = BatchNorm(3, momentum=0.25, eps=1e-3)
    layer.scale[...], layer.bias[...] = jnp.float32([1.5, 0.5, -2]), jnp.float32([0.1, 7, 0])
    return layer


def test_training_normalises_by_the_batch_and_moves_the_running_statistics():
    layer, x = _filled(), X.astype(np.float64)
    y = layer(jnp.asarray(X), train=True)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    want = (x - mean) / np.sqrt(variance + 1e-3) * [1.5, 0.5, -2] + [0.1, 7, 0]
    np.testing.assert_allclose(y, want, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(layer.mean[...], 0.25 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.variance[...], 0.75 + 0.25 * x.var((0, 1, 2), ddof=1), rtol=1e-5)
    assert isinstance(layer.mean, Running) and isinstance(layer.variance, Running) and isinstance(layer.scale, nnx.Param)


def test_evaluation_normalises_by_the_running_statistics_and_leaves_them():
    layer = _filled()
    layer.mean[...], layer.variance[...] = jnp.float32([1, 290, -2]), jnp.float32([4, 100, 0.01])
    y = layer(jnp.asarray(X, jnp.bfloat16), train=False)
    x = np.asarray(jnp.asarray(X, jnp.bfloat16), np.float64)
    want = (x - [1, 290, -2]) / np.sqrt(np.array([4, 100, 0.01]) + 1e-3) * [1.5, 0.5, -2] + [0.1, 7, 0]
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), want, rtol=0.01, atol=0.01)
    np.testing.assert_array_equal(layer.mean[...], [1, 290, -2])
    np.testing.assert_array_equal(_filled()(jnp.zeros((2, 3)), train=False), np.broadcast_to(_filled().bias[...], (2, 3)))


def test_the_gradient_is_that_of_the_definition():
    layer, rng = _filled(), np.random.default_rng(1)
    x, weights = jnp.asarray(X[..., :1] + rng.standard_normal(X.shape, np.float32)), rng.standard_normal(X.shape, np.float32)

    def plain(x):
        mean = x.mean((0, 1, 2))
        return jnp.sum(weights * (x - mean) / jnp.sqrt(jnp.mean((x - mean) ** 2, (0, 1, 2)) + 1e-3) * layer.scale[...])

    found = jax.grad(lambda x: jnp.sum(weights * _filled()(x, train=True)))(x)
    np.testing.assert_allclose(found, jax.grad(plain)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", [{"momentum": 1.5}, {"eps": 0.0}])
def test_what_makes_no_sense_is_refused(given):
    with pytest.raises(ValueError, match="momentum must be within 0..1 and eps positive"):
        BatchNorm(3, **given)
