"""Loss terms of this task alone, unreduced; those that others may use are in `losses.terms`."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array


def kl_with_absolute_logstd(mean: Array, logstd: Array) -> jax.Array:
    """The published model's divergence of codes from the standard normal, averaged over the code's width.

    Not the textbook's: with s = |logstd| it is -1/2 + s + mean^2 / 2 + exp(-2 s) / 2, the divergence of N(mean, exp(-s)). Deviations above
    1 count as their reciprocals.

    Args:
      mean: [B, H, W, C].
      logstd: [B, H, W, C], logarithm of the standard deviation.

    Returns:
      [B, H, C].
    """
    s = jnp.abs(logstd)
    return jnp.mean(-0.5 + s + 0.5 * mean**2 + 0.5 * jnp.exp(-2.0 * s), axis=2)
