"""Weight-normalised layers, each followed by LeakyReLU(0.2) unless it is a network's last.

y = f(x, weight * magnitude / ||weight||) + bias, with *one* norm over the whole tensor and a magnitude per output channel. (The usual
weight normalisation takes a norm per channel.) Plain layers, without the normalisation, start the same way.

A layer's `dtype` is that of its products and of what it gives; weights, norms, biases and sums are float32.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn import conv, convolve
from ava_jax.ops import convolution

SLOPE = convolve.SLOPE
_PIECE = 1 << 16


@jax.custom_vjp
def leaky_relu(x: jax.Array) -> jax.Array:
    """`x` where positive, else 0.2 x; any shape."""
    return jnp.where(x >= 0, x, SLOPE * x)


def _leaky_forward(x):
    y = leaky_relu(x)
    return y, y  # of the same sign as x, and kept anyway by the layer that reads it


def _leaky_backward(y, cotangent):
    return (jnp.where(y >= 0, cotangent, SLOPE * cotangent),)


leaky_relu.defvjp(_leaky_forward, _leaky_backward)


def xavier_uniform(key: jax.Array, shape: tuple[int, ...], area: float, activated: bool) -> jax.Array:
    """Uniform of standard deviation gain * sqrt(2 / ((in + out) * area)).

    Args:
      shape: [..., in, out].
      area: how many taps reach an output.
      activated: whether LeakyReLU follows: gain sqrt(2 / (1 + slope^2)), else 1.
    """
    gain = math.sqrt(2.0 / (1.0 + SLOPE**2)) if activated else 1.0
    limit = math.sqrt(3.0) * gain * math.sqrt(2.0 / ((shape[-2] + shape[-1]) * area))
    # Drawn in pieces of one size: the generator takes half a second to compile for each new shape, and a model has fifty.
    size = math.prod(shape)
    keys = jax.random.split(key, -(-size // _PIECE)) if size > _PIECE else [key]
    pieces = [jax.random.uniform(k, (_PIECE,), jnp.float32, -limit, limit) for k in keys]
    flat = jnp.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    return flat[:size].reshape(shape)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def add_bias(y: jax.Array, bias: jax.Array, activate: bool) -> jax.Array:
    """`y` [..., C] plus float32 bias [C], then LeakyReLU or not: of y's type, computed in float32, as is the bias's gradient."""
    x = y.astype(jnp.float32) + bias
    return (leaky_relu(x) if activate else x).astype(y.dtype)


def _bias_forward(y, bias, activate):
    out = add_bias(y, bias, activate)
    return out, out if activate else None


def _bias_backward(activate, out, cotangent):
    d_x = cotangent.astype(jnp.float32)
    d_x = jnp.where(out >= 0, d_x, SLOPE * d_x) if activate else d_x
    return d_x.astype(cotangent.dtype), jnp.sum(d_x, axis=tuple(range(d_x.ndim - 1)))


add_bias.defvjp(_bias_forward, _bias_backward)


def affine(x: jax.Array, weight: jax.Array, bias: jax.Array, activate: bool) -> jax.Array:
    """Images or rows x [..., C] times float32 weight [C, C'], plus float32 bias [C'], then LeakyReLU or not: [..., C'], of x's type."""
    if convolution.is_dense_supported(x, weight):
        return convolution.dense(x, weight, bias, activate)
    return add_bias(x @ weight.astype(x.dtype), bias, activate)


class _WeightNormed(nnx.Module):
    """The parameters of a weight-normalised layer; a subclass applies them."""

    def __init__(self, weight: jax.Array, activate: bool, dtype: jnp.dtype):
        self.weight = nnx.Param(weight)  # [..., in, out]
        self.magnitude = nnx.Param(jnp.full(weight.shape[-1], jnp.linalg.norm(weight)))
        self.bias = nnx.Param(jnp.zeros(weight.shape[-1]))
        self.activate = activate
        self.dtype = dtype

    def _apply(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        raise NotImplementedError

    def effective_weight(self) -> jax.Array:
        """The weight with norm and magnitude applied, [..., in, out]."""
        weight = self.weight[...]
        norm = jnp.sqrt(jnp.sum(weight * weight))
        return weight * (self.magnitude[...] / norm)

    def __call__(self, x: jax.Array, *, activate: bool | None = None) -> jax.Array:
        """[..., in] to [..., out]. `activate`: instead of the layer's own."""
        y = self._apply(x.astype(self.dtype), self.effective_weight())
        return add_bias(y, self.bias[...], self.activate if activate is None else activate)


class WNDense(_WeightNormed):
    """Dense layer on the last axis; on an image, a 1 x 1 convolution."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (d_in, d_out), 1, activate), activate, dtype)

    def _apply(self, x, weight):
        return x @ weight.astype(x.dtype)

    def __call__(self, x: jax.Array, *, activate: bool | None = None) -> jax.Array:
        """[..., in] to [..., out]. `activate`: instead of the layer's own."""
        activate = self.activate if activate is None else activate
        return affine(x.astype(self.dtype), self.effective_weight(), self.bias[...], activate)


class WNConv3x3(_WeightNormed):
    """3 x 3 convolution that keeps the size."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (3, 3, d_in, d_out), 9, activate), activate, dtype)

    def _apply(self, x, weight):
        return conv.convolve_same(x, weight)


class WNConvDown(_WeightNormed):
    """4 x 4 convolution of stride 2: [B, H, W, C] to [B, H / 2, W / 2, C']."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (4, 4, d_in, d_out), 16, activate), activate, dtype)

    def _apply(self, x, weight):
        return conv.conv_down_4x4(x, weight)

    def __call__(self, x: jax.Array, *, activate: bool | None = None) -> jax.Array:
        """[B, H, W, C] to [B, H / 2, W / 2, C']. `activate`: instead of the layer's own."""
        activate = self.activate if activate is None else activate
        x, weight = x.astype(self.dtype), self.effective_weight()
        if convolution.is_supported(x, weight, halve=True):
            return convolution.convolve_down(x, weight, self.bias[...], activate)
        blocks, kernel = conv.conv_as_blocks(x, weight)
        if activate and convolve.is_supported(blocks, kernel):
            return conv.convolve_2x2_activated(blocks, kernel, self.bias[...])
        return add_bias(conv.convolve_2x2(blocks, kernel), self.bias[...], activate)


class WNConvUp(_WeightNormed):
    """Transposed 4 x 4 convolution of stride 2: [B, H, W, C] to [B, 2 H, 2 W, C'].

    Its four 2 x 2 phases, one for each pixel of a block, start equal, so that the first outputs show no checkerboard.
    """

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        phase = xavier_uniform(rngs.params(), (2, 1, 2, 1, d_in, d_out), 4, activate)
        super().__init__(jnp.broadcast_to(phase, (2, 2, 2, 2, d_in, d_out)).reshape(4, 4, d_in, d_out), activate, dtype)

    def _apply(self, x, weight):
        return conv.conv_up_4x4(x, weight)

    def __call__(self, x: jax.Array, *, activate: bool | None = None) -> jax.Array:
        """[B, H, W, C] to [B, 2 H, 2 W, C']. `activate`: instead of the layer's own."""
        activate = self.activate if activate is None else activate
        x, weight = x.astype(self.dtype), self.effective_weight()
        if convolution.is_supported(x, weight, halve=False):
            return convolution.convolve_up(x, weight, self.bias[...], activate)
        return add_bias(self._apply(x, weight), self.bias[...], activate)

    def blocks(self, x: jax.Array) -> jax.Array:
        """`conv.conv_up_blocks`, without the bias: [B, H, W, C] to [B, H + 1, W + 1, 4 C']."""
        return conv.conv_up_blocks(x.astype(self.dtype), self.effective_weight())


class Dense(nnx.Module):
    """Plain dense layer on the last axis, followed by LeakyReLU unless `activate` is False."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        self.weight = nnx.Param(xavier_uniform(rngs.params(), (d_in, d_out), 1, activate))
        self.bias = nnx.Param(jnp.zeros(d_out))
        self.activate = activate
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., in] to [..., out]."""
        return affine(x.astype(self.dtype), self.weight[...], self.bias[...], self.activate)
