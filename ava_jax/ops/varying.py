"""Types of values inside `jax.shard_map`, which tracks the mesh axes that each value varies over.

JAX's names for these types have changed from release to release. What stays: a value computed from others varies over all the
axes that they vary over. So dependence is made here by sums over no elements, which cost nothing once compiled.
"""

import jax
import jax.numpy as jnp
from jax import lax


def vary_together(*trees):
    """Makes all arrays vary over every mesh axis that any of them varies over; their values stay.

    A gradient is then summed over the devices that hold copies of a replicated argument, by the transpose of this very
    operation. Custom calls and loops need it: what they return counts as replicated otherwise, and gradients come out
    multiplied by the number of devices.
    """
    never = sum(_nothing(leaf) for leaf in jax.tree.leaves(trees)) != 0.0
    # Zero of its own type: by way of float32, integers from 2^24 on would be rounded.
    return jax.tree.map(lambda leaf: jnp.where(never, jnp.zeros((), leaf.dtype), leaf), trees)


def zeros_beside(shape: tuple[int, ...], dtype, reference: jax.Array) -> jax.Array:
    """Zeros of `shape` that vary as `reference` [...] does, to start a loop with."""
    return jnp.zeros(shape, dtype) + _nothing(reference).astype(dtype)


def _nothing(x: jax.Array) -> jax.Array:
    return jnp.sum(lax.stop_gradient(x[:0] if x.ndim else x[None][:0])).astype(jnp.float32)
