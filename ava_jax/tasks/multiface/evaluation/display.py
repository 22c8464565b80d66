"""Linear, dark pictures of the dome as a screen should show them, as published; and truth, prediction and difference beside each other."""

import numpy as np

from ava_jax.core.types import Array
from ava_jax.viz import colours

GAINS = np.array([1.4, 1.1, 1.6], np.float32) / np.float32(1.1)  # of red, green, blue
_BLACK, _WHITE, _OFFSET = 3 / 255, 0.95, 15 / 255
FULL_SCALE = 32.0  # grey levels of the picture as shown, that the colours of differences end at
DIFFERENCE = f"difference (0 to {FULL_SCALE:.0f} of 255)"


def shown(picture: Array, *, plain: bool = False) -> np.ndarray:
    """A picture [..., 3], 0-255, as u8: balanced, above the black level, gamma 2. `plain`: its values as they are."""
    x = np.asarray(picture, np.float32)
    if not plain:
        x = x / 255 * GAINS
        x = np.sqrt(_WHITE / (1 - _BLACK) * np.clip(x - _BLACK, 0, 2)) - _OFFSET
        x = 255 * np.clip(x, 0, 2)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def difference(found: np.ndarray, truth: np.ndarray, where: Array | None = None) -> np.ndarray:
    """How far two shown pictures u8 [H, W, 3] are apart, as colours u8 [H, W, 3]; black outside of `where` [H, W].

    The scale is the same in all frames, where the published one goes from each frame's least to its largest.
    """
    apart = np.abs(found.astype(np.float32) - truth).mean(-1)
    if where is not None:
        apart = apart * (np.asarray(where) > 0)
    return np.asarray(colours.to_u8(colours.heat(apart, FULL_SCALE)))
