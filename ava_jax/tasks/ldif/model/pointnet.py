"""Features of elements from the surface points around them. Source: Local Deep Implicit Functions for 3D Shape, 2020, section 4."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.core.types import Array
from ava_jax.ops.implicit import Elements, rotations
from ava_jax.ops.implicit.elements import TINY
from ava_jax.tasks.ldif.model.smallest import smallest

REACH = 15.0**0.5  # radii: published as |(x, y, z, 1)| < 4
_WIDTHS = (6, 64, 64, 64, 128, 512)


def in_frames(elements: Elements, points: Array) -> jax.Array:
    """Oriented points in elements' frames.

    Args:
      elements: [B, N, ...].
      points: f32 [B, N, P, 6], places and normals; or [B, 1, P, 6], those of all elements.

    Returns:
      f32 [B, N, P, 6]: places, of which 1 is an element's radius, and unit normals.
    """
    turned = rotations(elements.angles)[:, :, None]
    radius = (jnp.sqrt(elements.variance + TINY) + TINY)[:, :, None]
    places = _turned_back(turned, points[..., :3] - elements.center[:, :, None]) / radius
    normals = _turned_back(turned, points[..., 3:]) * radius  # by the inverse transpose
    normals *= jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(normals), axis=-1, keepdims=True), 1e-20))
    return jnp.concatenate([places, normals], axis=-1)


def distances(elements: Elements, points: Array) -> jax.Array:
    """How many radii points [B, P, 6] lie from elements [B, N, ...], without a gradient: [B, N, P]."""
    elements, points = jax.lax.stop_gradient((elements, points))
    turned, radius = rotations(elements.angles), jnp.sqrt(elements.variance + TINY) + TINY
    offset = [points[:, None, :, i] - elements.center[:, :, None, i] for i in range(3)]  # [B, N, P] each: points side by side in memory
    along = [sum(offset[i] * turned[:, :, i, j, None] for i in range(3)) / radius[:, :, None, j] for j in range(3)]
    return jnp.sqrt(sum(jnp.square(part) for part in along))


def _turned_back(rotation: jax.Array, vectors: jax.Array) -> jax.Array:
    """R' v, [..., 3]: sums of products written out, which are fused; a matrix product this small is not."""
    x, y, z = (vectors[..., i, None] * rotation[..., i, :] for i in range(3))
    return x + y + z


def chosen(distance: jax.Array, count: int, keys: jax.Array) -> jax.Array:
    """Which points each element looks at: random ones within REACH; where these are fewer, the nearest others too.

    Args:
      distance: [B, N, P], from `distances`.
      count: Q, at most P.
      keys: [B], a sample's each.

    Returns:
      int32 [B, N, Q], in no certain order.
    """
    drawn = jax.vmap(lambda key: jax.random.uniform(key, distance.shape[1:]))(keys)
    return smallest(jnp.where(distance < REACH, drawn, 1 + distance), count)


class PointNet(nnx.Module):
    """What elements see of the oriented points around them, to features."""

    def __init__(self, features: int, *, dtype: Any = None, rngs: nnx.Rngs):
        """Draws the weights.

        Args:
          features: L.
          dtype: of the layers that every point goes through, but the first, which reads places; None: float32.
          rngs: draws.
        """
        dtypes = (None, *[dtype] * (len(_WIDTHS) - 2))
        self.shared = nnx.List([nnx.Linear(a, b, dtype=own, rngs=rngs) for a, b, own in zip(_WIDTHS, _WIDTHS[1:], dtypes)])
        widths = (_WIDTHS[-1], 512, 256, features)
        self.after = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(widths, widths[1:])])

    def __call__(self, elements: Elements, points: jax.Array) -> jax.Array:
        """Points [B, N, Q, 6] of the world to features [B, N, L].

        Of many points the largest values' own are looked for first. Each channel's gradient reaches one point only, so that what is
        differentiated is no more than as many points as channels; nothing of the others is kept.
        """
        if points.shape[-2] <= _WIDTHS[-1]:
            top = jnp.max(self.shared[-1](self._hidden(in_frames(elements, points))), axis=-2)
        else:
            values = self.shared[-1](self._hidden(in_frames(jax.lax.stop_gradient(elements), points)))
            which = jnp.argmax(jax.lax.stop_gradient(values), axis=-2)
            top = self._at(elements, jnp.take_along_axis(points, which[..., None], axis=-2))
        x = jax.nn.relu(top.astype(jnp.float32))  # after the largest: it is the largest of what ReLUs would give
        for layer in self.after[:-1]:
            x = jax.nn.relu(layer(x))
        return self.after[-1](x)

    def _hidden(self, points: jax.Array) -> jax.Array:
        """Oriented points in frames [..., 6] to what the last shared layer reads."""
        x = points
        for layer in self.shared[:-1]:
            x = jax.nn.relu(layer(x))
        return x

    def _at(self, elements: Elements, points: jax.Array) -> jax.Array:
        """The last shared layer's channel c at point c of points [B, N, C, 6]: [B, N, C]."""
        last = self.shared[-1]
        hidden = self._hidden(in_frames(elements, points)).astype(jnp.float32)
        return jnp.sum(hidden * last.kernel[...].T, axis=-1) + last.bias[...]
