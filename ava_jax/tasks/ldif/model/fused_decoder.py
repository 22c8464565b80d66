"""The decoder in training as GPU kernels that keep nothing between its layers.

Plain, each of the decoder's ten intermediates, 32 numbers per pair of element and point, goes to memory and back, with little arithmetic
between. Here a program takes an element, goes through its points in tiles, and computes all layers of a tile in registers. As a
normalisation needs its statistics before the next layer, the forward pass is three of these, each from the points on; the backward pass is
one more. Kernels are written in Pallas and compiled by Triton; `interpret` runs them on any platform, for tests.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

TILE = 64  # points
_WARPS = 4


class Layers(NamedTuple):
    """What does not differ between elements: f32 [3, C], [C], [C, C], [C], [C, C], [C], [C], [1]."""

    first: jax.Array
    first_bias: jax.Array
    dense1: jax.Array
    bias1: jax.Array
    dense2: jax.Array
    bias2: jax.Array
    last: jax.Array
    last_bias: jax.Array


class Affine(NamedTuple):
    """What a normalisation does to an element's channels: x * scale + shift, f32 [R, C] each."""

    scale: jax.Array
    shift: jax.Array


def fits(points: int, width: int) -> bool:
    """Whether the kernels take so many points per element, and layers so wide."""
    return points % TILE == 0 and points > 0 and width in (16, 32, 64)


def moments(layers: Layers, norms: tuple[Affine, ...], local: jax.Array, *, interpret: bool = False) -> tuple[jax.Array, jax.Array]:
    """Means and mean squares, over points and channels, of what the next normalisation reads: [R] each; without gradients.

    Args:
      layers: weights.
      norms: those that are known: one, or two.
      local: f32 [R, 3, P], points in the elements' frames.
      interpret: see the module.
    """
    rows, _, points = local.shape
    kernel = functools.partial(_moments_kernel, count=len(norms), tiles=points // TILE)
    layers, norms, local = jax.lax.stop_gradient((layers, norms, local))
    operands = [*layers[:6], *(array for norm in norms for array in norm), local]
    sums = _call(kernel, operands, 2 * len(norms) + 1, [jax.ShapeDtypeStruct((rows, 2, layers.dense1.shape[0]), jnp.float32)], interpret)[0]
    mean = jnp.sum(sums, axis=-1) / (points * layers.dense1.shape[0])
    return mean[:, 0], mean[:, 1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def details(layers: Layers, norms: tuple[Affine, Affine, Affine], local: jax.Array, interpret: bool = False) -> jax.Array:
    """What the elements' details are at points [R, 3, P]: f32 [R, P]; differentiable in all arrays."""
    rows, _, points = local.shape
    kernel = functools.partial(_details_kernel, tiles=points // TILE)
    operands = [*layers, *(array for norm in norms for array in norm), local]
    return _call(kernel, operands, 7, [jax.ShapeDtypeStruct((rows, points), jnp.float32)], interpret)[0]


def _details_forward(layers, norms, local, interpret):
    return details(layers, norms, local, interpret), (layers, norms, local)


def _details_backward(interpret, kept, cotangent):
    layers, norms, local = kept
    rows, _, points = local.shape
    width = layers.dense1.shape[0]
    kernel = functools.partial(_backward_kernel, tiles=points // TILE)
    operands = [*layers, *(array for norm in norms for array in norm), local, cotangent]
    vector, matrix = jax.ShapeDtypeStruct((rows, width), jnp.float32), jax.ShapeDtypeStruct((rows, width, width), jnp.float32)
    # By element: local, first's rows, biases 0 to 2, last, matrices 1 and 2, scales and shifts.
    out = [jax.ShapeDtypeStruct(local.shape, jnp.float32), *[vector] * 7, *[matrix] * 2, *[vector] * 6]
    by_local, x, y, z, bias0, bias1, bias2, last, dense1, dense2, *affine = _call(kernel, operands, 8, out, interpret)
    total = functools.partial(jnp.sum, axis=0)
    by_layers = Layers(
        jnp.stack([total(x), total(y), total(z)]), total(bias0), total(dense1), total(bias1), total(dense2), total(bias2), total(last),
        jnp.sum(cotangent)[None],
    )  # fmt: skip
    return by_layers, tuple(Affine(*affine[2 * i : 2 * i + 2]) for i in range(3)), by_local


details.defvjp(_details_forward, _details_backward)


def _call(kernel: Any, operands: list[jax.Array], by_row: int, out: list[jax.ShapeDtypeStruct], interpret: bool) -> list[jax.Array]:
    """A program per row of the last `by_row` operands and of the results; the others are whole in each."""

    def whole(array):
        return pl.BlockSpec(array.shape, lambda row: (0,) * array.ndim)

    def row(array):
        return pl.BlockSpec((1, *array.shape[1:]), lambda row: (row, *(0,) * (len(array.shape) - 1)))

    shared = len(operands) - by_row
    specs = [whole(array) for array in operands[:shared]] + [row(array) for array in operands[shared:]]
    rows = operands[-1].shape[0]
    call = pl.pallas_call(
        kernel,
        out,
        grid=(rows,),
        in_specs=specs,
        out_specs=[row(a) for a in out],
        interpret=interpret,
        compiler_params=triton.CompilerParams(num_warps=_WARPS, num_stages=1),
    )
    return call(*operands)


def _product(a: jax.Array, b: jax.Array, *, trans_a: bool = False, trans_b: bool = False) -> jax.Array:
    """Product of two matrices, either transposed on request; in TF32 on GPUs."""
    contracted = ((0 if trans_a else 1,), (1 if trans_b else 0,))
    return jax.lax.dot_general(a, b, (contracted, ((), ())), precision=jax.lax.Precision.HIGH, preferred_element_type=jnp.float32)


def _places(local, at):
    """Coordinates of a tile's points, [T, 1] each."""
    return [local[0, k, pl.ds(at * TILE, TILE)][:, None] for k in range(3)]


def _skip(places, first, bias, scale, shift):
    """The first layer's values, and normalised."""
    x = sum(place * first[k, :][None] for k, place in enumerate(places)) + bias[...][None]
    return x, x * scale[0, :][None] + shift[0, :][None]


def _layer(x, weight, bias):
    return _product(jnp.maximum(x, 0.0), weight[...]) + bias[...][None]


def _moments_kernel(first, bias0, dense1, bias1, dense2, bias2, *rest, count, tiles):
    *affine, local, out = rest
    width = dense1.shape[0]

    def tile(at, sums):
        _, skip = _skip(_places(local, at), first, bias0, affine[0], affine[1])
        x = _layer(skip, dense1, bias1)
        if count == 2:
            x = skip + _layer(x * affine[2][0, :][None] + affine[3][0, :][None], dense2, bias2)
        return sums[0] + jnp.sum(x, axis=0), sums[1] + jnp.sum(x * x, axis=0)

    zero = jnp.zeros(width, jnp.float32)
    total, squares = jax.lax.fori_loop(0, tiles, tile, (zero, zero))
    out[0, 0, :], out[0, 1, :] = total, squares


def _details_kernel(first, bias0, dense1, bias1, dense2, bias2, last, last_bias, s1, t1, s2, t2, s3, t3, local, out, *, tiles):
    gain = s3[0, :] * last[...]  # the last normalisation and the last layer are one sum over channels
    rest = jnp.sum(t3[0, :] * last[...]) + jnp.sum(last_bias[...])

    def tile(at, _):
        _, skip = _skip(_places(local, at), first, bias0, s1, t1)
        x = _layer(skip, dense1, bias1) * s2[0, :][None] + t2[0, :][None]
        x = skip + _layer(x, dense2, bias2)
        out[0, pl.ds(at * TILE, TILE)] = jnp.sum(x * gain[None], axis=1) + rest
        return 0

    jax.lax.fori_loop(0, tiles, tile, 0)


def _backward_kernel(first, bias0, dense1, bias1, dense2, bias2, last, last_bias, s1, t1, s2, t2, s3, t3, local, cotangent, *out, tiles):
    del last_bias
    by_local, sums, by_dense1, by_dense2, affine = out[0], out[1:8], out[8], out[9], out[10:]
    width = dense1.shape[0]

    def tile(at, found):
        vectors, d1, d2 = found
        places = _places(local, at)
        x0, skip = _skip(places, first, bias0, s1, t1)
        h0 = jnp.maximum(skip, 0.0)
        x1 = _product(h0, dense1[...]) + bias1[...][None]
        n1 = x1 * s2[0, :][None] + t2[0, :][None]
        h1 = jnp.maximum(n1, 0.0)
        x2 = skip + _product(h1, dense2[...]) + bias2[...][None]
        at_out = cotangent[0, pl.ds(at * TILE, TILE)][:, None]
        by_n2 = at_out * last[...][None]
        by_x2 = by_n2 * s3[0, :][None]
        by_n1 = jnp.where(n1 > 0, _product(by_x2, dense2[...], trans_b=True), 0.0)
        by_x1 = by_n1 * s2[0, :][None]
        by_skip = by_x2 + jnp.where(skip > 0, _product(by_x1, dense1[...], trans_b=True), 0.0)
        by_x0 = by_skip * s1[0, :][None]
        for k in range(3):
            by_local[0, k, pl.ds(at * TILE, TILE)] = jnp.sum(by_x0 * first[k, :][None], axis=1)
        n2 = x2 * s3[0, :][None] + t3[0, :][None]
        now = [place * by_x0 for place in places] + [by_x0, by_x1, by_x2, at_out * n2]
        now += [by_skip * x0, by_skip, by_n1 * x1, by_n1, by_n2 * x2, by_n2]
        vectors = tuple(a + jnp.sum(b, axis=0) for a, b in zip(vectors, now))
        return vectors, d1 + _product(h0, by_x1, trans_a=True), d2 + _product(h1, by_x2, trans_a=True)

    zero, square = jnp.zeros(width, jnp.float32), jnp.zeros((width, width), jnp.float32)
    vectors, d1, d2 = jax.lax.fori_loop(0, tiles, tile, ((zero,) * 13, square, square))
    for to, value in zip((*sums, *affine), vectors, strict=True):
        to[0, :] = value
    by_dense1[0, :, :], by_dense2[0, :, :] = d1, d2
