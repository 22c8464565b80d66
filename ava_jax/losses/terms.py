"""Loss terms, unreduced: weights, masks and averages belong to the training step."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array, Primitives


def absolute_error(prediction: Array, target: Array) -> jax.Array:
    """|prediction - target|, in their own shape and unit; `target` may be of an integer type.

    Raises:
      ValueError: the shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"absolute_error: prediction and target must have one shape; got {prediction.shape} and {target.shape}.")
    return jnp.abs(prediction - target.astype(prediction.dtype))


def kl_to_standard_normal(mean: Array, logstd: Array) -> jax.Array:
    """Divergence of codes from the standard normal, averaged over the code's width.

    With s = |logstd|: -1/2 + s + mean^2 / 2 + exp(-2 s) / 2, the divergence of N(mean, exp(-s)): deviations above 1 count as their
    reciprocals. The published model is trained with this.

    Args:
      mean: [B, H, W, C]; logstd alike.

    Returns:
      [B, H, C].
    """
    s = jnp.abs(logstd)
    return jnp.mean(-0.5 + s + 0.5 * mean**2 + 0.5 * jnp.exp(-2.0 * s), axis=2)


def primitive_volume(primitives: Primitives) -> jax.Array:
    """Sum over primitives of the product of their half-extents: [F], volume radii cubed.

    Source: Mixture of Volumetric Primitives, 2021, section 3.4: keeps primitives from growing over empty space.
    """
    return jnp.sum(jnp.prod(1.0 / primitives.scale, axis=-1), axis=-1)
