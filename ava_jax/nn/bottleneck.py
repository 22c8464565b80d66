"""Gaussian bottleneck of a variational autoencoder."""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn.layers import WNDense


class GaussianBottleneck(nnx.Module):
    """Mean and logarithm of the standard deviation of a code, both small at first."""

    def __init__(self, d_in: int, d_latent: int, *, rngs: nnx.Rngs):
        self.mean = WNDense(d_in, d_latent, activate=False, rngs=rngs)
        self.logstd = WNDense(d_in, d_latent, activate=False, rngs=rngs)

    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[..., C] to mean and logstd, [..., d_latent]."""
        return 0.1 * self.mean(h), 0.01 * self.logstd(h)


def reparameterise(mean: jax.Array, logstd: jax.Array, key: jax.Array) -> jax.Array:
    """A sample of the code, differentiable in its mean and logstd."""
    return mean + jnp.exp(logstd) * jax.random.normal(key, mean.shape, mean.dtype)
