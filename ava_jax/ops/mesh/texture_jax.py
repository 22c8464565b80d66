"""Reference implementation of reads of textures in plain JAX."""

import functools

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array


@functools.partial(jax.jit, static_argnums=(1, 5, 6))
def sample_texture_jax(
    texels: Array, sizes: tuple[tuple[int, int], ...], uv: Array, level: Array | None, where: Array | None, filtering: str, wrap: str
) -> jax.Array:
    """Reads packed mip levels at pixels.

    Args:
      texels: [B, Q, C], levels one after the other.
      sizes: rows and columns of each level.
      uv: [B, P, 2].
      level: [B, P], or None for level 0.
      where: bool [B, P], or None for everywhere.
      filtering: "nearest" or "bilinear" within a level.
      wrap: "wrap", "clamp" or "zero".

    Returns:
      [B, P, C].
    """
    firsts = [sum(h * w for h, w in sizes[:i]) for i in range(len(sizes))]
    if level is None:
        share = [jnp.ones(uv.shape[:2], uv.dtype)]
    else:
        level = jnp.clip(jnp.where(jnp.isnan(level), 0.0, level), 0, len(sizes) - 1)
        share = [jnp.maximum(1.0 - jnp.abs(level - i), 0.0) for i in range(len(sizes))]
    out = sum(part[..., None] * _read_level(texels, first, size, uv, filtering, wrap) for part, first, size in zip(share, firsts, sizes))
    return out if where is None else jnp.where(where[..., None], out, 0.0)


def _read_level(texels, first, size, uv, filtering, wrap) -> jax.Array:
    """One level of `size` rows and columns, whose texels begin at `first`: [B, P, C]."""
    (column, fx), (row, fy) = (_axis(uv[..., i], size[1 - i], filtering, wrap) for i in (0, 1))
    out = 0.0
    for y, wy in zip(row, (1.0 - fy, fy)):
        for x, wx in zip(column, (1.0 - fx, fx)):
            inside = (x >= 0) & (y >= 0)
            at = jnp.where(inside, first + y * size[1] + x, first)
            read = jnp.take_along_axis(texels, at[..., None], axis=1)
            out = out + jnp.where(inside, wx * wy, 0.0)[..., None] * read
    return out


def _axis(u, size, filtering, wrap):
    """Two texels [B, P] along an axis, -1 for none, and how far it is from the first to the second."""
    u = u - jnp.floor(u) if wrap == "wrap" else jnp.clip(u, -2.0, 3.0)
    x = u * size - (0.0 if filtering == "nearest" else 0.5)
    whole = jnp.floor(jax.lax.stop_gradient(x))
    low = whole.astype(jnp.int32)
    fraction = jnp.zeros_like(x) if filtering == "nearest" else x - whole
    return [_wrapped(low + i, size, wrap) for i in (0, 1)], fraction


def _wrapped(i, size, wrap):
    if wrap == "wrap":
        return i % size
    if wrap == "zero":
        return jnp.where((i < 0) | (i >= size), -1, i)
    return jnp.clip(i, 0, size - 1)
