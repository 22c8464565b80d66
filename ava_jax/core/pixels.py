"""Pictures as files and screens want them."""

import numpy as np

from ava_jax.core.types import Array


def to_uint8(rgba: Array) -> np.ndarray:
    """Rounds a picture to bytes; colour is no longer weighted by alpha, as PNG and most programs have it.

    Args:
      rgba: [..., 4], colour 0-255 weighted by alpha, alpha in 0..1, as renders are; clipped to these ranges.

    Returns:
      u8 [..., 4]; colour 0 where alpha is 0.

    Raises:
      ValueError: the last axis is not 4 long.
    """
    rgba = np.asarray(rgba, np.float32)
    if rgba.ndim < 1 or rgba.shape[-1] != 4:
        raise ValueError(f"to_uint8: rgba must be [..., 4]; got {rgba.shape}.")
    alpha = np.clip(rgba[..., 3:], 0.0, 1.0)
    colour = np.where(alpha > 0, rgba[..., :3] / np.maximum(alpha, 1e-6), 0.0)
    return np.rint(np.concatenate([np.clip(colour, 0.0, 255.0), 255.0 * alpha], axis=-1)).astype(np.uint8)
