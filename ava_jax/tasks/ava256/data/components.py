"""What expressions do to faces, learned from the frames that are trained on before any step: how vertices move, and texels with them.

A frame's mesh and texture are its person's neutral ones and what K coefficients add. The first of them are principal components of the
vertices' motion, which is much alike from person to person. A texel follows them in a way that fits everybody: what an open jaw shows is
alike on all, lids that close over an eye have the colour of the skin around, and a wrinkle darkens what is there. So what coefficient a_k
adds to a texel of the neutral colour n in surroundings s is a_k (O_k + G_k n + S_k s), by least squares. The other coefficients are
principal components of what textures have beyond that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import TRAIN
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.data import rules, source
from ava_jax.tasks.ava256.model import texels

SIDE = texels.COMPONENT_SIDE
_MOST_FRAMES = 400  # textures of 0.8 MB each are held
_MOVING = 1 / 4  # of the components are the vertices'
_LEAST = 1e-7  # of the largest component's sum of squares, below which there is none
_RIDGE = 3.0  # added to sums over frames of coefficients' squares, colours in units of `texels.COLOUR_UNIT`
_ROWS = 16  # of texels whose equations are solved at once


class Components(NamedTuple):
    """K components, M of them of the vertices. A frame's coefficients have mean square 1 over the frames that they were made of.

    Attributes:
      vertices: f32 [M, V, 3], mm: what a coefficient of 1 adds; at right angles to each other, as flat vectors.
      textures: f32 [K, SIDE, SIDE, 3], of 255: what a coefficient of 1 adds to anybody's texture; of K - M at right angles likewise.
      gains, shares: f32 [M, SIDE, SIDE, 3], of 255: times the texel's neutral colour, and that around it, in `texels.COLOUR_UNIT`.
    """

    vertices: np.ndarray
    textures: np.ndarray
    gains: np.ndarray
    shares: np.ndarray

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """All of them, of their shapes above ([M, V, 3] and so on), by the names that assets have for them."""
        return {f"component_{name}": array for name, array in self._asdict().items()}


def of_captures(captures: CaptureSet, config: ConfigDict, assets: Assets) -> Components:
    """`config.model.expression_basis` of them, of the frames that a config trains on: evenly spaced ones where they are many.

    Raises:
      ValueError: none of these frames has mesh and texture.
    """
    samples = source.frames(rules.trained(captures, config), config, TRAIN, assets)
    read = [sample for i in thin(len(samples), _MOST_FRAMES) if (sample := samples[int(i)]) is not None]
    if not read:
        raise ValueError(
            f"{captures.root}: no frame to train on has mesh and texture, of which components of expressions are made "
            "(config.model.expression_components); ava verify says what is missing."
        )
    return of_samples(read, config.model.expression_basis)


def of_samples(samples: Sequence[Batch], count: int) -> Components:
    """`count` components of frames: `texture` u8 [T, T, 3], `vertices` f32 [V, 3], mm, and `neutral_` of both.

    Where frames differ in fewer ways, the last components are zero.
    """
    moving = max(1, round(count * _MOVING))
    motion = np.stack([s["vertices"] - s["neutral_vertices"] for s in samples]).astype(np.float32)
    vertices, coefficients = _principal(motion, moving)
    neutral = np.stack([reduced(s["neutral_texture"]) for s in samples])
    change = np.stack([reduced(s["texture"]) for s in samples]) - neutral
    around = np.concatenate([np.asarray(texels.surroundings(n[None])) for n in neutral])
    parts = [np.zeros((moving, SIDE, SIDE, 3), np.float32) for _ in range(3)]
    for first in range(0, SIDE, _ROWS):
        rows = slice(first, first + _ROWS)
        colours = [x[:, rows] / texels.COLOUR_UNIT for x in (neutral, around)]
        factors = [np.ones_like(colours[0]), *colours]
        for part, found in zip(parts, _fitted(coefficients, factors, change[:, rows]), strict=True):
            part[:, rows] = found
        followed = sum(np.einsum("nm,mijc->nijc", coefficients, part[:, rows]) * f for part, f in zip(parts, factors, strict=True))
        change[:, rows] -= followed
    rest, _ = _principal(change, count - moving)
    return Components(vertices, np.concatenate([parts[0], rest]), *parts[1:])


def _principal(frames: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Components [count, ...] of frames [N, ...] about zero, and the frames' coefficients [N, count], of mean square 1."""
    n = len(frames)
    flat = frames.reshape(n, -1)
    squares, along = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    squares, along = squares[::-1], along[:, ::-1]
    there = int((squares[:count] > _LEAST * max(squares[0], _LEAST)).sum())
    coefficients = np.zeros((n, count), np.float32)
    coefficients[:, :there] = along[:, :there] * np.sqrt(n)
    return (coefficients.T @ flat / n).reshape(count, *frames.shape[1:]), coefficients


def _fitted(coefficients: np.ndarray, factors: Sequence[np.ndarray], change: np.ndarray) -> list[np.ndarray]:
    """What each coefficient [N, M] adds by each of its factors [N, rows, side, 3], by least squares of the change: [M, rows, side, 3]."""
    n, m = coefficients.shape
    terms = np.stack([f.reshape(n, -1).T for f in factors], axis=-1)  # [Q, N, F]
    terms = (terms[..., None] * coefficients[None, :, None]).reshape(len(terms), n, -1)
    across = terms.transpose(0, 2, 1)
    matrix = across @ terms + _RIDGE * np.eye(terms.shape[-1], dtype=np.float32)
    solved = np.linalg.solve(matrix, across @ change.reshape(n, -1).T[..., None])[..., 0]
    return list(solved.reshape(*change.shape[1:], len(factors), m).transpose(3, 4, 0, 1, 2))


def reduced(texture: np.ndarray) -> np.ndarray:
    """A texture [..., T, T, 3], T a multiple of SIDE, as f32 [..., SIDE, SIDE, 3]: means over squares."""
    *before, side, _, channels = texture.shape
    factor = side // SIDE
    return texture.reshape(*before, SIDE, factor, SIDE, factor, channels).mean((-4, -2), dtype=np.float32)
