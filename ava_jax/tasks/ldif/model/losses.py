"""Losses of LDIF, SIF++ and SIF: unreduced, [B, ...] each. Source: Local Deep Implicit Functions for 3D Shape, 2020, section 5."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array
from ava_jax.ops.implicit.evaluate import occupancy

HALF_SIDE = 0.7  # of the box that shapes and their grids lie in
_FAR = 0.044  # from the surface, above which a centre's distance counts
_EDGE = 1e-5  # fractions of a cell are kept so far within it


def of_samples(values: Array, distances: Array, *, inside_weight: float = 1.0) -> jax.Array:
    """Squared difference of occupancies at samples.

    Args:
      values: f32 [B, P], the function's.
      distances: f32 [B, P], signed; positive is outside. Only the sign counts.
      inside_weight: of samples inside.

    Returns:
      f32 [B, P].
    """
    outside = (jnp.asarray(distances) > 0).astype(jnp.float32)
    return jnp.where(outside > 0.5, 1.0, inside_weight) * jnp.square(occupancy(values) - outside)


def beyond_box(centers: Array) -> jax.Array:
    """How far centres [B, N, 3] lie beyond the box, squared, [B, N, 3]."""
    return jnp.square(jnp.maximum(jnp.abs(jnp.asarray(centers)) - HALF_SIDE, 0.0))


def beyond_shape(centers: Array, low: Array, high: Array) -> jax.Array:
    """How far centres [B, N, 3] lie beyond boxes of corners [B, 3], squared, the mean of the axes: [B, N]."""
    centers = jnp.asarray(centers)
    excess = jnp.maximum(jnp.asarray(low)[:, None] - centers, 0.0) + jnp.maximum(centers - jnp.asarray(high)[:, None], 0.0)
    return jnp.mean(jnp.square(excess), axis=-1)


def inside_box(samples: Array) -> tuple[jax.Array, jax.Array]:
    """Corners [B, 3] of the box of those samples [B, P, 4] (place, signed distance) that are inside, and of the origin."""
    samples = jnp.asarray(samples)
    inside = jnp.where(samples[..., 3:] < 0, samples[..., :3], 0.0)
    return inside.min(axis=1), inside.max(axis=1)


def outside_at_centers(values: Array, excess: Array) -> jax.Array:
    """Squared occupancy at centres, values [B, N], of those that lie in the shape's box (`excess` [B, N] is 0): [B, N]."""
    return jnp.where(jnp.asarray(excess) > 0, 0.0, jnp.square(occupancy(values)))


def far_from_surface(distances: Array) -> jax.Array:
    """Squared distance of centres outside the shape, from the grid's values [B, N]: [B, N]."""
    distances = jnp.asarray(distances)
    return jnp.square(jnp.where(distances > _FAR, distances, 0.0) + 1e-4) + 1e-5


def grid_values(grid: Array, world_to_grid: Array, points: Array) -> jax.Array:
    """Trilinear values of a grid.

    Args:
      grid: f32 [B, Z, Y, X], at nodes.
      world_to_grid: f32 [B, 4, 4].
      points: f32 [B, N, 3].

    Returns:
      f32 [B, N]; of points outside the grid 1e-5, without a gradient.
    """
    grid, transform = jnp.asarray(grid, jnp.float32), jnp.asarray(world_to_grid)
    place = jnp.einsum("bij,bnj->bni", transform[:, :3, :3], points, precision="highest") + transform[:, None, :3, 3]
    size = jnp.array(grid.shape[:0:-1])  # x, y, z
    inside = jnp.all((place >= 0) & (place <= size - 1), axis=-1)
    low = jnp.clip(jnp.floor(place), 0, size - 2)
    fraction = jnp.clip(place - low, _EDGE, 1 - _EDGE)
    low = jax.lax.stop_gradient(low).astype(jnp.int32)
    value = jnp.zeros(place.shape[:2], jnp.float32)
    batch = jnp.arange(len(grid))[:, None]
    for corner in range(8):
        step = jnp.array([corner & 1, corner >> 1 & 1, corner >> 2])
        x, y, z = jnp.moveaxis(low + step, -1, 0)
        value += grid[batch, z, y, x] * jnp.prod(jnp.where(step == 1, fraction, 1 - fraction), axis=-1)
    return jnp.where(inside, value, 1e-5)
