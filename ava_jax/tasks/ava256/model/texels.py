"""Where on the chart a primitive's voxels lie, and textures read there.

A primitive's box reaches over its patch of the chart: its outermost voxels lie 1 / `MARGIN` times as far from its centre as the patch's
edges, beneath those of its neighbours. So what its voxels show of a texture is more than the patch.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.tasks.ava256.model.sizes import Sizes

MARGIN = 0.8  # of a box's reciprocal half-extents over those of its patch


def at_voxels(texture: Array, sizes: Sizes) -> jax.Array:
    """A texture [B, T, T, C], any type, read bilinearly where the voxels of the boxes lie: f32 [B, S, S, C], in the slab's order."""
    side = texture.shape[1]
    low, high, weight = (jnp.asarray(x) for x in _reading(sizes, side))
    texture = jnp.asarray(texture, jnp.float32)
    rows = texture[:, low] * (1.0 - weight)[:, None, None] + texture[:, high] * weight[:, None, None]
    return rows[:, :, low] * (1.0 - weight)[:, None] + rows[:, :, high] * weight[:, None]


def as_primitives(slab: jax.Array, sizes: Sizes) -> jax.Array:
    """[B, S, S, C] to [B, K, d (y), d (x), C]."""
    n, d = sizes.per_side, sizes.depth
    boxes = slab.reshape(-1, n, d, n, d, slab.shape[-1])
    return boxes.transpose(0, 1, 3, 2, 4, 5).reshape(-1, sizes.primitives, d, d, slab.shape[-1])


def _reading(sizes: Sizes, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the slab's texels along an axis: both neighbours in a texture of this side, and the second one's weight; [S] each."""
    d = sizes.depth
    offset = (2.0 * np.arange(d) / (d - 1) - 1.0) * (d / 2) / MARGIN  # of voxels from the box's centre, texels of the slab
    at = (d * np.arange(sizes.per_side)[:, None] + d // 2 + offset).reshape(-1)
    at = np.clip((at + 0.5) * side / sizes.slab - 0.5, 0, side - 1)
    low = np.minimum(np.floor(at), side - 2).astype(np.int32)
    return low, low + 1, (at - low).astype(np.float32)
