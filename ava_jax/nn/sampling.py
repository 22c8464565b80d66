"""Bilinear reads of images, at the same points in all images of a batch."""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.ops import reads


def sample_bilinear(image: jax.Array, points: jax.Array) -> jax.Array:
    """Reads images at points; beyond the centres of the outermost pixels they fade to zero.

    Args:
      image: [B, H, W, C].
      points: [..., 2], (x, y); -1 and 1 are the outer edges of the first and last pixels ("align_corners" false).

    Returns:
      [B, ..., C], of the image's type. Differentiable in both.
    """
    b, h, w, c = image.shape
    # x and y apart: what reduces over an axis of both would be a kernel of its own.
    columns, rows = (_neighbours(points.reshape(-1, 2)[:, axis], side) for axis, side in enumerate((w, h)))
    index, weights = [], []
    for row, row_weight, row_inside in rows:
        for column, column_weight, column_inside in columns:
            index.append(row * w + column)
            weights.append(jnp.where(row_inside & column_inside, column_weight * row_weight, 0.0))
    value = _weighted_pixels(image.reshape(b, h * w, c), index, weights)
    return value.reshape(b, *points.shape[:-1], c)


def _neighbours(at: jax.Array, side: int) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
    """Of points `at` [P] in -1..1 along an axis of `side` pixels: each neighbour's index, clipped, its weight, whether it is inside."""
    position = (at + 1.0) * (side / 2.0) - 0.5
    below = jnp.floor(position)
    fraction, index = position - below, below.astype(jnp.int32)
    pairs = (index, 1.0 - fraction), (index + 1, fraction)
    return [(jnp.clip(i, 0, side - 1), weight, (i >= 0) & (i < side)) for i, weight in pairs]


@jax.custom_vjp
def _weighted_pixels(pixels: jax.Array, index: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
    """Sum over corners of pixels [B, Q, C] at index [P] times weight [P]: [B, P, C]."""
    if reads.is_supported(pixels, index):
        return reads.read(pixels, index, weights)
    return sum(pixels[:, i] * w[:, None] for i, w in zip(index, weights)).astype(pixels.dtype)


def _forward(pixels, index, weights):
    return _weighted_pixels(pixels, index, weights), (pixels, index, weights)


def _backward(residuals, cotangent):
    # Reads the pixels again: on a CPU keeping what was read costs ten times the reading.
    pixels, index, weights = residuals
    cotangent = cotangent.astype(weights[0].dtype)
    if reads.is_supported(pixels, index):
        d_pixels, d_weights = reads.read_gradient(pixels, index, weights, cotangent)
        return d_pixels, None, d_weights
    d_weights = [jnp.sum(pixels[:, i] * cotangent, axis=(0, 2)) for i in index]
    # In one scatter, the corners of a point together: their pixels are neighbours, and stay in a GPU's cache between two additions.
    corners = cotangent[:, :, None] * jnp.stack(weights, axis=-1)[:, :, None]
    d_pixels = jnp.zeros(pixels.shape, cotangent.dtype).at[:, jnp.stack(index, axis=-1)].add(corners)
    return d_pixels.astype(pixels.dtype), None, d_weights


_weighted_pixels.defvjp(_forward, _backward)


def resize_bilinear(image: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes [H, W, C] bilinearly, pixel centres at half pixels, edges repeated, without antialiasing.

    Two products with constant matrices, at full precision as positions may pass through here; `jax.image.resize` computes the same and
    compiles five times slower.
    """
    rows, columns = _resizing(image.shape[0], height), _resizing(image.shape[1], width)
    return jnp.einsum("yh,hwc,xw->yxc", rows, image, columns, precision=jax.lax.Precision.HIGHEST)


def _resizing(side: int, new_side: int) -> np.ndarray:
    """Weights [new, old] of linear interpolation."""
    position = np.clip((np.arange(new_side) + 0.5) * (side / new_side) - 0.5, 0, side - 1)
    return np.maximum(0.0, 1.0 - np.abs(position[:, None] - np.arange(side))).astype(np.float32)
