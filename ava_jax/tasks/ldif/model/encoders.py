"""Networks that look at images: ResNet-50 v2 over twenty depth images, one of half as many layers, and a small convolutional network.

Sources: He et al., Identity Mappings in Deep Residual Networks, 2016, as TF-slim's v2-50 has it (the last unit of a block strides; layers
without a norm have biases); Genova et al., Learning Shape Templates, 2019, for the small one.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.nn.batch_norm import BatchNorm

SIDE = 137  # of the images that networks see
_BLOCKS = ((64, 2), (128, 2), (256, 2), (512, 1))  # width, stride of the last unit
RESNETS = {"resnet50": (3, 4, 6, 3), "resnet26": (2, 2, 2, 2)}  # units of each block
_MOMENTUM = 0.003
_LEAK = 0.2


def resized(depth: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Images [V, H, H] brought to `side` as published: bilinear, corners on corners, background blended in: f32 [side, side, V]."""
    size = depth.shape[1]
    place = np.arange(side) * ((size - 1) / (side - 1))
    low = np.minimum(place.astype(int), size - 2)
    weights = np.zeros((side, size), np.float32)
    weights[np.arange(side), low] = 1 - (place - low)
    weights[np.arange(side), low + 1] = place - low
    return np.einsum("ih,vhw,jw->ijv", weights, depth, weights, optimize=True).astype(np.float32)


class _Unit(nnx.Module):
    """A bottleneck: norms and ReLUs before its convolutions."""

    def __init__(self, channels: int, width: int, stride: int, *, dtype: Any, rngs: nnx.Rngs):
        out, own = 4 * width, {"dtype": dtype, "rngs": rngs}
        one = {"use_bias": False, **own}
        self.stride, self.same = stride, channels == out
        self.first = BatchNorm(channels, momentum=_MOMENTUM)
        self.shortcut = None if self.same else nnx.Conv(channels, out, (1, 1), strides=stride, **own)
        self.reduce, self.norm1 = nnx.Conv(channels, width, (1, 1), **one), BatchNorm(width, momentum=_MOMENTUM)
        self.middle = nnx.Conv(width, width, (3, 3), strides=stride, padding=1, **one)
        self.norm2 = BatchNorm(width, momentum=_MOMENTUM)
        self.expand = nnx.Conv(width, out, (1, 1), **own)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        before = jax.nn.relu(self.first(x, train=train))
        shortcut = x[:, :: self.stride, :: self.stride] if self.same else self.shortcut(before)
        y = jax.nn.relu(self.norm1(self.reduce(before), train=train))
        y = jax.nn.relu(self.norm2(self.middle(y), train=train))
        return shortcut + self.expand(y)


class ResNet(nnx.Module):
    """Images [B, 137, 137, V] to codes [B, 2048] of length 1."""

    code = 2048

    def __init__(self, channels: int, counts: Sequence[int] = RESNETS["resnet50"], *, dtype: Any = None, rngs: nnx.Rngs):
        """Draws the weights.

        Args:
          channels: V, views, or colours of one.
          counts: units of each block, of RESNETS.
          dtype: of activations and products; None: float32.
          rngs: draws.
        """
        self.root = nnx.Conv(channels, 64, (7, 7), strides=2, padding=3, dtype=dtype, rngs=rngs)
        units, width_in = [], 64
        for (width, stride), count in zip(_BLOCKS, counts, strict=True):
            for at in range(count):
                units.append(_Unit(width_in, width, stride if at == count - 1 else 1, dtype=dtype, rngs=rngs))
                width_in = 4 * width
        self.units = nnx.List(units)
        self.norm = BatchNorm(width_in, momentum=_MOMENTUM)
        self.last = nnx.Linear(width_in, self.code, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Codes; `train` normalises by the batch and moves the running statistics."""
        x = nnx.max_pool(self.root(images), (3, 3), strides=(2, 2), padding="SAME")
        for unit in self.units:
            x = unit(x, train=train)
        code = self.last(jnp.mean(jax.nn.relu(self.norm(x, train=train)).astype(jnp.float32), axis=(1, 2)))
        return code * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(code), axis=-1, keepdims=True), 1e-12))


class SmallNetwork(nnx.Module):
    """Images [B, 137, 137, V] to codes [B, C], by five convolutions of stride 2: SIF's encoder."""

    def __init__(self, channels: int, code: int, *, dtype: Any = None, rngs: nnx.Rngs):
        """Draws the weights. `channels`: V, views; `code`: C; `dtype`: of the convolutions, None: float32."""
        widths = (channels, 16, 32, 64, 128, 128)
        self.convs = nnx.List([nnx.Conv(a, b, (3, 3), strides=2, dtype=dtype, rngs=rngs) for a, b in zip(widths, widths[1:])])
        self.last = nnx.Linear(5 * 5 * widths[-1], code, rngs=rngs)

    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Codes; nothing differs in training."""
        del train
        x = images
        for conv in self.convs:
            x = jax.nn.leaky_relu(conv(x), _LEAK)
        return jax.nn.leaky_relu(self.last(x.reshape(len(x), -1).astype(jnp.float32)), _LEAK)


class Head(nnx.Module):
    """Codes [B, C] to what `ops.implicit.from_network` takes, [B, N, M]: two layers with leaky ReLUs, one without."""

    def __init__(self, code: int, width: int, elements: int, numbers: int, *, rngs: nnx.Rngs):
        """Draws the weights. `numbers`: M, of each of N `elements`."""
        self.shape = elements, numbers
        self.first, self.second = nnx.Linear(code, width, rngs=rngs), nnx.Linear(width, width, rngs=rngs)
        self.last = nnx.Linear(width, elements * numbers, rngs=rngs)

    def __call__(self, code: jax.Array) -> jax.Array:
        """See the class; [B, C] to [B, N, M]."""
        x = jax.nn.leaky_relu(self.first(code), _LEAK)
        x = jax.nn.leaky_relu(self.second(x), _LEAK)
        return self.last(x).reshape(len(code), *self.shape)
