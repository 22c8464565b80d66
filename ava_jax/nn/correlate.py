"""Weight gradients of 2 x 2 convolutions over large images with few channels, in bfloat16, as one kernel on NVIDIA GPUs.

A sum over a million pixels of products of 64 by 32 channels is bound by memory: both images are to be read once. Libraries take it as a
matrix product, for which the four shifted images must be copied into one first: three passes over four times the bytes.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.gpu import takes_kernels

_CHUNK = 128  # pixels at a time
_PROGRAMS = 132  # per shift and block of output channels: one per multiprocessor of an H200; their sums are added up afterwards
_MIN_PIXELS = 1 << 14  # for fewer, a kernel of its own does not pay
_CHANNELS = (16, 128)  # of x, a power of two: matrix units take no fewer, registers hold no more
_BLOCK = 64  # output channels at most


def is_supported(x: jax.Array, y: jax.Array) -> bool:
    """Whether there is a kernel for images of these types and shapes: x [B, H + 1, W + 1, C] and y [B, H, W, C']."""
    d_in, d_out = x.shape[-1], y.shape[-1]
    fits = _CHANNELS[0] <= d_in <= _CHANNELS[1] and d_in & (d_in - 1) == 0 and d_out % 16 == 0
    return x.dtype == y.dtype == jnp.bfloat16 and fits and y.size // d_out >= _MIN_PIXELS and takes_kernels()


def kernel(x: jax.Array, y: jax.Array, *, interpret: bool = False) -> jax.Array:
    """Sum over pixels of x, shifted by 0 or 1 row and column, times y, of images that `is_supported` takes: [2, 2, C, C'], float32.

    `interpret`: on any device, slowly.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    batch, height, width, d_out = y.shape
    d_in, pixels = x.shape[-1], batch * height * width
    block = min(d_out & -d_out, _BLOCK)
    chunks = -(-pixels // _CHUNK)
    programs = min(_PROGRAMS, chunks)

    def body(x_ref, y_ref, out_ref):
        shift, part, first = pl.program_id(0), pl.program_id(1), pl.program_id(2)
        offset = shift // 2 * (width + 1) + shift % 2

        def add(i, total):
            pixel = (first + i * programs) * _CHUNK + jnp.arange(_CHUNK)
            at = jnp.minimum(pixel, pixels - 1)
            # x has a column more in each row and a row more in each image.
            of_x = x_ref[at + at // width + at // (height * width) * (width + 1) + offset, :]
            of_y = y_ref[at, pl.ds(part * block, block)]
            of_y = jnp.where((pixel < pixels)[:, None], of_y, 0) if pixels % _CHUNK else of_y
            return total + jnp.dot(of_x.T, of_y, preferred_element_type=jnp.float32)

        count = (chunks - first + programs - 1) // programs
        out_ref[...] = lax.fori_loop(0, count, add, jnp.zeros((d_in, block), jnp.float32))

    sums = pl.pallas_call(
        body,
        grid=(4, d_out // block, programs),
        in_specs=[pl.BlockSpec(), pl.BlockSpec()],
        out_specs=pl.BlockSpec((None, None, None, d_in, block), lambda i, j, k: (i, j, k, 0, 0)),
        out_shape=jax.ShapeDtypeStruct((4, d_out // block, programs, d_in, block), jnp.float32),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="correlate_2x2",
    )(x.reshape(-1, d_in), y.reshape(-1, d_out))
    return jnp.sum(sums, axis=2).swapaxes(1, 2).reshape(2, 2, d_in, d_out)
