"""Slabs of the decoders to the primitives' voxels and back: the largest arrays of a step, so that each is to be read and written once.

Written out, layer by layer, a slab's blocks are shuffled to pixels and cropped, biases are added, and it is cut into boxes and mapped to
0-255 or to opacities; its gradient goes the same way back, for colour and opacity separately, and is summed once over frames and once over
texels. On a GPU one kernel does each way. Voxels and the gradients by them may be bfloat16; what is between them and the slabs is computed
in float32 and rounded when it is stored. Axes: B frames, S x S texels, K primitives of side d = 8.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.gpu import takes_kernels
from ava_jax.nn import conv
from ava_jax.ops import voxels as ops

COLOUR_SCALE, COLOUR_OFFSET = 25.0, 100.0  # of the slab of colours, to 0-255
LOG_OPACITY_SCALE = 0.1
_DEPTH = 8  # of the kernels
_CHANNELS = 4  # of a voxel
_LANES = _DEPTH * _CHANNELS  # what the kernels hold of a texel: each depth's colour and opacity
_TEXELS = 64  # per program: of one row, in all frames
_WARPS = 8
_FRAMES = 16  # at most: a program's frames are written out one after the other, and indices have 32 bits


class Slab(NamedTuple):
    """A decoder's slab before its last layer's `conv.pixel_shuffle_crop` and before anything is added.

    Attributes:
      blocks: [B, S / 2 + 1, S / 2 + 1, 4 C], as `conv.conv_up_blocks` gives them, C = 3 d (depth, colour) or d.
      bias: f32 [C], the last layer's.
      texels: f32 [S, S, C], one bias per texel.
    """

    blocks: jax.Array
    bias: jax.Array
    texels: jax.Array


def is_supported(dtype: jnp.dtype, frames: int, side: int, depth: int) -> bool:
    """Whether there are kernels for slabs of this type, number and side S, texels, in boxes of side `depth`."""
    return dtype == jnp.bfloat16 and depth == _DEPTH and side % _TEXELS == 0 and takes_kernels() and frames <= _FRAMES


def slab_to_primitives(slab: jax.Array, depth: int) -> jax.Array:
    """Cuts a slab into boxes: [B, n d, n d, d C], channels (depth, C), to [B, K, d (z), d (y), d (x), C]."""
    b, side, _, channels = slab.shape
    n, c = side // depth, channels // depth
    boxes = slab.reshape(b, n, depth, n, depth, depth, c)
    return boxes.transpose(0, 1, 3, 5, 2, 4, 6).reshape(b, n * n, depth, depth, depth, c)


def primitives_to_slab(boxes: jax.Array) -> jax.Array:
    """The inverse of `slab_to_primitives`: [B, K, d, d, d, C] to [B, n d, n d, d C]."""
    b, primitives, depth, _, _, c = boxes.shape
    n = math.isqrt(primitives)
    boxes = boxes.reshape(b, n, n, depth, depth, depth, c)  # z, y, x
    return boxes.transpose(0, 1, 4, 2, 5, 3, 6).reshape(b, n * depth, n * depth, depth * c)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def template(colour: jax.Array, log_opacity: jax.Array, depth: int, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """The primitives' voxels from the slabs f32 [B, S, S, 3 d], [B, S, S, d]: relu(25 colour + 100) and the opacity, [B, K, d, d, d, 4]."""
    if ops.is_supported(colour, log_opacity):
        return ops.voxels(colour, log_opacity, scale=COLOUR_SCALE, offset=COLOUR_OFFSET).astype(dtype)
    rgb = jax.nn.relu(COLOUR_SCALE * slab_to_primitives(colour, depth) + COLOUR_OFFSET)
    # Padded and added rather than concatenated: one pass that writes whole voxels.
    channels = [(0, 0)] * 5
    rgba = jnp.pad(rgb, [*channels, (0, 1)]) + jnp.pad(jnp.exp(slab_to_primitives(log_opacity, depth)), [*channels, (3, 0)])
    return rgba.astype(dtype)


def _template_forward(colour, log_opacity, depth, dtype):
    rgba = template(colour, log_opacity, depth, dtype)
    return rgba, rgba  # its derivatives are functions of it, and the raymarcher keeps it anyway


def _template_backward(depth, dtype, rgba, cotangent):
    del dtype
    rgba, cotangent = (x.astype(jnp.float32) for x in (rgba, cotangent))
    if ops.is_supported(rgba, cotangent):
        return ops.voxels_gradient(rgba, cotangent, scale=COLOUR_SCALE, offset=COLOUR_OFFSET)
    slope = jnp.where(rgba[..., :3] > 0, COLOUR_SCALE, 0.0)
    return primitives_to_slab(slope * cotangent[..., :3]), primitives_to_slab(rgba[..., 3:] * cotangent[..., 3:])


template.defvjp(_template_forward, _template_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def template_of_slabs(colour: Slab, opacity: Slab, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Voxels [B, K, d, d, d, 4] of slabs that `is_supported` takes: relu(25 colour + 100), exp(0.1 opacity)."""
    kernel, plain = (functools.partial(f, dtype=dtype) for f in (forward_kernel, _forward_plain))
    return lax.platform_dependent(colour, opacity, cuda=kernel, default=plain)


def _forward(colour, opacity, dtype):
    rgba = template_of_slabs(colour, opacity, dtype)
    return rgba, rgba  # its derivatives are functions of it, and the raymarcher keeps it anyway


def _backward(dtype, rgba, cotangent):
    del dtype
    found = lax.platform_dependent(rgba, cotangent, cuda=backward_kernel, default=_backward_plain)
    return tuple(Slab(blocks, jnp.sum(texels, axis=(0, 1)), texels) for blocks, texels in (found[:2], found[2:]))


template_of_slabs.defvjp(_forward, _backward)


def _forward_plain(colour: Slab, opacity: Slab, *, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    colour, opacity = (conv.pixel_shuffle_crop(s.blocks).astype(jnp.float32) + s.bias + s.texels for s in (colour, opacity))
    rgb = jax.nn.relu(COLOUR_SCALE * colour + COLOUR_OFFSET)
    alpha = jnp.exp(LOG_OPACITY_SCALE * opacity)
    return jnp.concatenate([slab_to_primitives(x, _DEPTH) for x in (rgb, alpha)], axis=-1).astype(dtype)


def _backward_plain(rgba: jax.Array, cotangent: jax.Array) -> tuple[jax.Array, ...]:
    """Gradients by colour's blocks and texels, by opacity's blocks and texels; blocks bfloat16."""
    rgba, cotangent = (x.astype(jnp.float32) for x in (rgba, cotangent))
    colour = primitives_to_slab(jnp.where(rgba[..., :3] > 0, COLOUR_SCALE, 0.0) * cotangent[..., :3])
    opacity = primitives_to_slab(LOG_OPACITY_SCALE * rgba[..., 3:] * cotangent[..., 3:])
    blocks = (conv.pixel_shuffle_crop_transpose(x.astype(jnp.bfloat16)) for x in (colour, opacity))
    return tuple(x for pair in zip(blocks, (jnp.sum(x, axis=0) for x in (colour, opacity))) for x in pair)


class _Indices:
    """Indices in flat arrays of a program's texels, of row y and columns x [X]. Axes of what it holds: X texels, lanes (depth, channel)."""

    def __init__(self, row: jax.Array, x: jax.Array, side: int):
        """`row`: y + 1, the row among the blocks' pixels, as cropping removes one."""
        lane = jnp.arange(_LANES, dtype=jnp.int32)
        self.z, self.channel = lax.div(lane, _CHANNELS)[None], lax.rem(lane, _CHANNELS)[None]
        self.row, self.x, self.side = row, x, side
        self.is_colour = jnp.broadcast_to(self.channel < 3, (len(x), _LANES))
        self.of_colour = 3 * self.z + self.channel

    def voxels(self, frame: int, y: jax.Array) -> jax.Array:
        """In [B, K, d, d, d, 4]: [X, lanes]. Four consecutive ones are a voxel's."""
        n, line = self.side // _DEPTH, _DEPTH * _CHANNELS
        box = _DEPTH**2 * line
        start = (frame * n + lax.div(y, _DEPTH)) * (n * box) + lax.rem(y, _DEPTH) * line
        of_x = lax.div(self.x, _DEPTH) * box + lax.rem(self.x, _DEPTH) * _CHANNELS
        return start + of_x[:, None] + (self.z * (_DEPTH * line) + self.channel)

    def phases(self, frame: int, column: jax.Array) -> jax.Array:
        """Of columns x + 1, any shape, of this row in [B, S / 2 + 1, S / 2 + 1, 4 pixels of a block]."""
        blocks = self.side // 2 + 1
        block = (frame * blocks + lax.div(self.row, 2)) * blocks + lax.div(column, 2)
        return block * 4 + lax.rem(self.row, 2) * 2 + lax.rem(column, 2)


def forward_kernel(colour: Slab, opacity: Slab, *, dtype: jnp.dtype = jnp.float32, interpret: bool = False) -> jax.Array:
    """`template_of_slabs` on a GPU: [B, K, d, d, d, 4]; `interpret`: on any device, slowly."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    frames, side = len(colour.blocks), len(colour.texels)

    def kernel(blocks, bias, texels, opacity_blocks, opacity_bias, opacity_texels, out):
        y, x = pl.program_id(0), pl.program_id(1) * _TEXELS + jnp.arange(_TEXELS, dtype=jnp.int32)
        at = _Indices(y + 1, x, side)

        def read(of_colour, of_opacity, texel, shape):
            """Both, of texels with index [X, 1]: [X, lanes], which is `shape`."""
            colour_index = jnp.broadcast_to(texel * (3 * _DEPTH) + at.of_colour, shape)
            rgb = triton.load(of_colour.at[colour_index], mask=at.is_colour, other=0.0)
            opacity_index = jnp.broadcast_to(texel * _DEPTH + at.z, shape)
            alpha = triton.load(of_opacity.at[opacity_index], mask=~at.is_colour, other=0.0)
            return rgb.astype(jnp.float32) + alpha.astype(jnp.float32)  # in each lane one of them is 0

        lanes = (_TEXELS, _LANES)
        added = read(texels, opacity_texels, (y * side + x)[:, None], lanes)
        added += read(bias, opacity_bias, jnp.zeros((_TEXELS, 1), jnp.int32), lanes)
        for frame in range(frames):
            value = added + read(blocks, opacity_blocks, at.phases(frame, x + 1)[:, None], lanes)
            rgb = jnp.maximum(COLOUR_SCALE * value + COLOUR_OFFSET, 0.0)
            rgba = jnp.where(at.is_colour, rgb, jnp.exp(LOG_OPACITY_SCALE * value))
            out[at.voxels(frame, y)] = rgba.astype(dtype)

    shape = frames, (side // _DEPTH) ** 2, _DEPTH, _DEPTH, _DEPTH, _CHANNELS
    flat = pl.pallas_call(
        kernel,
        grid=(side, side // _TEXELS),
        in_specs=[pl.BlockSpec()] * 6,
        out_specs=pl.BlockSpec(),
        out_shape=jax.ShapeDtypeStruct((math.prod(shape),), dtype),
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
        name="template_forward",
    )(*(x.reshape(-1) for x in (*colour, *opacity)))
    return flat.reshape(shape)


def backward_kernel(rgba: jax.Array, cotangent: jax.Array, *, interpret: bool = False) -> tuple[jax.Array, ...]:
    """`_backward_plain` on a GPU, of voxels and gradients by them, [B, K, d, d, d, 4]; `interpret`: on any device, slowly."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    frames, side = len(rgba), math.isqrt(rgba.shape[1]) * _DEPTH
    extra = 1 if interpret else 0  # Pallas' interpreter writes what is masked, too: to an entry added for it

    def kernel(rgba, cotangent, d_blocks, d_texels, d_opacity_blocks, d_opacity_texels):
        row, part = pl.program_id(0), pl.program_id(1)
        x = part * _TEXELS + jnp.arange(_TEXELS, dtype=jnp.int32)
        at = _Indices(row, x, side)
        inside = (row >= 1) & (row <= side)  # the first row of the first blocks and the last of the last are cut off
        y = jnp.clip(row - 1, 0, side - 1)

        def write(ref, index, value, mask):
            mask = jnp.broadcast_to(mask, value.shape)
            index = jnp.broadcast_to(index, value.shape)
            index = jnp.where(mask, index, len(ref) - 1) if interpret else index
            triton.store(ref.at[index], value.astype(ref.dtype), mask=mask)

        def opacities(value):
            return jnp.sum(jnp.where(at.is_colour, 0.0, value).reshape(_TEXELS, _DEPTH, _CHANNELS), axis=-1)

        z = jnp.arange(_DEPTH, dtype=jnp.int32)
        # Columns cut off, left of the first texels and right of the last.
        edge = jnp.minimum(part, 1) * (side + 1)
        at_edge = (part == 0) | (part == pl.num_programs(1) - 1)
        total = jnp.zeros((_TEXELS, _LANES), jnp.float32)
        for frame in range(frames):
            index = at.voxels(frame, y)
            value, given = rgba[index].astype(jnp.float32), cotangent[index].astype(jnp.float32)
            slope = jnp.where(at.is_colour, jnp.where(value > 0, COLOUR_SCALE, 0.0), LOG_OPACITY_SCALE * value)
            found = jnp.where(inside, slope * given, 0.0)
            total += found
            phase, cut = at.phases(frame, x + 1)[:, None], at.phases(frame, edge)
            write(d_blocks, phase * (3 * _DEPTH) + at.of_colour, found, at.is_colour)
            write(d_opacity_blocks, phase * _DEPTH + z[None], opacities(found), True)
            zeros = jnp.zeros((1, _LANES), jnp.float32)
            write(d_blocks, cut * (3 * _DEPTH) + at.of_colour, zeros, at_edge & (at.channel < 3))
            write(d_opacity_blocks, cut * _DEPTH + at.z, zeros, at_edge & (at.channel == 3))
        texel = (y * side + x)[:, None]
        write(d_texels, texel * (3 * _DEPTH) + at.of_colour, total, at.is_colour & inside)
        write(d_opacity_texels, texel * _DEPTH + z[None], opacities(total), inside)

    blocks, texels = (frames, side // 2 + 1, side // 2 + 1), (side, side)
    shapes = (*blocks, 12 * _DEPTH), (*texels, 3 * _DEPTH), (*blocks, 4 * _DEPTH), (*texels, _DEPTH)
    types = (jnp.bfloat16, jnp.float32) * 2
    flat = pl.pallas_call(
        kernel,
        grid=(side + 2, side // _TEXELS),
        in_specs=[pl.BlockSpec()] * 2,
        out_specs=[pl.BlockSpec()] * 4,
        out_shape=[jax.ShapeDtypeStruct((math.prod(s) + extra,), t) for s, t in zip(shapes, types)],
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
        name="template_backward",
    )(rgba.reshape(-1), cotangent.reshape(-1))
    return tuple(x[: math.prod(s)].reshape(s) for x, s in zip(flat, shapes))
