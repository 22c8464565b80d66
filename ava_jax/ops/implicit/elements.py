"""The elements of a shape: Gaussians in space, each with a frame of its own.

Sources: Genova et al., Learning Shape Templates with Structured Implicit Functions (2019), section 3; Local Deep Implicit Functions for 3D
Shape (2020), section 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array

TINY = 1e-8  # keeps variances and radii of nothing from dividing by zero
_LARGEST_RADIUS = 0.15
_LARGEST_ANGLE = jnp.pi / 4


class Elements(NamedTuple):
    """N elements of a shape; arrays may have leading axes.

    Attributes:
      constant: f32 [..., N], the value at the centre; negative is inside.
      center: f32 [..., N, 3].
      variance: f32 [..., N, 3], squares of the radii along the element's own axes.
      angles: f32 [..., N, 3], radians: roll, pitch, yaw; the element's axes are the columns of Rz(yaw) Ry(pitch) Rx(roll).
      features: f32 [..., N, L], what the decoder knows of the element; L = 0 of SIF and SIF++.
    """

    constant: Array
    center: Array
    variance: Array
    angles: Array
    features: Array


def from_network(raw: Array) -> Elements:
    """What a network says of elements, brought into its ranges.

    Args:
      raw: [..., N, 7 + L] of elements along the axes (SIF) with L = 0, or [..., N, 10 + L]: constant, centre, radii, angles, features.

    Returns:
      Constants at most 0, radii under 0.15, angles within an eighth of a turn.

    Raises:
      ValueError: there are fewer than 10 numbers per element, and not 7.
    """
    raw = jnp.asarray(raw)
    count = raw.shape[-1]
    if raw.ndim < 2 or (count < 10 and count != 7):
        raise ValueError(f"from_network: raw must be [..., N, 7] or [..., N, 10 + features]; got {raw.shape}.")
    radius = _LARGEST_RADIUS * jax.nn.sigmoid(raw[..., 4:7])
    angles = jnp.clip(raw[..., 7:10], -_LARGEST_ANGLE, _LARGEST_ANGLE) if count > 7 else jnp.zeros_like(radius)
    return Elements(-jnp.abs(raw[..., 0]), raw[..., 1:4] / 2, jnp.square(radius), angles, raw[..., 10:])


def rotations(angles: Array) -> jax.Array:
    """Rotations [..., 3, 3] of roll, pitch, yaw [..., 3], radians: Rz(yaw) Ry(pitch) Rx(roll); columns are an element's axes."""
    (a, b, c), (x, y, z) = (jnp.moveaxis(part(angles), -1, 0) for part in (jnp.cos, jnp.sin))
    rows = [[c * b, c * y * x - z * a, c * y * a + z * x], [z * b, z * y * x + c * a, z * y * a - c * x], [-y, b * x, b * a]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def world_to_local(elements: Elements) -> jax.Array:
    """Matrices [..., N, 4, 4] that bring points into elements' frames: the centre to 0, a radius to 1."""
    scale = 1 / (jnp.sqrt(elements.variance + TINY) + TINY)
    linear = scale[..., None] * jnp.swapaxes(rotations(elements.angles), -1, -2)
    offset = -jnp.einsum("...ij,...j->...i", linear, elements.center)
    last = jnp.broadcast_to(jnp.array([0.0, 0.0, 0.0, 1.0], linear.dtype), (*linear.shape[:-2], 1, 4))
    return jnp.concatenate([jnp.concatenate([linear, offset[..., None]], axis=-1), last], axis=-2)
