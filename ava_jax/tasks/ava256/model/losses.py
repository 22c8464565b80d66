"""Loss terms of this task alone, unreduced; those that others may use are in `losses.terms`."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array

MOVED_TEXEL, MOVED_VERTEX = 40.0, 5.0  # of 255; mm: what an expression moves as far or further counts in full


def weight_of_moved(difference: Array, gain: float, full: float) -> jax.Array:
    """Weights of what an expression moves: 1 + gain min(d / full, 1), d the largest difference to the neutral of a point's coordinates.

    A face's expression is in few points: of the texels of a head a hundredth change by more than `MOVED_TEXEL`, and in a plain mean over
    all of them a mouth that stays shut costs nothing.

    Args:
      difference: [..., C], to the neutral face.

    Returns:
      [..., 1].
    """
    return 1.0 + gain * jnp.minimum(jnp.max(jnp.abs(difference), axis=-1, keepdims=True) / full, 1.0)


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
