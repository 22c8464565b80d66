"""LPIPS, the distance of two images in the features of a trained network (Zhang et al., CVPR 2018), version 0.1 of its package `lpips`.

Two networks: AlexNet ("alex") and VGG16 ("vgg"), each up to its last convolution. The features of five layers are scaled to unit length
over the channels; their squared difference, weighted per channel, is averaged over the image and summed over the layers. Both images enter
in -1..1 and are normalised by constants of the package. Less is better; 0 for equal images.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.types import Array

# The package's own normalisation of images in -1..1.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # added to the length of features


class Conv(NamedTuple):
    """A convolution with bias and ReLU; `index` names it in torchvision's `features`, `tap` says that its output is compared."""

    index: int
    channels: tuple[int, int]
    kernel: int
    stride: int = 1
    padding: int = 1
    tap: bool = False


class Pool(NamedTuple):
    """Maximum over windows that lie in the map whole."""

    kernel: int
    stride: int = 2


_ALEX = (
    Conv(0, (3, 64), 11, 4, 2, tap=True),
    Pool(3),
    Conv(3, (64, 192), 5, 1, 2, tap=True),
    Pool(3),
    Conv(6, (192, 384), 3, tap=True),
    Conv(8, (384, 256), 3, tap=True),
    Conv(10, (256, 256), 3, tap=True),
)
_VGG = (
    *(Conv(0, (3, 64), 3), Conv(2, (64, 64), 3, tap=True), Pool(2)),
    *(Conv(5, (64, 128), 3), Conv(7, (128, 128), 3, tap=True), Pool(2)),
    *(Conv(10, (128, 256), 3), Conv(12, (256, 256), 3), Conv(14, (256, 256), 3, tap=True), Pool(2)),
    *(Conv(17, (256, 512), 3), Conv(19, (512, 512), 3), Conv(21, (512, 512), 3, tap=True), Pool(2)),
    *(Conv(24, (512, 512), 3), Conv(26, (512, 512), 3), Conv(28, (512, 512), 3, tap=True)),
)
NETWORKS: Mapping[str, tuple[Conv | Pool, ...]] = {"alex": _ALEX, "vgg": _VGG}
LEAST_SIDE = {"alex": 31, "vgg": 16}  # pixels: below, a layer would have none

Weights = dict[str, Any]  # by name, as `shapes` lists them


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights: `features.<i>.weight` and `.bias` as of torchvision, `lin<i>.model.1.weight` as of `lpips`.

    Raises:
      ValueError: there is no such network.
    """
    convs = [layer for layer in _layers(network) if isinstance(layer, Conv)]
    found: dict[str, tuple[int, ...]] = {}
    for conv in convs:
        inputs, outputs = conv.channels
        found[f"features.{conv.index}.weight"] = (outputs, inputs, conv.kernel, conv.kernel)
        found[f"features.{conv.index}.bias"] = (outputs,)
    taps = [conv for conv in convs if conv.tap]
    return found | {f"lin{i}.model.1.weight": (1, conv.channels[1], 1, 1) for i, conv in enumerate(taps)}


def lpips(weights: Weights, network: str, image: Array, truth: Array) -> jax.Array:
    """LPIPS of each pair of images.

    Args:
      weights: as `shapes(network)` says.
      network: one of NETWORKS.
      image: [N, H, W, 3], 0-255; clipped to that range. N = K B: K renders of all photographs, one set after the other. The features of
        the photographs are computed once.
      truth: [B, H, W, 3], 0-255.

    Returns:
      f32 [N].

    Raises:
      ValueError: the shapes do not agree, or an image is smaller than LEAST_SIDE; there is no such network.
    """
    layers = _layers(network)
    if image.ndim != 4 or image.shape[1:] != truth.shape[1:] or len(image) % len(truth):
        raise ValueError(f"lpips: image must be [K B, H, W, 3] of a truth [B, H, W, 3]; got {image.shape} and {truth.shape}.")
    least, (height, width) = LEAST_SIDE[network], truth.shape[1:3]
    if min(height, width) < least:
        raise ValueError(f"lpips: images must be at least {least} pixels on a side for {network}; got {height} x {width}.")
    count, times = len(truth), len(image) // len(truth)
    x = _normalised(jnp.concatenate([jnp.clip(jnp.asarray(image, jnp.float32), 0.0, 255.0), jnp.asarray(truth, jnp.float32)]))
    distance, tap = jnp.zeros(len(image)), 0
    for layer in layers:
        if isinstance(layer, Pool):
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, layer.kernel, layer.kernel, 1), (1, layer.stride, layer.stride, 1), "VALID")
            continue
        x = _convolved(weights, layer, x)
        if layer.tap:
            unit = x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + _EPSILON)
            theirs = jnp.concatenate([unit[-count:]] * times)
            weight = jnp.asarray(weights[f"lin{tap}.model.1.weight"], jnp.float32).reshape(-1)
            distance += jnp.mean(jnp.square(unit[:-count] - theirs) @ weight, axis=(1, 2))
            tap += 1
    return distance


def _layers(network: str) -> tuple[Conv | Pool, ...]:
    if network not in NETWORKS:
        raise ValueError(f"lpips: the network must be {' or '.join(NETWORKS)}; got {network!r}.")
    return NETWORKS[network]


def _normalised(image: jax.Array) -> jax.Array:
    return (image / 127.5 - 1.0 - jnp.array(_SHIFT)) / jnp.array(_SCALE)


def _convolved(weights: Weights, conv: Conv, x: jax.Array) -> jax.Array:
    kernel, bias = (jnp.asarray(weights[f"features.{conv.index}.{part}"], jnp.float32) for part in ("weight", "bias"))
    padding = [(conv.padding, conv.padding)] * 2
    y = lax.conv_general_dilated(x, kernel, (conv.stride,) * 2, padding, dimension_numbers=("NHWC", "OIHW", "NHWC"))
    return jax.nn.relu(y + bias)
