"""Weight-normalised layers, each followed by LeakyReLU(0.2) unless it is a network's last.

y = f(x, weight * magnitude / ||weight||) + bias, with *one* norm over the whole tensor and a magnitude per output channel. (The usual
weight normalisation takes a norm per channel.) Plain layers, without the normalisation, start alike.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn import conv

SLOPE = 0.2
_PIECE = 1 << 16


def leaky_relu(x: jax.Array) -> jax.Array:
    """x where positive, else 0.2 x; any shape."""
    return jax.nn.leaky_relu(x, SLOPE)


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


class _WeightNormed(nnx.Module):
    """The parameters of a weight-normalised layer; a subclass says what is done with them."""

    def __init__(self, weight: jax.Array, activate: bool):
        self.weight = nnx.Param(weight)  # [..., in, out]
        self.magnitude = nnx.Param(jnp.full(weight.shape[-1], jnp.linalg.norm(weight)))
        self.bias = nnx.Param(jnp.zeros(weight.shape[-1]))
        self.activate = activate

    def _apply(self, x: jax.Array, weight: jax.Array) -> jax.Array:
        raise NotImplementedError

    def preactivation(self, x: jax.Array) -> jax.Array:
        weight = self.weight[...]
        norm = jnp.sqrt(jnp.sum(weight * weight))
        return self._apply(x, weight * (self.magnitude[...] / norm)) + self.bias[...]

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.preactivation(x)
        return leaky_relu(y) if self.activate else y


class WNDense(_WeightNormed):
    """Dense layer on the last axis; on an image, a 1 x 1 convolution."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (d_in, d_out), 1, activate), activate)

    def _apply(self, x, weight):
        return x @ weight


class WNConv3x3(_WeightNormed):
    """3 x 3 convolution that keeps the size."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (3, 3, d_in, d_out), 9, activate), activate)

    def _apply(self, x, weight):
        return conv.convolve_same(x, weight)


class WNHalve(_WeightNormed):
    """4 x 4 convolution of stride 2: [B, H, W, C] to [B, H / 2, W / 2, C']."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, rngs: nnx.Rngs):
        super().__init__(xavier_uniform(rngs.params(), (4, 4, d_in, d_out), 16, activate), activate)

    def _apply(self, x, weight):
        return conv.halve_4x4(x, weight)


class WNDouble(_WeightNormed):
    """Transposed 4 x 4 convolution of stride 2: [B, H, W, C] to [B, 2 H, 2 W, C'].

    Its four 2 x 2 phases start equal, so that the first outputs show no checkerboard.
    """

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, rngs: nnx.Rngs):
        phase = xavier_uniform(rngs.params(), (2, 1, 2, 1, d_in, d_out), 4, activate)
        super().__init__(jnp.broadcast_to(phase, (2, 2, 2, 2, d_in, d_out)).reshape(4, 4, d_in, d_out), activate)

    def _apply(self, x, weight):
        return conv.double_4x4(x, weight)


class Dense(nnx.Module):
    """Plain dense layer on the last axis, followed by LeakyReLU unless `activate` is False."""

    def __init__(self, d_in: int, d_out: int, *, activate: bool = True, rngs: nnx.Rngs):
        self.weight = nnx.Param(xavier_uniform(rngs.params(), (d_in, d_out), 1, activate))
        self.bias = nnx.Param(jnp.zeros(d_out))
        self.activate = activate

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x @ self.weight[...] + self.bias[...]
        return leaky_relu(y) if self.activate else y
