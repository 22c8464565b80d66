"""Bilinear reads of images at points that all images of a batch share."""

import jax
import jax.numpy as jnp


def sample_bilinear(image: jax.Array, points: jax.Array) -> jax.Array:
    """Reads images at points; beyond the centres of the outermost pixels they fade to zero.

    Args:
      image: [B, H, W, C].
      points: [..., 2], (x, y); -1 and 1 are the outer edges of the first and last pixels ("align_corners" false).

    Returns:
      [B, ..., C]. Differentiable in both.
    """
    b, h, w, c = image.shape
    side = jnp.array([w, h])
    position = (points.reshape(-1, 2) + 1.0) * (side / 2.0) - 0.5
    corner = jnp.floor(position)
    fraction = position - corner
    pixels = image.reshape(b, h * w, c)
    value = jnp.zeros((b, fraction.shape[0], c), image.dtype)
    for dy in (0, 1):
        for dx in (0, 1):
            at = corner.astype(jnp.int32) + jnp.array([dx, dy])
            inside = jnp.all((at >= 0) & (at < side), axis=-1)
            weight = jnp.where(dx, fraction[:, 0], 1 - fraction[:, 0]) * jnp.where(dy, fraction[:, 1], 1 - fraction[:, 1])
            at = jnp.clip(at, 0, side - 1)
            value += pixels[:, at[:, 1] * w + at[:, 0]] * jnp.where(inside, weight, 0.0)[:, None]
    return value.reshape(b, *points.shape[:-1], c)


def resize_bilinear(image: jax.Array, height: int, width: int) -> jax.Array:
    """Resizes [H, W, C] bilinearly, pixel centres at half pixels, edges repeated, without antialiasing."""
    return jax.image.resize(image, (height, width, image.shape[-1]), "bilinear", antialias=False)
