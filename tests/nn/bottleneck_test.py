"""The Gaussian bottleneck."""

import jax
import numpy as np
from flax import nnx

from ava_jax.nn.bottleneck import GaussianBottleneck, reparameterise


def test_scales_of_mean_and_logstd():
    bottleneck = GaussianBottleneck(12, 4, rngs=nnx.Rngs(0))
    h = np.random.default_rng(0).standard_normal((3, 2, 2, 12)).astype(np.float32)
    mean, logstd = bottleneck(h)
    np.testing.assert_allclose(mean, 0.1 * (h @ np.asarray(bottleneck.mean.weight[...])), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logstd, 0.01 * (h @ np.asarray(bottleneck.logstd.weight[...])), rtol=1e-4, atol=1e-6)


def test_gain_and_std_before_training():
    h = np.random.default_rng(0).standard_normal((3, 2, 2, 12)).astype(np.float32)
    plain = GaussianBottleneck(12, 4, rngs=nnx.Rngs(0))(h)
    mean, logstd = GaussianBottleneck(12, 4, initial_gain=50.0, initial_std=0.05, rngs=nnx.Rngs(0))(h)
    np.testing.assert_allclose(mean, 50.0 * plain[0], rtol=1e-5)
    np.testing.assert_allclose(logstd, plain[1] + np.log(0.05), rtol=1e-5)


def test_samples_have_the_stated_moments_and_follow_the_key():
    mean, logstd = np.full((100_000,), 2.0, np.float32), np.full((100_000,), np.log(0.5), np.float32)
    z = np.asarray(reparameterise(mean, logstd, jax.random.key(0)))
    assert abs(z.mean() - 2.0) < 4 * 0.5 / np.sqrt(z.size)
    assert abs(z.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * z.size)
    assert np.all(z == reparameterise(mean, logstd, jax.random.key(0)))
    assert not np.any(z[:100] == np.asarray(reparameterise(mean, logstd, jax.random.key(1)))[:100])
