"""4 x 4 convolutions of stride 2, their transposes and dense layers, with bias and LeakyReLU, as compiled custom calls on a CPU.

XLA's convolutions on CPUs shuffle pixels into blocks, copy them into patches and move everything to other layouts, on one thread each: with
few channels that takes several times as long as the products. These read and write images once.
"""

import functools
import math

import jax
import jax.numpy as jnp

from ava_jax.ops import native

_SIDE = 4
_MIN_PIXELS = 1024  # of a dense layer: for fewer, a call of its own does not pay


def is_supported(x: jax.Array, kernel: jax.Array, *, halve: bool) -> bool:
    """Whether the custom calls take x [B, H, W, C] and kernel [4, 4, C, C'] where JAX computes by default.

    Args:
      x: images.
      kernel: weights.
      halve: for `convolve_down`, which needs even H and W.
    """
    fits = x.ndim == 4 and x.dtype == kernel.dtype == jnp.float32 and kernel.shape[:2] == (_SIDE, _SIDE)
    return fits and not (halve and (x.shape[1] % 2 or x.shape[2] % 2)) and native.serves_convolutions()


def is_dense_supported(x: jax.Array, weight: jax.Array) -> bool:
    """Whether the custom calls take x [..., C] and weight [C, C'] where JAX computes by default."""
    pixels = math.prod(size for size in x.shape[:-1] if isinstance(size, int))  # a batch that an exported program leaves open counts as 1
    return x.dtype == weight.dtype == jnp.float32 and pixels >= _MIN_PIXELS and native.serves_convolutions()


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def dense(x: jax.Array, weight: jax.Array, bias: jax.Array, activate: bool) -> jax.Array:
    """A dense layer: x @ weight + bias, then LeakyReLU(0.2) or not.

    Args:
      x: f32 [..., C].
      weight: f32 [C, C'].
      bias: f32 [C'].
      activate: whether LeakyReLU follows.

    Returns:
      f32 [..., C'].
    """
    return _dense(x, None, weight, bias, activate=activate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve_down(x: jax.Array, kernel: jax.Array, bias: jax.Array, activate: bool) -> jax.Array:
    """4 x 4 convolution of stride 2, one pixel of zeros around, plus bias, then LeakyReLU(0.2) or not.

    y[i] = sum over k of x[2 i - 1 + k] kernel[k] along each axis.

    Args:
      x: f32 [B, H, W, C], H and W even.
      kernel: f32 [4, 4, C, C'].
      bias: f32 [C'].
      activate: whether LeakyReLU follows.

    Returns:
      f32 [B, H / 2, W / 2, C'].
    """
    return _gather(x, None, kernel, bias, activate=activate)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve_up(x: jax.Array, kernel: jax.Array, bias: jax.Array, activate: bool) -> jax.Array:
    """Transposed 4 x 4 convolution of stride 2, padding 1, plus bias, then LeakyReLU(0.2) or not.

    y[2 i - 1 + k] += x[i] kernel[k] along each axis.

    Args:
      x: f32 [B, H, W, C].
      kernel: f32 [4, 4, C, C'].
      bias: f32 [C'].
      activate: whether LeakyReLU follows.

    Returns:
      f32 [B, 2 H, 2 W, C'].
    """
    return _scatter(x, None, kernel, bias, activate=activate)


def _down_forward(x, kernel, bias, activate):
    y = convolve_down(x, kernel, bias, activate)
    return y, (x, kernel, y if activate else None)


def _up_forward(x, kernel, bias, activate):
    y = convolve_up(x, kernel, bias, activate)
    return y, (x, kernel, y if activate else None)


# The gradient of the images is a call by itself: the compiler drops it where nothing learns from it.
def _down_backward(activate, residuals, cotangent):
    del activate
    x, kernel, y = residuals
    return _scatter(cotangent, y, kernel, None, transposed=True), *_correlate(x, cotangent, y, cotangent_is_large=False)


def _up_backward(activate, residuals, cotangent):
    del activate
    x, kernel, y = residuals
    return _gather(cotangent, y, kernel, None, transposed=True), *_correlate(cotangent, x, y, cotangent_is_large=True)


def _dense_forward(x, weight, bias, activate):
    y = dense(x, weight, bias, activate)
    return y, (x, weight, y if activate else None)


def _dense_backward(activate, residuals, cotangent):
    del activate
    x, weight, y = residuals
    results = jax.ShapeDtypeStruct(weight.shape, jnp.float32), jax.ShapeDtypeStruct(weight.shape[1:], jnp.float32)
    call = jax.ffi.ffi_call("ava_dense_gradient", results, vmap_method="sequential")
    return _dense(cotangent, y, weight, None, transposed=True), *call(x, cotangent, _or_none(y))


dense.defvjp(_dense_forward, _dense_backward)
convolve_down.defvjp(_down_forward, _down_backward)
convolve_up.defvjp(_up_forward, _up_backward)


def _or_none(x: jax.Array | None) -> jax.Array:
    """The custom calls take an empty array for what is not there."""
    return jnp.zeros(0, jnp.float32) if x is None else x


def _gather(x, sign, kernel, bias, *, activate=False, transposed=False):
    b, h, w, _ = x.shape
    return _call("gather", (b, h // 2, w // 2), x, sign, kernel, bias, activate, transposed)


def _scatter(x, sign, kernel, bias, *, activate=False, transposed=False):
    b, h, w, _ = x.shape
    return _call("scatter", (b, 2 * h, 2 * w), x, sign, kernel, bias, activate, transposed)


def _call(name, shape, x, sign, kernel, bias, activate, transposed):
    return _affine(f"ava_convolution_{name}", shape, x, sign, kernel, bias, activate, transposed)


def _dense(x, sign, weight, bias, *, activate=False, transposed=False):
    return _affine("ava_dense", x.shape[:-1], x, sign, weight, bias, activate, transposed)


def _affine(name, shape, x, sign, kernel, bias, activate, transposed):
    result = jax.ShapeDtypeStruct((*shape, kernel.shape[-2 if transposed else -1]), jnp.float32)
    call = jax.ffi.ffi_call(name, result, vmap_method="sequential")
    return call(x, _or_none(sign), kernel, _or_none(bias), activate=activate, transposed=transposed)


def _correlate(large, small, sign, *, cotangent_is_large):
    """Gradients of kernel [4, 4, C, C'] and bias [C']. large: [B, 2 H, 2 W, .]; small: [B, H, W, .]; sign: as the cotangent of both."""
    c, out = large.shape[-1], small.shape[-1]
    if cotangent_is_large:
        c, out = out, c
    results = jax.ShapeDtypeStruct((_SIDE, _SIDE, c, out), jnp.float32), jax.ShapeDtypeStruct((out,), jnp.float32)
    call = jax.ffi.ffi_call("ava_convolution_correlate", results, vmap_method="sequential")
    return call(large, small, _or_none(sign), cotangent_is_large=cotangent_is_large)
