"""Taps and combiner of one resolution as one kernel, for images so large that each layer by itself is a pass over memory.

Six layers of 1 x 1 act on each texel alone: h = tap(x) of geometry and texture, c = to(h) of the other, out = last([h, c]). One by one
they read and write sixteen images; here two come in and two go out, and the gradient computes the layers again. Products take bfloat16
and add up in float32, what a layer hands on is rounded to bfloat16, as where layers stand alone.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.gpu import takes_kernels
from ava_jax.nn.layers import SLOPE

# Fewer channels leave matrix units idle, more do not fit a multiprocessor's registers; smaller images are not worth a kernel.
CHANNELS = (16, 32)
_BLOCK = 64  # texels a program holds at a time; of 128, the gradient spills registers at 16 channels
_PROGRAMS = 528  # of the gradient, four a multiprocessor of an H200; each sums its part of the weights' gradients


class Weights(NamedTuple):
    """Of the layers, as they act (norms and magnitudes applied).

    Attributes:
      matrices: [8, C, C], in x out: tap of geometry, of texture; to_geo, to_tex; geo's own half and the other's, tex's own and the other's.
      biases: [8, C]: of the taps, to_geo, to_tex, geo, tex; the last two unused.
    """

    matrices: jax.Array
    biases: jax.Array


class _Texels(NamedTuple):
    """What the layers give, [P, C] each: taps, what each net gets from the other, results."""

    h_geo: jax.Array
    h_tex: jax.Array
    c_geo: jax.Array
    c_tex: jax.Array
    geo: jax.Array
    tex: jax.Array


def applies(image: jax.Array) -> bool:
    """Whether images [B, R, R, C] of this type and shape have a kernel."""
    large = image.size // image.shape[-1] >= _BLOCK * _PROGRAMS
    return image.dtype == jnp.bfloat16 and image.shape[-1] in CHANNELS and large and takes_kernels()


def exchange(geo: jax.Array, tex: jax.Array, weights: Weights) -> jax.Array:
    """Images [B, R, R, C] in bfloat16, to which `applies`, to both results beside each other, geometry first: [B, R, R, 2 C]."""
    c = geo.shape[-1]
    out = _exchanged(geo.reshape(-1, c), tex.reshape(-1, c), *weights)
    return out.reshape(*geo.shape[:-1], 2 * c)


def _dot(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.dot(x, y, preferred_element_type=jnp.float32)


def _layers(geo: jax.Array, tex: jax.Array, w, b) -> _Texels:
    """All layers of texels [P, C]; w and b give matrix and bias by index: arrays, or what a kernel reads them from."""

    def activated(y, i):
        y = y + b[i].astype(jnp.float32)
        return jnp.where(y >= 0, y, SLOPE * y).astype(geo.dtype)

    h_geo, h_tex = activated(_dot(geo, w[0]), 0), activated(_dot(tex, w[1]), 1)
    c_geo, c_tex = activated(_dot(h_tex, w[2]), 2), activated(_dot(h_geo, w[3]), 3)
    out_geo = activated(_dot(h_geo, w[4]) + _dot(c_geo, w[5]), 4)
    return _Texels(h_geo, h_tex, c_geo, c_tex, out_geo, activated(_dot(h_tex, w[6]) + _dot(c_tex, w[7]), 5))


def _transposed(geo, tex, x: _Texels, w, d_geo, d_tex) -> tuple[tuple, tuple, tuple]:
    """Gradients by the images, by the matrices and by the biases of these texels, from those by the results, [P, C] each."""

    def through(d, y):
        return jnp.where(y >= 0, d, SLOPE * d).astype(y.dtype)

    d_geo, d_tex = through(d_geo, x.geo), through(d_tex, x.tex)
    d_c_geo, d_c_tex = through(_dot(d_geo, w[5].T), x.c_geo), through(_dot(d_tex, w[7].T), x.c_tex)
    d_h_geo = through(_dot(d_geo, w[4].T) + _dot(d_c_tex, w[3].T), x.h_geo)
    d_h_tex = through(_dot(d_tex, w[6].T) + _dot(d_c_geo, w[2].T), x.h_tex)
    inputs = (geo, tex, x.h_tex, x.h_geo, x.h_geo, x.c_geo, x.h_tex, x.c_tex)
    given = (d_h_geo, d_h_tex, d_c_geo, d_c_tex, d_geo, d_geo, d_tex, d_tex)
    matrices = tuple(_dot(y.T, d) for y, d in zip(inputs, given))
    biases = tuple(jnp.sum(d.astype(jnp.float32), axis=0) for d in (d_h_geo, d_h_tex, d_c_geo, d_c_tex, d_geo, d_tex))
    return (_dot(d_h_geo, w[0].T).astype(geo.dtype), _dot(d_h_tex, w[1].T).astype(tex.dtype)), matrices, biases


@jax.custom_vjp
def _exchanged(geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array) -> jax.Array:
    """Texels [P, C] of both images to [P, 2 C]."""
    args = geo, tex, matrices.astype(geo.dtype), biases
    return lax.platform_dependent(*args, cuda=forward_kernel, default=_forward_plain)


def _forward(geo, tex, matrices, biases):
    return _exchanged(geo, tex, matrices, biases), (geo, tex, matrices, biases)


def _backward(residuals, cotangent):
    geo, tex, matrices, biases = residuals
    args = geo, tex, matrices.astype(geo.dtype), biases, cotangent
    return lax.platform_dependent(*args, cuda=backward_kernel, default=_backward_plain)


_exchanged.defvjp(_forward, _backward)


def _forward_plain(geo, tex, matrices, biases):
    x = _layers(geo, tex, matrices, biases)
    return jnp.concatenate([x.geo, x.tex], axis=-1)


def _backward_plain(geo, tex, matrices, biases, cotangent):
    x = _layers(geo, tex, matrices, biases)
    images, d_matrices, d_biases = _transposed(geo, tex, x, matrices, *jnp.split(cotangent, 2, axis=-1))
    return *images, jnp.stack(d_matrices), jnp.pad(jnp.stack(d_biases), ((0, 2), (0, 0)))


def forward_kernel(geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array, *, interpret: bool = False) -> jax.Array:
    """The layers on a GPU: texels [P, C] of both images to [P, 2 C]; `interpret`: on any device, slowly.

    Arguments as for `_exchanged`, matrices of the images' type.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    p, c = geo.shape

    def kernel(geo_ref, tex_ref, w_ref, b_ref, out_ref):
        x = _layers(geo_ref[...], tex_ref[...], w_ref, b_ref)
        out_ref[:, :c] = x.geo
        out_ref[:, c:] = x.tex

    texels = pl.BlockSpec((_BLOCK, c), lambda i: (i, 0))
    return pl.pallas_call(
        kernel,
        grid=(pl.cdiv(p, _BLOCK),),
        in_specs=[texels, texels, pl.BlockSpec((8, c, c), lambda i: (0, 0, 0)), pl.BlockSpec((8, c), lambda i: (0, 0))],
        out_specs=pl.BlockSpec((_BLOCK, 2 * c), lambda i: (i, 0)),
        out_shape=jax.ShapeDtypeStruct((p, 2 * c), geo.dtype),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="exchange_forward",
    )(geo, tex, matrices, biases)


def backward_kernel(
    geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array, cotangent: jax.Array, *, interpret: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Gradients by the four arguments of `_exchanged` on a GPU, from those by its result [P, 2 C]; `interpret`: on any device, slowly."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    p, c = geo.shape
    blocks = pl.cdiv(p, _BLOCK)
    programs = min(_PROGRAMS, blocks)

    def kernel(geo_ref, tex_ref, w_ref, b_ref, d_ref, d_geo_ref, d_tex_ref, d_w_ref, d_b_ref):
        first = pl.program_id(0)

        def body(i, sums):
            here = pl.ds((first + i * programs) * _BLOCK, _BLOCK)
            geo, tex = geo_ref[here, :], tex_ref[here, :]
            x = _layers(geo, tex, w_ref, b_ref)
            given = d_ref[here, pl.ds(0, c)], d_ref[here, pl.ds(c, c)]
            (d_geo, d_tex), *found = _transposed(geo, tex, x, w_ref, *given)
            d_geo_ref[here, :] = d_geo
            d_tex_ref[here, :] = d_tex
            return jax.tree.map(jnp.add, sums, tuple(found))

        zeros = (jnp.zeros((c, c), jnp.float32),) * 8, (jnp.zeros(c, jnp.float32),) * 6
        d_matrices, d_biases = lax.fori_loop(0, (blocks - first + programs - 1) // programs, body, zeros)
        for k in range(8):
            d_w_ref[k] = d_matrices[k]
            d_b_ref[k] = d_biases[k] if k < 6 else jnp.zeros(c, jnp.float32)

    shapes = [((p, c), geo.dtype), ((p, c), tex.dtype), ((programs, 8, c, c), jnp.float32), ((programs, 8, c), jnp.float32)]
    whole = pl.BlockSpec()
    d_geo, d_tex, d_matrices, d_biases = pl.pallas_call(
        kernel,
        grid=(programs,),
        in_specs=[whole] * 5,
        out_specs=[whole, whole, pl.BlockSpec((None, 8, c, c), lambda i: (i, 0, 0, 0)), pl.BlockSpec((None, 8, c), lambda i: (i, 0, 0))],
        out_shape=[jax.ShapeDtypeStruct(*shape) for shape in shapes],
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="exchange_backward",
    )(geo, tex, matrices, biases, cotangent)
    return d_geo, d_tex, jnp.sum(d_matrices, axis=0), jnp.sum(d_biases, axis=0)
