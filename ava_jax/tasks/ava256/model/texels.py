"""Where on the chart a primitive's voxels lie, and textures read there.

A primitive's box reaches over its patch of the chart: its outermost voxels lie 1 / `MARGIN` times as far from its centre as the patch's
edges, beneath those of its neighbours. So what its voxels show of a texture is more than the patch.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.nn.sampling import resize_bilinear
from ava_jax.tasks.ava256.model.sizes import Sizes

MARGIN = 0.8  # of a box's reciprocal half-extents over those of its patch
COMPONENT_SIDE = 256  # of textures that components of expressions are made of, texels
COLOUR_UNIT = 128.0  # of 255, which neutral colours are multiplied in
_AROUND = 8  # squares along a texture's side, whose means are the surroundings
_LEAST_WEIGHT = 1e-3  # of what is composited, below which nothing is seen


def at_voxels(texture: Array, sizes: Sizes) -> jax.Array:
    """A texture [B, T, T, C], any type, read bilinearly where the voxels of the boxes lie: f32 [B, S, S, C], in the slab's order."""
    side = texture.shape[1]
    low, high, weight = (jnp.asarray(x) for x in _reading(sizes, side))
    texture = jnp.asarray(texture, jnp.float32)
    rows = texture[:, low] * (1.0 - weight)[:, None, None] + texture[:, high] * weight[:, None, None]
    return rows[:, :, low] * (1.0 - weight)[:, None] + rows[:, :, high] * weight[:, None]


def surroundings(texture: Array) -> jax.Array:
    """Colours around each texel: of [B, T, T, C], any type, the means over squares of an eighth of its side, read bilinearly; f32."""
    side = texture.shape[1]
    return jax.vmap(lambda one: resize_bilinear(one, side, side))(means(texture, _AROUND))


def means(texture: Array, side: int) -> jax.Array:
    """A texture [B, T, T, C], any type, as f32 [B, side, side, C]: means over squares; `side` divides T."""
    b, factor = texture.shape[0], texture.shape[1] // side
    return jnp.asarray(texture, jnp.float32).reshape(b, side, factor, side, factor, -1).mean((2, 4))


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


def as_texture(boxes: jax.Array, sizes: Sizes, side: int) -> jax.Array:
    """What primitives show on their own patches, as a texture: the reverse of `as_primitives(at_voxels(...))`, but for the reading twice.

    Args:
      boxes: [B, K, d (y), d (x), C], a colour per voxel of each box's face.
      sizes: of the networks.
      side: of the texture, texels.

    Returns:
      f32 [B, side, side, C].
    """
    n, d = sizes.per_side, sizes.depth
    slab = jnp.asarray(boxes, jnp.float32).reshape(-1, n, n, d, d, boxes.shape[-1])
    slab = slab.transpose(0, 1, 3, 2, 4, 5).reshape(-1, sizes.slab, sizes.slab, boxes.shape[-1])
    at = (np.arange(side) + 0.5) * sizes.slab / side - 0.5  # texels of the slab
    box = np.clip(np.floor(at + 0.5).astype(int) // d, 0, n - 1)
    voxel = np.clip(((at - d * box - d // 2) * MARGIN / (d / 2) + 1.0) * (d - 1) / 2.0, 0, d - 1)
    low = np.minimum(np.floor(voxel), d - 2).astype(int)
    weight, low = jnp.asarray((voxel - low).astype(np.float32)), d * box + low
    rows = slab[:, low] * (1.0 - weight)[:, None, None] + slab[:, low + 1] * weight[:, None, None]
    return rows[:, :, low] * (1.0 - weight)[:, None] + rows[:, :, low + 1] * weight[:, None]


def seen_from_outside(rgba: jax.Array, depth: jax.Array, outward: jax.Array) -> jax.Array:
    """Colours of boxes looked at along their third axis, each by itself: [B, K, D, D, D, 4] to [B, K, D (y), D (x), 3].

    Voxels are composited from the outside in, and the sum is divided by its weight; where there is next to none, the plain mean counts.

    Args:
      rgba: voxels indexed z, y, x: colour, and density per volume radius.
      depth: [B, K], length of the boxes along that axis, volume radii.
      outward: 1.0 where the axis points out of the head, -1.0 where it points in.
    """
    rgba = jnp.asarray(rgba, jnp.float32)
    rgba = jnp.where(outward > 0, rgba[:, :, ::-1], rgba)  # the outermost first
    step = (depth / rgba.shape[2])[:, :, None, None, None]
    through = jnp.exp(-jnp.cumsum(rgba[..., 3] * step, axis=2))
    weights = jnp.concatenate([1.0 - through[:, :, :1], through[:, :, :-1] - through[:, :, 1:]], axis=2)[..., None]
    total = jnp.sum(weights, axis=2)
    shown = jnp.sum(weights * rgba[..., :3], axis=2) / jnp.maximum(total, _LEAST_WEIGHT)
    return jnp.where(total > _LEAST_WEIGHT, shown, jnp.mean(rgba[..., :3], axis=2))
