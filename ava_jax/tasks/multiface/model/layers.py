"""Layers of the texture networks: blocks that halve and double a picture, with a residual convolution after each where the arch has them.

Source: Deep Appearance Models for Face Rendering, 2018, and the multiface data set's networks, 2022.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn.conv import convolve_same
from ava_jax.nn.layers import WNConv3x3, WNConvDown, WNConvUp, leaky_relu, xavier_uniform

ARCHS = ("base", "res", "non", "bilinear", "warp")


class Down(nnx.Module):
    """4 x 4 convolution of stride 2; of `res`, a residual 3 x 3 convolution after it."""

    def __init__(self, d_in: int, d_out: int, *, arch: str, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.layer = WNConvDown(d_in, d_out, dtype=dtype, rngs=rngs)
        self.residual = WNConv3x3(d_out, d_out, activate=False, dtype=dtype, rngs=rngs) if arch == "res" else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, S, C] to [B, S / 2, S / 2, C']."""
        return _with_residual(self.residual, self.layer(x))


class Up(nnx.Module):
    """Twice the side, with a bias per texel on top of the layer's own; of `res`, a residual 3 x 3 convolution after it.

    `bilinear` repeats each texel (nearest, as published, whatever its name says) before a 3 x 3 convolution; all others have a transposed
    4 x 4 convolution of stride 2. `non` has a bias per channel in place of that per texel.
    """

    def __init__(self, d_in: int, d_out: int, side: int, *, arch: str, activate: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        """`side`: of the result."""
        layer = WNConv3x3 if arch == "bilinear" else WNConvUp
        self.layer = layer(d_in, d_out, activate=activate, dtype=dtype, rngs=rngs)
        self.texel_bias = nnx.Param(jnp.zeros((1, 1, d_out) if arch == "non" else (side, side, d_out)))
        self.residual = WNConv3x3(d_out, d_out, activate=False, dtype=dtype, rngs=rngs) if arch == "res" else None
        self.repeats, self.activate = arch == "bilinear", activate

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, S, S, C] to [B, 2 S, 2 S, C']."""
        if self.repeats:
            b, s, _, c = x.shape
            x = jnp.broadcast_to(x[:, :, None, :, None], (b, s, 2, s, 2, c)).reshape(b, 2 * s, 2 * s, c)
        y = self.layer(x, activate=False)
        y = (y.astype(jnp.float32) + self.texel_bias[...]).astype(y.dtype)
        return _with_residual(self.residual, leaky_relu(y) if self.activate else y, activate=self.activate)


def _with_residual(residual: WNConv3x3 | None, h: jax.Array, *, activate: bool = True) -> jax.Array:
    if residual is None:
        return h
    h = residual(h) + h
    return leaky_relu(h) if activate else h


class PlainConv3x3(nnx.Module):
    """3 x 3 convolution that keeps the size, without weight normalisation or activation, float32."""

    def __init__(self, d_in: int, d_out: int, *, rngs: nnx.Rngs):
        self.weight = nnx.Param(xavier_uniform(rngs.params(), (3, 3, d_in, d_out), 9, activated=False))
        self.bias = nnx.Param(jnp.zeros(d_out))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] to [B, H, W, C']."""
        return convolve_same(x, self.weight[...]) + self.bias[...]
