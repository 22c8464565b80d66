"""2 x 2 convolutions of large images of 16 channels, in bfloat16, as one kernel on NVIDIA GPUs.

Such a convolution is bound by memory. Libraries' kernels take three times as long as reading and writing the images would; bias and
LeakyReLU then read and write the result again.
"""

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.gpu import takes_kernels

SLOPE = 0.2  # of LeakyReLU
_CHUNK = 128  # pixels per program
_MIN_PIXELS = 1 << 18  # for fewer, a kernel of its own does not pay
_D_IN = 16  # channels: of more, libraries' kernels are as good
_D_OUT = (16, 32)


def is_supported(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether there is a kernel for x [B, H + 1, W + 1, C] and the layer's kernel [2, 2, C, C']."""
    fits = x.dtype == jnp.bfloat16 and kernel.shape[2] == _D_IN and kernel.shape[3] in _D_OUT and takes_kernels()
    # Asked last: exported programs, which hold no kernels, leave the batch open.
    return fits and len(x) * (x.shape[1] - 1) * (x.shape[2] - 1) >= _MIN_PIXELS


def kernel(x: jax.Array, weights: jax.Array, bias: jax.Array | None = None, *, interpret: bool = False) -> jax.Array:
    """Convolution without padding, of what `is_supported`: [B, H + 1, W + 1, C] with [2, 2, C, C'] to [B, H, W, C'].

    With a bias, f32 [C'], it is followed by LeakyReLU. `interpret`: on any device, slowly.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    batch, height, width = x.shape[0], x.shape[1] - 1, x.shape[2] - 1
    d_in, d_out = weights.shape[2:]
    pixels = batch * height * width
    extra = 1 if interpret else 0  # Pallas' interpreter writes what is masked, too: to a row added for it

    def body(x_ref, w_ref, *refs):
        *bias_ref, out_ref = refs
        pixel = pl.program_id(0) * _CHUNK + jnp.arange(_CHUNK, dtype=jnp.int32)
        at = jnp.minimum(pixel, pixels - 1)
        # x has a column more in each row and a row more in each image.
        at = at + lax.div(at, width) + lax.div(at, height * width) * (width + 1)
        total = jnp.zeros((_CHUNK, d_out), jnp.float32)
        for shift in range(4):
            offset = shift // 2 * (width + 1) + shift % 2
            total += jnp.dot(x_ref[at + offset, :], w_ref[shift], preferred_element_type=jnp.float32)
        if bias_ref:
            total += bias_ref[0][...][None]
            total = jnp.where(total >= 0, total, SLOPE * total)
        inside = jnp.broadcast_to((pixel < pixels)[:, None], total.shape)
        to = jnp.minimum(pixel, pixels) if interpret else pixel
        columns = jnp.arange(d_out, dtype=jnp.int32)[None]
        to, columns = jnp.broadcast_to(to[:, None], total.shape), jnp.broadcast_to(columns, total.shape)
        triton.store(out_ref.at[to, columns], total.astype(x.dtype), mask=inside)

    args = x.reshape(-1, d_in), weights.astype(x.dtype).reshape(4, d_in, d_out), *([] if bias is None else [bias])
    out = pl.pallas_call(
        body,
        grid=(pl.cdiv(pixels, _CHUNK),),
        in_specs=[pl.BlockSpec()] * len(args),
        out_specs=pl.BlockSpec(),
        out_shape=jax.ShapeDtypeStruct((pixels + extra, d_out), x.dtype),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="convolve_2x2",
    )(*args)
    return out[:pixels].reshape(batch, height, width, d_out)
