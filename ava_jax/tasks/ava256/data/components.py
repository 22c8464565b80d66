"""Principal components of expressions: how the frames that are trained on differ from their people's neutral faces."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import TRAIN
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.data import rules, source

SIDE = 256  # of the components' texture, texels
_MOST_FRAMES = 400  # textures of 0.8 MB each are held
_LEAST = 1e-7  # of the largest component's sum of squares, below which there is none
NAMES = ("component_textures", "component_vertices", "component_textures_read", "component_vertices_read")


class Components(NamedTuple):
    """K components. A frame's coefficients have mean square 1 over the frames that they were made of.

    Attributes:
      textures: f32 [K, SIDE, SIDE, 3], of 255: what a coefficient of 1 adds to the neutral texture.
      vertices: f32 [K, V, 3], mm, likewise.
      textures_read, vertices_read: of these shapes: differences to the neutral face times these, summed up, are the coefficients.
    """

    textures: np.ndarray
    vertices: np.ndarray
    textures_read: np.ndarray
    vertices_read: np.ndarray

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """By the names that assets have for them."""
        return dict(zip(NAMES, self, strict=True))


def of_captures(captures: CaptureSet, config: ConfigDict, assets: Assets) -> Components:
    """`config.model.expression_basis` of them, of the frames that a config trains on: evenly spaced ones where they are many."""
    samples = source.frames(rules.trained(captures, config), config, TRAIN, assets)
    read = [sample for i in thin(len(samples), _MOST_FRAMES) if (sample := samples[int(i)]) is not None]
    return of_samples(read, config.model.expression_basis)


def of_samples(samples: Sequence[Batch], count: int) -> Components:
    """`count` components of frames: `texture` u8 [T, T, 3], `vertices` f32 [V, 3], mm, and `neutral_` of both.

    Textures and meshes weigh alike: each by the root of its sum of squares over all frames. Where frames differ in fewer ways, the last
    components are zero, and so are their coefficients.
    """
    n = len(samples)
    textures = np.stack([reduced(s["texture"]) - reduced(s["neutral_texture"]) for s in samples]).reshape(n, -1)
    vertices = np.stack([s["vertices"] - s["neutral_vertices"] for s in samples]).reshape(n, -1).astype(np.float32)
    weights = [1.0 / max(float(np.square(x, dtype=np.float64).sum()), 1e-9) for x in (textures, vertices)]
    gram = sum(weight * (x @ x.T).astype(np.float64) for weight, x in zip(weights, (textures, vertices), strict=True))
    squares, along = np.linalg.eigh(gram)
    squares, along = squares[::-1], along[:, ::-1].T
    there = int((squares[:count] > _LEAST * max(squares[0], _LEAST)).sum())
    # Of a frame's differences x = sqrt(n) along . component the coefficients are sqrt(n) along: of mean square 1.
    added, read = np.zeros((2, count, n), np.float32)
    added[:there] = along[:there] / np.sqrt(n)
    read[:there] = along[:there] * np.sqrt(n) / squares[:there, None]
    shapes = (count, SIDE, SIDE, 3), (count, *samples[0]["vertices"].shape)
    both = [(x, np.float32(weight), shape) for x, weight, shape in zip((textures, vertices), weights, shapes, strict=True)]
    return Components(*((added @ x).reshape(s) for x, _, s in both), *((read @ (x * weight)).reshape(s) for x, weight, s in both))


def reduced(texture: np.ndarray) -> np.ndarray:
    """A texture [..., T, T, 3], T a multiple of SIDE, as f32 [..., SIDE, SIDE, 3]: means over squares."""
    *before, side, _, channels = texture.shape
    factor = side // SIDE
    return texture.reshape(*before, SIDE, factor, SIDE, factor, channels).mean((-4, -2), dtype=np.float32)
