"""Vertices on the screen: [..., V, 3], column and row times depth, and depth.

Homogeneous, so that a vertex in the camera's plane or behind it has a well-defined value and gradient; the pixel is what the first two
divided by the third give. Vertices that come from clip space have a fourth number, which divided by the third is the depth to compare.
"""

import jax.numpy as jnp

from ava_jax.core.types import Array, Cameras


def project(points: Array, cameras: Cameras) -> Array:
    """Projects points by pinhole cameras: x right, y down, z forward; integer pixel coordinates are pixel centres.

    Args:
      points: [..., V, 3], in the space that the cameras are given in; leading axes broadcast against those of the cameras.
      cameras: leading axes [...].

    Returns:
      [..., V, 3]: column * depth, row * depth, depth; in pixels and the unit of `points`. Differentiable in both arguments.

    Raises:
      ValueError: points are not [..., V, 3].
    """
    points = jnp.asarray(points)
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(f"project: points must be [..., V, 3]; got {points.shape}.")
    offset = points - jnp.asarray(cameras.position)[..., None, :]
    rotation = jnp.asarray(cameras.rotation)
    # Written out: a matmul may round to bfloat16 or TF32.
    local = sum(offset[..., i, None] * rotation[..., None, :, i] for i in range(3))
    depth = local[..., 2:]
    plane = local[..., :2] * jnp.asarray(cameras.focal)[..., None, :] + depth * jnp.asarray(cameras.principal)[..., None, :]
    return jnp.concatenate([plane, depth], -1)


def from_pixels(vertices: Array) -> Array:
    """Vertices given by pixel and depth (all in front of the camera), as some other rasterisers take them.

    Args:
      vertices: [..., V, 3], column, row and depth; integers are pixel centres.

    Returns:
      [..., V, 3], as `project` gives them.

    Raises:
      ValueError: vertices are not [..., V, 3].
    """
    vertices = jnp.asarray(vertices)
    if vertices.ndim < 2 or vertices.shape[-1] != 3:
        raise ValueError(f"from_pixels: vertices must be [..., V, 3] (column, row, depth); got {vertices.shape}.")
    return jnp.concatenate([vertices[..., :2] * vertices[..., 2:], vertices[..., 2:]], -1)


def from_clip(vertices: Array, height: int, width: int) -> Array:
    """Vertices given in clip space, x, y, z, w with |x|, |y|, |z| <= w inside the picture; y = -w is the upper border of row 0.

    Args:
      vertices: [..., V, 4].
      height, width: of the picture, pixels.

    Returns:
      [..., V, 4]: column * w, row * w, w, z. `rasterize` then compares z / w, and sees -1 to 1 of it.

    Raises:
      ValueError: vertices are not [..., V, 4].
    """
    vertices = jnp.asarray(vertices)
    if vertices.ndim < 2 or vertices.shape[-1] != 4:
        raise ValueError(f"from_clip: vertices must be [..., V, 4] (x, y, z, w); got {vertices.shape}.")
    x, y, z, w = (vertices[..., i] for i in range(4))
    return jnp.stack([(x + w) * (0.5 * width) - 0.5 * w, (y + w) * (0.5 * height) - 0.5 * w, w, z], -1)
