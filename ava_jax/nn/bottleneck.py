"""Gaussian bottleneck of a variational autoencoder."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.core.parallel import by_sample
from ava_jax.nn.layers import WNDense

_MEAN_SCALE, _LOGSTD_SCALE = 0.1, 0.01


class GaussianBottleneck(nnx.Module):
    """Mean and logarithm of the standard deviation of a code; the mean starts near 0."""

    def __init__(self, d_in: int, d_latent: int, *, initial_gain: float = 1.0, initial_std: float = 1.0, rngs: nnx.Rngs):
        """Fresh layers. With both at 1 the noise hides the mean, about 0.01, until thousands of steps have raised it.

        Args:
          initial_gain: multiplies the mean before training.
          initial_std: about the standard deviation that codes are drawn with before training.
        """
        self.mean = WNDense(d_in, d_latent, activate=False, rngs=rngs)
        self.mean.magnitude[...] *= initial_gain
        self.logstd = WNDense(d_in, d_latent, activate=False, rngs=rngs)
        self.logstd.bias[...] = jnp.full(d_latent, math.log(initial_std) / _LOGSTD_SCALE)

    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[..., C] to mean and logstd, [..., d_latent], float32."""
        return _MEAN_SCALE * self.mean(h), _LOGSTD_SCALE * self.logstd(h)


def reparameterise(mean: jax.Array, logstd: jax.Array, key: jax.Array) -> jax.Array:
    """A sample of the code, differentiable in its mean and logstd: all of one shape, [B, ...]."""
    return mean + jnp.exp(logstd) * by_sample(lambda own: jax.random.normal(own, mean.shape[1:], mean.dtype), key, len(mean))
