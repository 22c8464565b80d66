"""Values at the corners of triangles, brought to them and summed from them, with gradients of the same bits from run to run."""

import functools

import jax
import jax.numpy as jnp

from ava_jax.core import tracing
from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.mesh.interpolate import interpolate
from ava_jax.ops.mesh.types import Fragments


def corner_values(values: Array, faces: Array, index: Array) -> jax.Array:
    """The values at the corners of the triangles that pixels see.

    Args:
      values: [B or 1, A, C], A > 0.
      faces: int32 [T, 3], rows of `values`; T > 0.
      index: int32 [B, H, W], -1 for no triangle.

    Returns:
      [B, H, W, 3, C]. Where there is no triangle the values mean nothing.
    """
    if _sums_in_order(values):  # by compiled calls, one a corner
        weight = jnp.eye(3, dtype=values.dtype)
        at = [jnp.broadcast_to(weight[i], (*index.shape, 3)) for i in range(3)]
        return jnp.stack([interpolate(values, faces, Fragments(index, b, b[..., 0])) for b in at], -2)
    values = jnp.broadcast_to(values, (len(index), *values.shape[1:]))
    return jax.vmap(lambda v, i: v[faces[jnp.maximum(i, 0)]])(values, index)


def sum_at_corners(each: Array, faces: Array, count: int) -> jax.Array:
    """Sums over the triangles around each vertex.

    Args:
      each: [B, T, C], of triangles; T > 0.
      faces: int32 [T, 3].
      count: of vertices, > 0.

    Returns:
      [B, count, C].
    """
    if _sums_in_order(each):
        return _sum_native(count, each, faces)
    total = jnp.zeros((len(each), count, each.shape[-1]), each.dtype)
    for i in range(3):
        total = total.at[:, faces[:, i]].add(each)
    return total


def _sums_in_order(x) -> bool:
    """Whether the backend would add in any order, and there are compiled calls that do not."""
    return tracing.backend() != "cpu" and native.serves_meshes() and x.dtype == jnp.float32


def _as_pixels(each, faces) -> Fragments:
    """A picture whose pixels see the triangles one after the other, all of each corner."""
    index = jnp.broadcast_to(jnp.arange(len(faces), dtype=jnp.int32), (len(each), 1, len(faces)))
    return Fragments(index, jnp.ones((*index.shape, 3), each.dtype), jnp.zeros(index.shape, each.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_native(count, each, faces):
    """The transpose of reading values at corners."""
    start = jnp.zeros((len(each), count, each.shape[-1]), each.dtype) + jnp.sum(each[:, :0])
    return jax.vjp(lambda v: interpolate(v, faces, _as_pixels(each, faces)), start)[1](each[:, None])[0]


def _forward(count, each, faces):
    return _sum_native(count, each, faces), (each[..., :0], faces)


def _backward(count, residuals, cotangent):
    del count
    each, faces = residuals
    return interpolate(cotangent, faces, _as_pixels(each, faces))[:, 0], None


_sum_native.defvjp(_forward, _backward)
