"""Taps and combiner of one resolution as one kernel, for images so large that each layer by itself is a pass over memory.

Six layers of 1 x 1 apply to each texel alone: h = tap(x) of geometry and texture, c = to(h) of the other, out = last([h, c]). One by one
they read and write sixteen images; here two are read and two written, and the gradient computes the layers again. Products take bfloat16
and are summed in float32, what a layer passes on is rounded to bfloat16, as with separate layers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.gpu import takes_kernels
from ava_jax.nn.layers import SLOPE

# Fewer channels leave matrix units idle, more do not fit a multiprocessor's registers; for smaller images a kernel does not pay.
CHANNELS = (16, 32)


class _Plan(NamedTuple):
    """How the gradient's work is divided.

    Attributes:
      block: texels that a program holds at a time.
      warps: per program.
      programs: each sums its part of the weights' gradients.
      one_kernel: whether one kernel sums all weights' gradients, or, as registers hold no more, one the first layers' and one the last's.
    """

    block: int
    warps: int
    programs: int
    one_kernel: bool = True


_BLOCK = 64  # texels that the forward kernel holds
# By channels, the fastest of those tried on an H200: two programs per multiprocessor, which hold no more.
_BACKWARD = {16: _Plan(64, 4, 264), 32: _Plan(64, 4, 264, one_kernel=False)}
_ROWS = 16  # of a product at least
_TEXELS = 1 << 15  # of an image at least, in whole blocks


class Weights(NamedTuple):
    """Effective weights of the layers (norms and magnitudes applied).

    Attributes:
      matrices: [8, C, C], in x out: tap of geometry, of texture; to_geo, to_tex; geo's half for its own image and for the other, tex's.
      biases: [8, C]: of the taps, to_geo, to_tex, geo, tex; the last two unused.
    """

    matrices: jax.Array
    biases: jax.Array


class _Texels(NamedTuple):
    """What the layers give, [P, C] each: taps, what each image gets from the other, results."""

    h_geo: jax.Array
    h_tex: jax.Array
    c_geo: jax.Array
    c_tex: jax.Array
    geo: jax.Array
    tex: jax.Array


def is_supported(image: jax.Array) -> bool:
    """Whether images [B, R, R, C] of this type and shape have a kernel."""
    if image.dtype != jnp.bfloat16 or image.shape[-1] not in CHANNELS or not takes_kernels():
        return False
    texels = image.size // image.shape[-1]  # exported programs, which hold no kernels, leave the batch open
    return texels >= _TEXELS and texels % 128 == 0


def fused_combiner(geo: jax.Array, tex: jax.Array, weights: Weights) -> jax.Array:
    """Images [B, R, R, C] in bfloat16 that `is_supported` takes to both results concatenated, geometry first: [B, R, R, 2 C]."""
    c = geo.shape[-1]
    out = _combined(geo.reshape(-1, c), tex.reshape(-1, c), *weights)
    return out.reshape(*geo.shape[:-1], 2 * c)


def _dot(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.dot(x, y, preferred_element_type=jnp.float32)


def _layers(geo: jax.Array, tex: jax.Array, w, b) -> _Texels:
    """All layers of texels [P, C]; w and b give matrix and bias by index: arrays, or a kernel's references."""

    def activated(y, i):
        y = y + b[i].astype(jnp.float32)
        return jnp.where(y >= 0, y, SLOPE * y).astype(geo.dtype)

    h_geo, h_tex = activated(_dot(geo, w[0]), 0), activated(_dot(tex, w[1]), 1)
    c_geo, c_tex = activated(_dot(h_tex, w[2]), 2), activated(_dot(h_geo, w[3]), 3)
    out_geo = activated(_dot(h_geo, w[4]) + _dot(c_geo, w[5]), 4)
    return _Texels(h_geo, h_tex, c_geo, c_tex, out_geo, activated(_dot(h_tex, w[6]) + _dot(c_tex, w[7]), 5))


def _gradients_plain(geo, tex, x: _Texels, w, d_geo, d_tex) -> tuple[tuple, tuple, tuple]:
    """Gradients by the images, by the matrices and by the biases of these texels, from those by the results, [P, C] each."""

    def leaky_gradient(d, y):
        return jnp.where(y >= 0, d, SLOPE * d).astype(y.dtype)

    d_geo, d_tex = leaky_gradient(d_geo, x.geo), leaky_gradient(d_tex, x.tex)
    d_c_geo, d_c_tex = leaky_gradient(_dot(d_geo, w[5].T), x.c_geo), leaky_gradient(_dot(d_tex, w[7].T), x.c_tex)
    d_h_geo = leaky_gradient(_dot(d_geo, w[4].T) + _dot(d_c_tex, w[3].T), x.h_geo)
    d_h_tex = leaky_gradient(_dot(d_tex, w[6].T) + _dot(d_c_geo, w[2].T), x.h_tex)
    inputs = (geo, tex, x.h_tex, x.h_geo, x.h_geo, x.c_geo, x.h_tex, x.c_tex)
    given = (d_h_geo, d_h_tex, d_c_geo, d_c_tex, d_geo, d_geo, d_tex, d_tex)
    matrices = tuple(_dot(y.T, d) for y, d in zip(inputs, given))
    biases = tuple(jnp.sum(d.astype(jnp.float32), axis=0) for d in (d_h_geo, d_h_tex, d_c_geo, d_c_tex, d_geo, d_tex))
    return (_dot(d_h_geo, w[0].T).astype(geo.dtype), _dot(d_h_tex, w[1].T).astype(tex.dtype)), matrices, biases


@jax.custom_vjp
def _combined(geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array) -> jax.Array:
    """Texels [P, C] of both images to [P, 2 C]."""
    args = geo, tex, matrices.astype(geo.dtype), biases
    return lax.platform_dependent(*args, cuda=forward_kernel, default=_forward_plain)


def _forward(geo, tex, matrices, biases):
    return _combined(geo, tex, matrices, biases), (geo, tex, matrices, biases)


def _backward(residuals, cotangent):
    geo, tex, matrices, biases = residuals
    args = geo, tex, matrices.astype(geo.dtype), biases, cotangent
    return lax.platform_dependent(*args, cuda=backward_kernel, default=_backward_plain)


_combined.defvjp(_forward, _backward)


def _forward_plain(geo, tex, matrices, biases):
    x = _layers(geo, tex, matrices, biases)
    return jnp.concatenate([x.geo, x.tex], axis=-1)


def _backward_plain(geo, tex, matrices, biases, cotangent):
    x = _layers(geo, tex, matrices, biases)
    images, d_matrices, d_biases = _gradients_plain(geo, tex, x, matrices, *jnp.split(cotangent, 2, axis=-1))
    return *images, jnp.stack(d_matrices), jnp.pad(jnp.stack(d_biases), ((0, 2), (0, 0)))


def _paired(matrices: jax.Array) -> jax.Array:
    """The eight matrices [8, C, C] as four of both images' channels, [4, 2 C, 2 C]: taps, to_geo and to_tex, own halves, other halves.

    Half of each is zeros; matrix units have time for these, and half as many products wait for each other.
    """
    m, zeros = matrices, jnp.zeros_like(matrices[0])
    four = (
        ((m[0], zeros), (zeros, m[1])),
        ((zeros, m[3]), (m[2], zeros)),
        ((m[4], zeros), (zeros, m[6])),
        ((m[5], zeros), (zeros, m[7])),
    )
    return jnp.stack([jnp.block([list(row) for row in rows]) for rows in four])


def _unpaired(four: jax.Array) -> jax.Array:
    """The inverse of `_paired`."""
    c = four.shape[-1] // 2
    geo, tex = slice(0, c), slice(c, None)
    blocks = ((0, geo, geo), (0, tex, tex), (1, tex, geo), (1, geo, tex), (2, geo, geo), (3, geo, geo), (2, tex, tex), (3, tex, tex))
    return jnp.stack([four[block] for block in blocks])


def _activated(y, bias, dtype):
    y = y + bias
    return jnp.where(y >= 0, y, SLOPE * y).astype(dtype)


def _paired_layers(x, w, b):
    """Taps, what each image gets from the other, results, of texels of both images [P, 2 C]; w and b as the kernels read them."""
    h = _activated(_dot(x, w[0]), b[0], x.dtype)
    c = _activated(_dot(h, w[1]), b[1], x.dtype)
    return h, c, _activated(_dot(h, w[2]) + _dot(c, w[3]), b[2], x.dtype)


def _load_both(geo_ref, tex_ref, rows):
    """Rows of both images, channels concatenated: [P, 2 C]."""
    from jax.experimental.pallas import triton

    at, is_geo = _columns(geo_ref.shape[1], rows)
    # Where one is read the other is 0.
    geo = triton.load(geo_ref.at[at], mask=is_geo, other=0.0)
    return geo + triton.load(tex_ref.at[at], mask=~is_geo, other=0.0)


def _columns(c, rows):
    """Of the concatenated channels: row and column in their image, [P, 2 C] each, and whether that is geometry's."""
    column = jnp.arange(2 * c, dtype=jnp.int32)[None]
    shape = len(rows), 2 * c
    at = jnp.broadcast_to(rows[:, None], shape), jnp.broadcast_to(lax.rem(column, c), shape)
    return at, jnp.broadcast_to(column < c, shape)


def forward_kernel(geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array, *, interpret: bool = False) -> jax.Array:
    """The layers on a GPU: texels [P, C] of both images to [P, 2 C]; `interpret`: on any device, slowly.

    Arguments as for `_combined`, matrices of the images' type.
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
        name="fused_combiner_forward",
    )(geo, tex, matrices, biases)


def backward_kernel(
    geo: jax.Array, tex: jax.Array, matrices: jax.Array, biases: jax.Array, cotangent: jax.Array, *, interpret: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Gradients by the four arguments of `_combined` on a GPU, from those by its result [P, 2 C]; `interpret`: on any device, slowly."""
    c = geo.shape[1]
    args = geo, tex, _paired(matrices), biases.reshape(4, 2 * c), cotangent
    if _BACKWARD[c].one_kernel:
        d_geo, d_tex, d_matrices, d_biases = _gradients(args, True, True, interpret)
    else:
        d_geo, d_tex, *early = _gradients(args, True, False, interpret)
        late = _gradients(args, False, True, interpret)
        d_matrices, d_biases = (jnp.concatenate(pair) for pair in zip(early, late))
    return d_geo, d_tex, _unpaired(d_matrices), jnp.pad(d_biases.reshape(6, c), ((0, 2), (0, 0)))


def _gradients(args: tuple, early: bool, late: bool, interpret: bool) -> list[jax.Array]:
    """Gradients by the arguments of `backward_kernel`, matrices and biases paired.

    By both images, where `early`; then by matrices, f32 [2, 2 C, 2 C] of taps, to_geo and to_tex where `early`, and as many of the last
    layers where `late`; by biases, likewise, [2, 2 C] and [1, 2 C].
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    p, c = args[0].shape
    plan = _BACKWARD[c]
    blocks = pl.cdiv(p, plan.block)
    programs = min(plan.programs, blocks)
    products, sums = 2 * early + 2 * late, 2 * early + late

    def leaky_gradient(d, y):
        return jnp.where(y >= 0, d, SLOPE * d).astype(y.dtype)

    def kernel(geo_ref, tex_ref, w, b, d_ref, *outs):
        *images, d_w_ref, d_b_ref = outs
        first, ones = pl.program_id(0), jnp.ones((_ROWS, plan.block), args[0].dtype)

        def body(i, totals):
            start = (first + i * programs) * plan.block
            rows = start + jnp.arange(plan.block, dtype=jnp.int32)
            x = _load_both(geo_ref, tex_ref, rows)
            h, other, out = _paired_layers(x, w, b)
            d = leaky_gradient(d_ref[pl.ds(start, plan.block), :], out)
            given, pairs = [d], [(h, d), (other, d)]
            if early:
                d_other = leaky_gradient(_dot(d, w[3].T), other)
                d_h = leaky_gradient(_dot(d, w[2].T) + _dot(d_other, w[1].T), h)
                _store_both(*images, rows, _dot(d_h, w[0].T).astype(x.dtype), interpret)
                given, pairs = [d_h, d_other, *given[:late]], [(x, d_h), (h, d_other), *pairs[: 2 * late]]
            # A sum over rows would have warps wait for each other, a product does not.
            found = [_dot(y.T, g) for y, g in pairs], [_dot(ones, g) for g in given]
            return jax.tree.map(jnp.add, totals, found)

        zeros = [jnp.zeros((2 * c, 2 * c), jnp.float32)] * products, [jnp.zeros((_ROWS, 2 * c), jnp.float32)] * sums
        d_matrices, d_biases = lax.fori_loop(0, (blocks - first + programs - 1) // programs, body, zeros)
        for k, total in enumerate(d_matrices):
            d_w_ref[k] = total
        for k, total in enumerate(d_biases):
            d_b_ref[k] = jnp.sum(total, axis=0) / _ROWS

    whole, extra = pl.BlockSpec(), 1 if interpret else 0
    images = [jax.ShapeDtypeStruct((p + extra, c), args[0].dtype)] * (2 * early)
    parts = (products, 2 * c, 2 * c), (sums, 2 * c)
    out = pl.pallas_call(
        kernel,
        grid=(programs,),
        in_specs=[whole] * 5,
        out_specs=[whole] * len(images) + [pl.BlockSpec((None, *s), lambda i, n=len(s): (i,) + (0,) * n) for s in parts],
        out_shape=images + [jax.ShapeDtypeStruct((programs, *s), jnp.float32) for s in parts],
        compiler_params=triton.CompilerParams(num_warps=plan.warps, num_stages=1),
        interpret=interpret,
        name="fused_combiner_backward",
    )(*args)
    return [x[:p] for x in out[:-2]] + [jnp.sum(x, axis=0) for x in out[-2:]]


def _store_both(geo_ref, tex_ref, rows, value, interpret):
    """Writes rows of both images, channels concatenated, [P, 2 C], to each."""
    from jax.experimental.pallas import triton

    at, is_geo = _columns(geo_ref.shape[1], rows)
    for ref, mask in ((geo_ref, is_geo), (tex_ref, ~is_geo)):
        # Pallas' interpreter writes what is masked, too: to a row added for it.
        row = jnp.where(mask, at[0], len(ref) - 1) if interpret else at[0]
        triton.store(ref.at[row, at[1]], value, mask=mask)
