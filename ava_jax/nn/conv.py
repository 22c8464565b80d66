"""Stride-2 4 x 4 convolutions and their transposes, both as 2 x 2 convolutions.

A 4 x 4 stride-2 convolution is a 2 x 2 convolution of 2 x 2 blocks of pixels (space to depth, or pixel unshuffle). Its transpose is a
2 x 2 convolution to such blocks, which depth to space (pixel shuffle) makes an image again. Compilers run both well, unlike the dilated
form of the transpose. The weight gradient is one matrix product over patches, as few channels on large images mislead compilers' choice
of algorithm.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.nn import convolve, correlate

_NHWC = ("NHWC", "HWIO", "NHWC")


def _convolve(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), (1, 1), [(padding, padding)] * 2, dimension_numbers=_NHWC)


@jax.custom_vjp
def convolve_2x2(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """2 x 2 convolution without padding: [B, H, W, C] with [2, 2, C, C'] to [B, H - 1, W - 1, C'], of x's type.

    A float32 kernel has a float32 gradient, also where x is bfloat16.
    """
    if convolve.is_supported(x, kernel):
        return lax.platform_dependent(x, kernel, cuda=convolve.kernel, default=_convolve_valid)
    return _convolve_valid(x, kernel)


@jax.custom_vjp
def convolve_2x2_activated(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`convolve_2x2` of what `convolve.is_supported`, plus bias f32 [C'], then LeakyReLU: of x's type, computed in float32."""
    return lax.platform_dependent(x, kernel, bias, cuda=convolve.kernel, default=_activated_plain)


def _activated_plain(x, kernel, bias):
    y = _convolve_valid(x, kernel).astype(jnp.float32) + bias
    return jnp.where(y >= 0, y, convolve.SLOPE * y).astype(x.dtype)


def _activated_forward(x, kernel, bias):
    out = convolve_2x2_activated(x, kernel, bias)
    return out, (x, kernel, out)


def _activated_backward(residuals, cotangent):
    x, kernel, out = residuals
    d_y = cotangent.astype(jnp.float32)
    d_y = jnp.where(out >= 0, d_y, convolve.SLOPE * d_y)
    return *_backward((x, kernel), d_y.astype(x.dtype)), jnp.sum(d_y, axis=(0, 1, 2))


convolve_2x2_activated.defvjp(_activated_forward, _activated_backward)


def _convolve_valid(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _convolve(x, kernel, 0)


def _forward(x, kernel):
    return convolve_2x2(x, kernel), (x, kernel)


def _backward(residuals, cotangent):
    x, kernel = residuals
    flipped = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)
    if correlate.is_supported(x, cotangent):
        d_kernel = lax.platform_dependent(x, cotangent, cuda=correlate.kernel, default=_correlate_patches)
    else:
        d_kernel = _correlate_patches(x, cotangent)
    return _convolve(cotangent, flipped, 1), d_kernel.astype(kernel.dtype)


convolve_2x2.defvjp(_forward, _backward)


def _correlate_patches(x: jax.Array, y: jax.Array) -> jax.Array:
    """The weight gradient of x [B, H + 1, W + 1, C] under cotangent y [B, H, W, C'], as one product: [2, 2, C, C'], float32."""
    height, width = y.shape[1:3]
    patches = jnp.concatenate([x[:, r : r + height, c : c + width] for r in (0, 1) for c in (0, 1)], axis=-1)
    return _correlate(patches, y).reshape(2, 2, x.shape[-1], y.shape[-1])


def _correlate(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sum over pixels of x [B, H, W, P] times y [B, H, W, O]: [P, O], float32."""
    pixels, (width, p), o = x.size // x.shape[-1], x.shape[2:], y.shape[-1]
    if pixels % 512 and 4 * p * o < width * (p + o):
        # Compilers split long sums over the chip, but copy both sides first to make the length a round one. One sum per row needs no copy.
        return jnp.sum(jnp.einsum("bhwp,bhwo->bhpo", x, y, preferred_element_type=jnp.float32), axis=(0, 1))
    return jnp.einsum("bhwp,bhwo->po", x, y, preferred_element_type=jnp.float32)


def space_to_depth(x: jax.Array) -> jax.Array:
    """Blocks of 2 x 2 pixels to channels: [B, 2 H, 2 W, C] to [B, H, W, 4 C], the block's (row, column) outermost."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(b, h // 2, w // 2, 4 * c)


def depth_to_space(x: jax.Array) -> jax.Array:
    """The inverse of `space_to_depth`: [B, H, W, 4 C] to [B, 2 H, 2 W, C]."""
    b, h, w, c = x.shape
    return x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, c // 4)


def conv_down_4x4(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """4 x 4 convolution of stride 2, one pixel of zeros around: [B, H, W, C] with [4, 4, C, C'] to [B, H / 2, W / 2, C']."""
    return convolve_2x2(*conv_as_blocks(x, kernel))


def conv_as_blocks(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A 4 x 4 convolution of stride 2 as one of 2 x 2 blocks of pixels, for `convolve_2x2`.

    Args:
      x: [B, H, W, C].
      kernel: [4, 4, C, C'].

    Returns:
      The blocks [B, H / 2 + 1, W / 2 + 1, 4 C], one pixel of zeros around the image, and their kernel [2, 2, 4 C, C']. In bfloat16 an odd C
      has one channel of zeros more.
    """
    # In bfloat16, libraries copy images whose channels are no multiple of 8 before each product.
    padding = kernel.shape[2] % 2 if x.dtype == jnp.bfloat16 else 0
    blocks = space_to_depth(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, padding))))
    kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, padding), (0, 0)))
    c, out = kernel.shape[2:]
    kernel = kernel.reshape(2, 2, 2, 2, c, out).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * c, out)
    return blocks, kernel


def conv_up_4x4(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed 4 x 4 convolution of stride 2, padding 1: [B, H, W, C] with [4, 4, C, C'] to [B, 2 H, 2 W, C'].

    y[2 i - 1 + k] += x[i] kernel[k] along each axis.
    """
    return pixel_shuffle_crop(conv_up_blocks(x, kernel))


def conv_up_blocks(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv_up_4x4` before `pixel_shuffle_crop`: [B, H, W, C] with [4, 4, C, C'] to blocks of 2 x 2 pixels [B, H + 1, W + 1, 4 C'].

    A block's (row, column) is outermost among its channels. The outermost pixels of all are no part of the result.
    """
    # The block of outputs 2 j - 1, 2 j reads inputs j - 1 (taps 2, 3) and j (taps 0, 1).
    c, out = kernel.shape[2:]
    taps = kernel.reshape(2, 2, 2, 2, c, out)[::-1, :, ::-1]  # input row, phase row, input column, phase column
    taps = taps.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, c, 4 * out)
    return convolve_2x2(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), taps)


def pixel_shuffle_crop(blocks: jax.Array) -> jax.Array:
    """Blocks of 2 x 2 pixels [B, H + 1, W + 1, 4 C] to the image [B, 2 H, 2 W, C]: depth to space, less the outermost pixels."""
    return depth_to_space(blocks)[:, 1:-1, 1:-1]


def pixel_shuffle_crop_transpose(image: jax.Array) -> jax.Array:
    """The transpose of `pixel_shuffle_crop`, as a linear map: [B, 2 H, 2 W, C] to [B, H + 1, W + 1, 4 C], with zeros around."""
    return space_to_depth(jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0))))


def convolve_same(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of odd side that keeps the size: [B, H, W, C] with [k, k, C, C'] to [B, H, W, C']."""
    return _convolve(x, kernel, kernel.shape[0] // 2)
