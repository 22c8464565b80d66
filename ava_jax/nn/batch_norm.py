"""Batch normalisation with statistics over the batch of all devices. Source: Ioffe and Szegedy, 2015."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from ava_jax.core.parallel import batch_mean, device_count
from ava_jax.core.variables import Running


class BatchNorm(nnx.Module):
    """y = (x - mean) / sqrt(variance + eps) * scale + bias, by channel.

    Training takes mean and variance over the whole batch and all positions, and moves the running ones towards them; evaluation takes the
    running ones. As PyTorch does, the running variance is moved towards the unbiased estimate, and `x` is divided by the biased one.
    """

    def __init__(self, channels: int, *, momentum: float = 0.1, eps: float = 1e-5):
        """Starts as the identity on inputs of mean 0 and variance 1.

        Args:
          channels: C.
          momentum: how far a training step moves the running statistics: running + momentum * (batch's - running). Flax counts the rest.
          eps: is added to variances.

        Raises:
          ValueError: the momentum is not within 0..1, or eps is not positive.
        """
        if not 0 <= momentum <= 1 or not eps > 0:
            raise ValueError(f"BatchNorm: momentum must be within 0..1 and eps positive; got {momentum} and {eps}.")
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = Running(jnp.zeros(channels))
        self.variance = Running(jnp.ones(channels))
        self.momentum, self.eps = momentum, eps

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises [B, ..., C]; computed in float32, of x's type. `train`: by the batch's statistics, which move the running ones."""
        wide = x.astype(jnp.float32)
        if train:
            mean, variance = _moments(wide)
            self._move(mean, variance, device_count() * x.size // x.shape[-1])
        else:
            mean, variance = self.mean[...], self.variance[...]
        gain = self.scale[...] * lax.rsqrt(variance + self.eps)
        return ((wide - mean) * gain + self.bias[...]).astype(x.dtype)

    def _move(self, mean: jax.Array, variance: jax.Array, count: int) -> None:
        """`count`: values that the batch's statistics are of."""
        unbiased = variance * (count / max(count - 1, 1))
        for running, now in ((self.mean, mean), (self.variance, unbiased)):
            running[...] += self.momentum * (lax.stop_gradient(now) - running[...])


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance by channel over the whole batch: of x [B, ..., C], f32 [C] each.

    Of differences to one value per channel, so that one pass over x gives both; E[x^2] - mean^2 would lose digits where the mean is large.
    """
    shift = lax.stop_gradient(x[(0,) * (x.ndim - 1)])
    axes = tuple(range(x.ndim - 1))
    offset, square = jnp.mean(x - shift, axis=axes), jnp.mean(jnp.square(x - shift), axis=axes)
    here = shift + offset
    if device_count() == 1:
        return here, square - jnp.square(offset)
    mean = batch_mean(here[None])
    return mean, batch_mean((square - jnp.square(offset) + jnp.square(here - mean))[None])
