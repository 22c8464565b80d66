"""Numbers as colours: errors that stay readable in grey, and pictures as bytes."""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array

ERROR_FULL_SCALE = 64.0  # grey levels of mean absolute error that the colour map ends at
ERROR_CAPTION = f"error (0 to {ERROR_FULL_SCALE:.0f} of 255)"
# Black, indigo, red, orange, pale yellow: lightness rises all along, so it reads in grey too.
_STOPS = np.array([[0, 0, 0], [66, 10, 104], [187, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32)


def heat(values: Array, full_scale: float) -> jax.Array:
    """Values as colours: black for 0 and less, pale yellow from `full_scale` on.

    Args:
      values: [...], any shape.
      full_scale: in the values' unit.

    Returns:
      f32 [..., 3], 0-255.
    """
    at = np.linspace(0.0, full_scale, len(_STOPS), dtype=np.float32)
    return jnp.stack([jnp.interp(jnp.asarray(values, jnp.float32), at, _STOPS[:, c]) for c in range(3)], axis=-1)


def error_colours(image: Array, truth: Array) -> jax.Array:
    """Mean absolute error over the channels as a colour: black for none, pale yellow from ERROR_FULL_SCALE on.

    Args:
      image, truth: [B, H, W, 3], 0-255; the image is clipped to that range.

    Returns:
      f32 [B, H, W, 3], 0-255.
    """
    error = jnp.mean(jnp.abs(jnp.clip(image, 0.0, 255.0) - jnp.asarray(truth, jnp.float32)), axis=-1)
    return heat(error, ERROR_FULL_SCALE)


def to_u8(image: Array) -> jax.Array:
    """Rounds a picture of any shape, 0-255, clipped to that range, to bytes of its own shape."""
    return jnp.clip(jnp.round(jnp.asarray(image, jnp.float32)), 0, 255).astype(jnp.uint8)


def palette(count: int) -> np.ndarray:
    """Colours that differ, u8 [count, 3]: hues a golden section apart, in three shades."""
    hue = (0.08 + np.arange(count) * 0.618034) % 1.0
    shade = np.array([1.0, 0.72, 0.88])[np.arange(count) % 3]
    saturation = np.array([0.75, 0.9, 0.5])[np.arange(count) % 3]
    ramp = np.clip(np.abs((6 * hue[:, None] + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.rint(255 * shade[:, None] * (1 - saturation[:, None] * (1 - ramp))).astype(np.uint8)
