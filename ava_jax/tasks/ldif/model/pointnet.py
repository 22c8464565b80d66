"""Features of elements from the surface points around them. Source: Local Deep Implicit Functions for 3D Shape, 2020, section 4."""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.core.types import Array
from ava_jax.ops.implicit import Elements, rotations, world_to_local
from ava_jax.ops.implicit.elements import TINY

REACH = 15.0**0.5  # radii: published as |(x, y, z, 1)| < 4
_WIDTHS = (6, 64, 64, 64, 128, 512)


def in_frames(elements: Elements, points: Array) -> tuple[jax.Array, jax.Array]:
    """Oriented points in elements' frames.

    Args:
      elements: [B, N, ...].
      points: f32 [B, P, 6], places and normals.

    Returns:
      Places [B, N, P, 3], an element's radius long each, and unit normals [B, N, P, 3].
    """
    frames = world_to_local(elements)
    places = jnp.einsum("bpi,bnji->bnpj", points[..., :3], frames[..., :3, :3], precision="highest") + frames[..., None, :3, 3]
    radius = jnp.sqrt(elements.variance + TINY) + TINY  # normals move by the inverse transpose
    normals = jnp.einsum("bpi,bnij->bnpj", points[..., 3:], rotations(elements.angles), precision="highest") * radius[..., None, :]
    return places, normals * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(normals), axis=-1, keepdims=True), 1e-20))


def chosen(places: jax.Array, count: int, keys: jax.Array) -> jax.Array:
    """Which points each element looks at: random ones within REACH; where these are fewer, the nearest others too.

    Args:
      places: [B, N, P, 3], from `in_frames`.
      count: Q, at most P.
      keys: [B], a sample's each.

    Returns:
      int32 [B, N, Q].
    """
    distance = jnp.linalg.norm(jax.lax.stop_gradient(places), axis=-1)
    drawn = jax.vmap(lambda key: jax.random.uniform(key, distance.shape[1:]))(keys)
    order = jnp.where(distance < REACH, drawn, 1 + distance)
    return jax.lax.top_k(-order, count)[1]


class PointNet(nnx.Module):
    """Oriented points [..., Q, 6] to features [..., L]."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        """Draws the weights."""
        self.shared = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(_WIDTHS, _WIDTHS[1:])])
        widths = (_WIDTHS[-1], 512, 256, features)
        self.after = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(widths, widths[1:])])

    def __call__(self, points: jax.Array) -> jax.Array:
        """See the class; [..., Q, 6] to [..., L]."""
        x = points
        for layer in self.shared:
            x = jax.nn.relu(layer(x))
        x = jnp.max(x, axis=-2)
        for layer in self.after[:-1]:
            x = jax.nn.relu(layer(x))
        return self.after[-1](x)
