"""The one mesh axis of data-parallel training, and reductions over it that also work without one."""

import jax
from jax import lax

from ava_jax.core.types import Array

BATCH_AXIS = "batch"


def inside_batch_axis() -> bool:
    """Whether the caller is being traced under a `shard_map` over the batch."""
    try:
        lax.axis_index(BATCH_AXIS)
    except NameError:
        return False
    return True


def batch_max(x: Array) -> jax.Array:
    """Largest of `x` [B, ...] over the whole batch, across devices where it is sharded: [...]. Not differentiable."""
    largest = jax.numpy.max(lax.stop_gradient(x), axis=0)
    return lax.pmax(largest, BATCH_AXIS) if inside_batch_axis() else largest
