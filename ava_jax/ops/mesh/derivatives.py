"""How barycentrics and texture coordinates change from pixel to pixel, for mip levels. Plain JAX, differentiable in the vertices."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array
from ava_jax.ops.mesh.checks import require_axes, require_faces
from ava_jax.ops.mesh.corners import corner_values
from ava_jax.ops.mesh.types import Fragments


def barycentric_derivatives(vertices: Array, faces: Array, fragments: Fragments) -> jax.Array:
    """Derivatives of the barycentrics by column and row, within the triangle that a pixel sees.

    Args:
      vertices: f32 [B, V, 3 or 4], as `rasterize` took them.
      faces: int32 [T, 3].
      fragments: [B, H, W, ...].

    Returns:
      [B, H, W, 3, 2], per pixel; 0 where there is no triangle.

    Raises:
      ValueError: a shape or dtype does not fit; the message names the argument.
    """
    vertices, faces = jnp.asarray(vertices), require_faces("barycentric_derivatives", faces)
    require_axes("barycentric_derivatives", "vertices", vertices, "B, V, 3 or 4", 3)
    b, h, w = jnp.shape(fragments.index)
    if len(vertices) != b:
        raise ValueError(f"barycentric_derivatives: vertices must be those of {b} images as fragments are; got {vertices.shape}.")
    if not faces.shape[0] or not vertices.shape[1]:
        return jnp.zeros((b, h, w, 3, 2), vertices.dtype)
    seen = jnp.asarray(fragments.index) >= 0
    corners = corner_values(vertices[..., :3], faces, jnp.asarray(fragments.index))
    depth = jnp.where(seen[..., None], corners[..., 2], 1.0)
    # Moved so that the pixel is the origin, as in `rasterize_jax.locate`.
    x = corners[..., 0] - jnp.arange(w, dtype=depth.dtype)[:, None] * depth
    y = corners[..., 1] - jnp.arange(h, dtype=depth.dtype)[:, None, None] * depth
    pairs = ((1, 2), (2, 0), (0, 1))
    area = jnp.stack([x[..., j] * y[..., k] - x[..., k] * y[..., j] for j, k in pairs], -1)
    by_column = jnp.stack([y[..., j] * depth[..., k] - y[..., k] * depth[..., j] for j, k in pairs], -1)
    by_row = jnp.stack([x[..., k] * depth[..., j] - x[..., j] * depth[..., k] for j, k in pairs], -1)
    total = jnp.where(seen, jnp.sum(area, -1), 1.0)[..., None, None]
    change = jnp.stack([by_column, by_row], -1)
    change = (change - (area[..., None] / total) * jnp.sum(change, -2, keepdims=True)) / total
    return jnp.where(seen[..., None, None], change, 0.0)


def uv_derivatives(uvs: Array, faces: Array, fragments: Fragments, barycentric_change: Array) -> jax.Array:
    """Derivatives of interpolated values, texture coordinates say, by column and row.

    Args:
      uvs: f32 [A, C], values at corners.
      faces: int32 [T, 3], rows of `uvs`.
      fragments: [B, H, W, ...].
      barycentric_change: [B, H, W, 3, 2], of `barycentric_derivatives`.

    Returns:
      [B, H, W, C, 2]; 0 where there is no triangle.

    Raises:
      ValueError: a shape or dtype does not fit; the message names the argument.
    """
    uvs, faces = jnp.asarray(uvs), require_faces("uv_derivatives", faces)
    require_axes("uv_derivatives", "uvs", uvs, "A, C", 2)
    if jnp.shape(barycentric_change) != (*jnp.shape(fragments.index), 3, 2):
        required = (*jnp.shape(fragments.index), 3, 2)
        raise ValueError(f"uv_derivatives: barycentric_change must be {required} as fragments are; got {jnp.shape(barycentric_change)}.")
    if not faces.shape[0] or not len(uvs):
        return jnp.zeros((*fragments.index.shape, uvs.shape[1], 2), uvs.dtype)
    corners = corner_values(uvs[None], faces, jnp.asarray(fragments.index))  # [B, H, W, 3, C]
    # Written out: a sum over an array of so many axes crashes XLA on CPUs once vmap adds another (jaxlib 0.10.2).
    return sum(corners[..., i, :, None] * barycentric_change[..., i, None, :] for i in range(3))
