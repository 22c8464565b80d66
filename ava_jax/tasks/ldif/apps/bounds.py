"""Bounds of a shape's function over boxes, which hold for every point in them, details included.

The decoder is bounded by affine arithmetic: within a box, each of its numbers is a linear function of the place in the element's frame,
and an error. Layers map both; a ReLU of an unclear sign becomes the line halfway between its bounds, and half their distance joins the
error (Singh et al., Fast and Effective Robustness Certification, 2018, section 3). So bounds narrow with the square of a box's size, where
those of plain intervals narrow with the size.
"""

from typing import NamedTuple

import numpy as np

from ava_jax.ops import implicit
from ava_jax.ops.implicit.decoder import EPS, DecoderWeights, Norm
from ava_jax.ops.implicit.evaluate import CUT
from ava_jax.tasks.ldif.apps.shape import Shape

_ROUNDING = 1e-5  # of the float32 numbers that are added up, relative to their sizes
_PAIRS = 8192  # of boxes and elements that are bounded together


class _Affine(NamedTuple):
    """Numbers as functions of a place d in [-1, 1]^3 of a box: middle + slope d, give or take error.

    Attributes:
      middle: f32 [P, C].
      slope: f32 [P, C, 3].
      error: f32 [P, C], not negative.
    """

    middle: np.ndarray
    slope: np.ndarray
    error: np.ndarray

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest, [P, C] each."""
        reach = np.abs(self.slope).sum(-1) + self.error
        return self.middle - reach, self.middle + reach

    def dense(self, weight: np.ndarray, bias: np.ndarray) -> "_Affine":
        return _Affine(
            self.middle @ weight + bias, np.einsum("pcd,ck->pkd", self.slope, weight, optimize=True), self.error @ np.abs(weight)
        )

    def scaled(self, scale: np.ndarray, offset: np.ndarray) -> "_Affine":
        return _Affine(self.middle * scale + offset, self.slope * scale[..., None], self.error * np.abs(scale))

    def relu(self) -> "_Affine":
        low, high = self.ends()
        unclear = (low < 0) & (high > 0)
        gain = np.where(unclear, high / np.where(unclear, high - low, 1), high > 0).astype(np.float32)
        half = np.where(unclear, -gain * low / 2, 0).astype(np.float32)
        return _Affine(self.middle * gain + half, self.slope * gain[..., None], self.error * gain + half)

    def plus(self, other: "_Affine") -> "_Affine":
        return _Affine(*(a + b for a, b in zip(self, other)))


class Bounds:
    """Of one shape."""

    def __init__(self, shape: Shape) -> None:
        """Of a shape."""
        self.shape = shape
        elements, self._sign = shape.all_elements()
        self._constant = np.asarray(elements.constant, np.float32)
        self._center, self._features = np.asarray(elements.center, np.float32), np.asarray(elements.features, np.float32)
        if shape.rotated:
            self._axes = np.asarray(implicit.rotations(elements.angles), np.float32)
            self._scale = 1 / np.sqrt(np.asarray(elements.variance, np.float32) + np.float32(1e-8))
        else:
            self._axes = np.broadcast_to(np.eye(3, dtype=np.float32), (len(self._sign), 3, 3))
            self._scale = 1 / np.sqrt(np.maximum(np.asarray(elements.variance, np.float32), np.float32(5e-9)))

    def of(self, middle: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Least and greatest value that the function may have in each box.

        Args:
          middle: f32 [B, 3].
          half: f32 [B, 3], of their sides.

        Returns:
          Least and greatest, f32 [B] each, rounding of the function's own evaluation within them; and the size, f32 [B, E], that the part
          of each of E elements (`Shape.all_elements`) in it may have.
        """
        middle, half = np.asarray(middle, np.float32), np.asarray(half, np.float32)
        per_call = max(1, _PAIRS // len(self._sign))
        parts = [self._part(middle[first : first + per_call], half[first : first + per_call]) for first in range(0, len(middle), per_call)]
        if not parts:
            return np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros((0, len(self._sign)), np.float32)
        low, high, size = (np.concatenate(part) for part in zip(*parts))
        margin = _ROUNDING * (1 + size.sum(1))
        return low - margin, high + margin, size

    def _part(self, middle: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bounds without rounding, and the elements' sizes, of a few boxes."""
        seen = np.where(np.arange(3) == 2, self._sign[:, None], np.float32(1))
        local = np.einsum("bei,eij->bej", middle[:, None] * seen - self._center, self._axes) * self._scale
        slope = self._axes.swapaxes(1, 2) * self._scale[..., None] * seen[:, None]  # [E, 3 local, 3 world]
        slopes = slope * half[:, None, None]  # [B, E, 3, 3], of places in [-1, 1]^3
        reach = np.abs(slopes).sum(-1)
        most = np.exp(-0.5 * np.square(np.maximum(np.abs(local) - reach, 0)).sum(-1))
        least = np.exp(-0.5 * np.square(np.abs(local) + reach).sum(-1))
        if self.shape.cut:
            most = np.where(most > CUT * (1 - 1e-3), most, 0)
            least = np.where(least > CUT * (1 + 1e-3), least, 0)
        g_low, g_high = np.ones_like(most), np.ones_like(most)
        if self.shape.decoder is not None:
            box, element = np.nonzero(most > 0)
            if len(box):
                details = _decoded(self.shape.decoder, self._features[element], local[box, element], slopes[box, element])
                g_low[box, element], g_high[box, element] = 1 + details[0], 1 + details[1]
        corners = np.stack([w * g for w in (least, most) for g in (g_low, g_high)]) * self._constant
        return corners.min(0).sum(-1), corners.max(0).sum(-1), np.abs(corners).max(0)


def _decoded(weights: DecoderWeights, features: np.ndarray, local: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest detail [P] of elements of features [P, L] over boxes around places [P, 3], sides [P, 3 local, 3]."""
    weights = DecoderWeights(*(type(part)(*(_array(one) for one in part)) for part in weights))
    x = _Affine(local, slopes, np.zeros_like(local)).dense(*weights.first)
    skip = _normalized(weights.norm1, features, x)
    x = _normalized(weights.norm2, features, skip.relu().dense(*weights.dense1))
    x = skip.plus(x.relu().dense(*weights.dense2))
    low, high = _normalized(weights.norm3, features, x).dense(*weights.last).ends()
    return low[:, 0], high[:, 0]


def _array(part):
    return type(part)(*(np.asarray(one, np.float32) for one in part)) if isinstance(part, tuple) else np.asarray(part, np.float32)


def _normalized(norm: Norm, features: np.ndarray, x: _Affine) -> _Affine:
    scale = (features @ norm.gamma.weight + norm.gamma.bias) / np.sqrt(norm.variance + np.float32(EPS))
    return x.scaled(scale, features @ norm.beta.weight + norm.beta.bias - norm.mean * scale)
