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


def primitive_volume(primitives: Primitives) -> jax.Array:
    """Sum over primitives of the product of their half-extents: [F], volume radii cubed.

    Source: Mixture of Volumetric Primitives, 2021, section 3.4: keeps primitives from growing over empty space.
    """
    return jnp.sum(jnp.prod(1.0 / primitives.scale, axis=-1), axis=-1)
