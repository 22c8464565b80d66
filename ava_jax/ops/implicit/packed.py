"""Elements and a decoder as the compiled calls take them (ffi/implicit/field.h): all that depends on an element alone, worked out once.

The decoder is affine but for its two ReLUs. With an element's features given, its three normalisations are a scale and an offset for each
channel, so they become part of the layers beside them; what follows the second ReLU (a layer, the skip, the last normalisation and the last
layer) becomes one number for each channel, an affine function of the point, and a constant. One product with a 32 x 32 matrix is left of
two, and 1152 multiply-adds of 2336 for an element at a point.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops.implicit.decoder import EPS, DecoderWeights, Norm
from ava_jax.ops.implicit.elements import TINY, Elements, rotations

WIDTH = 32  # of the compiled decoder
NEGLIGIBLE = 1e-9  # an element is left out of a point's sum where a bound proves that it adds no more
_FARTHEST = 14.4  # radii from a centre, where a Gaussian's float32 becomes 0
_ROUNDS = 12  # of the bound, each closer
_LARGEST_HIDDEN, _LARGEST_WEIGHT = 2.0**15, 2.0**14  # of what is split into halves for tensor cores, which end at 65504


class Packed(NamedTuple):
    """E elements, the reflected ones behind.

    Attributes:
      head: f32 [E, 20]: centre 3, matrix 9 (to the frame in which the Gaussian is exp(-|l|^2 / 2)), constant, the limit of |l|^2, affine
        part of the decoder 3, 1 + its constant, 2 unused.
      first: f32 [E, 32, 4]: weights of the first layer in that frame, and biases; [0] without a decoder.
      second: f32 [E, 32, 2]: biases of the second layer, and what its outputs are multiplied with; or [0].
      dense: f32 [E, 32, 32], its weights, [in, out]; or [0]. On a GPU f16 as of `fragments`.
    """

    head: jax.Array
    first: jax.Array
    second: jax.Array
    dense: jax.Array


def fits(decoder: DecoderWeights | None) -> bool:
    """Whether the compiled decoder is wide enough."""
    return decoder is None or (jnp.shape(decoder.dense1.weight)[0] <= WIDTH and jnp.ndim(decoder.dense1.weight) == 2)


def pack(elements: Elements, symmetric: int, decoder: DecoderWeights | None, rotated: bool, cut: float | None) -> Packed:
    """Packs N elements without leading axes; `cut` is the least Gaussian that counts, None for the bound of NEGLIGIBLE.

    An element with a number that is not finite becomes NaN at every point.
    """
    every = np.r_[: len(elements.constant), :symmetric]
    constant, center, variance, angles, features = (jnp.asarray(part, jnp.float32)[every] for part in elements)
    flip = np.ones((len(every), 3), np.float32)
    flip[len(elements.constant) :, 2] = -1
    if rotated:
        scale = 1 / jnp.sqrt(variance + TINY)
        matrix = scale[:, :, None] * jnp.swapaxes(rotations(angles), 1, 2)
        to_frame = jnp.sqrt(variance + TINY) / (jnp.sqrt(variance + TINY) + TINY)  # the decoder's frame has another TINY
    else:
        scale = jnp.sqrt(2 / jnp.maximum(2 * variance, TINY))
        matrix, to_frame = scale[:, :, None] * jnp.eye(3), jnp.ones_like(scale)
    if decoder is None:
        layers = (jnp.zeros(0), jnp.zeros(0), jnp.zeros(0))
        affine, one = jnp.zeros_like(center), jnp.ones_like(constant)
        reach = jnp.stack([jnp.ones_like(constant), jnp.zeros_like(constant)])
    else:
        *layers, affine, one = _fold(decoder, features, to_frame)
        reach = _reach(*layers, affine, one)
    limit = jnp.full_like(constant, -2 * np.log(cut)) if cut is not None else _limit(jnp.abs(constant), *reach)
    if decoder is not None:
        layers = _scaled(*layers, jnp.sqrt(jnp.maximum(limit, 0)))
    parts = [center * flip, (matrix * flip[:, None]).reshape(-1, 9), constant[:, None], limit[:, None], affine, one[:, None]]
    head = jnp.concatenate([*parts, jnp.zeros((len(every), 2))], 1).astype(jnp.float32)
    finite = jnp.all(jnp.isfinite(jnp.concatenate([head, *(part.reshape(len(every), -1) for part in layers if part.size)], 1)), 1)
    nowhere_finite = jnp.zeros(head.shape[1]).at[12].set(jnp.nan).at[13].set(jnp.inf)
    return Packed(jnp.where(finite[:, None], head, nowhere_finite), *layers)


def fragments(dense: jax.Array) -> jax.Array:
    """Weights [E, 32, 32] as warps load them for m16n8k16 products of halves: f16 [E, 8, 32, 8].

    Axes: element; step along the inputs and tile of 8 outputs; lane; two parts of four weights each, whose sum is the weight to 2^-22.
    """
    if not dense.size:
        return jnp.zeros(0, jnp.float16)
    lane = np.arange(32)
    pair = 2 * (lane % 4)[:, None] + np.array([0, 1, 8, 9])  # inputs of a lane within a step
    inputs = 16 * np.arange(2)[:, None, None, None] + pair
    outputs = 8 * np.arange(4)[:, None, None] + (lane // 4)[:, None]
    weights = dense[:, inputs, outputs].reshape(len(dense), 8, 32, 4)
    high = weights.astype(jnp.float16)
    return jnp.concatenate([high, (weights - high.astype(jnp.float32)).astype(jnp.float16)], -1)


def _times(a: Array, b: Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


def _norm(norm: Norm, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Y = scale x + offset: [E, C] each."""
    scale = (_times(features, norm.gamma.weight) + norm.gamma.bias) * jax.lax.rsqrt(norm.variance + EPS)
    return scale, _times(features, norm.beta.weight) + norm.beta.bias - norm.mean * scale


def _fold(weights: DecoderWeights, features: jax.Array, to_frame: jax.Array) -> tuple[jax.Array, ...]:
    """First [E, C, 4], second [E, C, 2], dense [E, C, C], affine [E, 3], 1 + constant [E]."""
    (scale1, offset1), (scale2, offset2), (scale3, offset3) = (_norm(n, features) for n in (weights.norm1, weights.norm2, weights.norm3))
    rows = jnp.swapaxes(scale1[:, None] * weights.first.weight * to_frame[:, :, None], 1, 2)  # [E, C, 3]
    bias = weights.first.bias * scale1 + offset1
    dense = weights.dense1.weight * scale2[:, None]
    out = scale3 * weights.last.weight[:, 0]  # of a channel before the last normalisation, in the result
    second = jnp.stack([weights.dense1.bias * scale2 + offset2, _times(out, jnp.swapaxes(jnp.asarray(weights.dense2.weight), 0, 1))], -1)
    affine = _times(out[:, None], rows)[:, 0]
    constant = jnp.sum(out * (bias + weights.dense2.bias), -1) + _times(offset3, weights.last.weight)[:, 0] + weights.last.bias[0]
    missing = WIDTH - dense.shape[-1]
    first = jnp.pad(jnp.concatenate([rows, bias[..., None]], -1), ((0, 0), (0, missing), (0, 0)))
    return (
        first,
        jnp.pad(second, ((0, 0), (0, missing), (0, 0))),
        jnp.pad(dense, ((0, 0), (0, missing), (0, missing))),
        affine,
        1 + constant,
    )


def _reach(first: jax.Array, second: jax.Array, dense: jax.Array, affine: jax.Array, one: jax.Array) -> jax.Array:
    """(alpha, beta) [2, E]: |1 + g| <= alpha + beta |l| everywhere, from the sizes of the layers' weights."""
    slope, offset = jnp.linalg.norm(first[..., :3], axis=-1), jnp.abs(first[..., 3])
    out, size = jnp.abs(second[..., 1]), jnp.abs(dense)
    through = [jnp.einsum("en,ekn,ek->e", out, size, part, precision="highest") for part in (offset, slope)]
    alpha = jnp.abs(one) + through[0] + jnp.sum(out * jnp.abs(second[..., 0]), -1)
    return jnp.stack([alpha, jnp.linalg.norm(affine, axis=-1) + through[1]])


def _limit(size: jax.Array, alpha: jax.Array, beta: jax.Array) -> jax.Array:
    """The |l|^2 from which on size (alpha + beta |l|) exp(-|l|^2 / 2) stays under NEGLIGIBLE; -1 where it always does."""
    radius = jnp.full_like(size, _FARTHEST)
    for _ in range(_ROUNDS):  # from above, so that each is a bound
        square = 2 * jnp.log(size * (alpha + beta * radius) / NEGLIGIBLE)
        radius = jnp.sqrt(jnp.clip(square, 0, _FARTHEST**2))
    return jnp.where(square > 0, jnp.square(radius), -1)


def _scaled(first: jax.Array, second: jax.Array, dense: jax.Array, radius: jax.Array) -> tuple[jax.Array, ...]:
    """Layers with powers of two moved between them, so that hidden numbers and weights fill the range of halves within the radius."""
    largest = jnp.max(jnp.linalg.norm(first[..., :3], axis=-1) * radius[:, None] + jnp.abs(first[..., 3]), -1)
    hidden, weight = _power(_LARGEST_HIDDEN, largest), _power(_LARGEST_WEIGHT, jnp.max(jnp.abs(dense), (1, 2)))
    both = hidden * weight
    second = jnp.stack([second[..., 0] * both[:, None], second[..., 1] / both[:, None]], -1)
    return first * hidden[:, None, None], second, dense * weight[:, None, None]


def _power(wanted: float, size: jax.Array) -> jax.Array:
    """The largest power of two that `size` times it is at most `wanted`; within 2^-40..2^40."""
    exponent = jnp.clip(jnp.floor(jnp.log2(wanted / jnp.maximum(size, 1e-30)) - 1e-4), -40, 40)
    return jnp.ldexp(jnp.ones_like(size), exponent.astype(jnp.int32))
