"""Which are the smallest of each row, without sorting it."""

import jax
import jax.numpy as jnp

_MOST = 1 << 15  # numbers of a row: two counts of them share 32 bits
_DIGIT = 2  # bits of a pass


def smallest(x: jax.Array, count: int) -> jax.Array:
    """Positions of the `count` smallest of each row, in no certain order; of equal numbers the first.

    On GPUs, where XLA sorts whole rows for this, the largest number that belongs to them is found bit by bit, by counting. Numbers must not
    be negative.

    Args:
      x: f32 [..., P].
      count: Q, at most P.

    Returns:
      int32 [..., Q].
    """
    if x.shape[-1] >= _MOST or count == x.shape[-1]:
        return jax.lax.top_k(-x, count)[1]
    return jax.lax.platform_dependent(x, cuda=lambda x: by_counting(x, count), default=lambda x: jax.lax.top_k(-x, count)[1])


def by_counting(x: jax.Array, count: int) -> jax.Array:
    """`smallest`, as it is done on GPUs: of x f32 [..., P], `count` of each row, at most P < 32,768: int32 [..., count]."""
    length = x.shape[-1]
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(-1, length)  # in the numbers' order, as none is negative
    found = jnp.zeros((len(bits), 1), jnp.uint32)  # the leading digits of the last one that belongs to the smallest
    for shift in range(32 - _DIGIT, -1, -_DIGIT):
        less = [jnp.sum(bits < found + jnp.uint32(digit << shift), axis=1, keepdims=True) for digit in range(1, 1 << _DIGIT)]
        found += sum((below < count).astype(jnp.uint32) for below in less) << shift
    less, equal = bits < found, bits == found
    together = jnp.cumsum(less + (equal.astype(jnp.int32) << 16), axis=-1)
    before, ties = together & 0xFFFF, together >> 16
    place = jnp.where(less, before - 1, jnp.where(equal, before[:, -1:] + ties - 1, count))
    rows = jnp.arange(len(bits), dtype=jnp.int32)[:, None] * count
    place = jnp.where(place < count, rows + place, len(bits) * count)
    positions = jnp.broadcast_to(jnp.arange(length, dtype=jnp.int32), bits.shape)
    empty = jnp.zeros(len(bits) * count, jnp.int32)
    flat = empty.at[place.ravel()].set(positions.ravel(), mode="drop", unique_indices=True)
    return flat.reshape(*x.shape[:-1], count)
