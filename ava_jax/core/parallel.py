"""The one mesh axis of data-parallel training, and reductions over it that also work without one.

Each device differentiates its own part of the loss (`train.step`), so the gradient of what all devices see, a mean say, is the sum of what
each device's part makes of it: `batch_mean` sums it.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
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


def device_count() -> int:
    """How many devices the batch is spread over, each with as many samples; 1 outside of a batch axis."""
    return lax.axis_size(BATCH_AXIS) if inside_batch_axis() else 1


def by_sample(draw: Callable[[jax.Array], jax.Array], key: jax.Array, count: int) -> jax.Array:
    """Random numbers of a batch, each sample's from a key of its own: the same whatever the number of devices.

    Args:
      draw: key -> [...], one sample's.
      key: of the step, the same on all devices.
      count: samples on this device.

    Returns:
      [count, ...].
    """
    first = lax.axis_index(BATCH_AXIS) * count if inside_batch_axis() else 0
    return jax.vmap(lambda index: draw(jax.random.fold_in(key, index)))(first + jnp.arange(count))


def batch_max(x: Array) -> jax.Array:
    """Largest of `x` [B, ...] over the whole batch, across devices where it is sharded: [...]. Not differentiable."""
    largest = jnp.max(lax.stop_gradient(x), axis=0)
    return lax.pmax(largest, BATCH_AXIS) if inside_batch_axis() else largest


def batch_mean(x: Array, axes: Sequence[int] = (0,)) -> jax.Array:
    """Mean of `x` [B, ...] over the whole batch, across devices where it is sharded, and over further axes. Differentiable, in reverse.

    Args:
      x: this device's part; every device has as many samples.
      axes: to take the mean over; the batch's, 0, among them.

    Returns:
      What remains of the axes; the same on every device.

    Raises:
      ValueError: axis 0 is not among `axes`.
    """
    if 0 not in axes:
        raise ValueError(f"batch_mean: axes must hold 0, the batch's; got {tuple(axes)}.")
    mean = jnp.mean(x, axis=tuple(axes))
    return _mean_of_devices(mean) if inside_batch_axis() else mean


@jax.custom_vjp
def _mean_of_devices(x: jax.Array) -> jax.Array:
    return lax.pmean(x, BATCH_AXIS)


def _mean_forward(x):
    return _mean_of_devices(x), None


def _mean_backward(_, cotangent):
    # Said here, and not left to the rule of `pmean`, which differs with shard_map's checks of replication.
    return (lax.pmean(cotangent, BATCH_AXIS),)


_mean_of_devices.defvjp(_mean_forward, _mean_backward)
