"""The background of each camera, as training learns it, and heads over it. Source: Codec Avatar Studio, 2024, supplement."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from ava_jax.nn.layers import Dense, affine, leaky_relu
from ava_jax.tasks.ava256.kernels import pixel_network
from ava_jax.tasks.ava256.model.sizes import Sizes

# Pixels are taken in chunks of a multiple of _MULTIPLE, about _CHUNKS of them for all pixels of a batch, of _CHUNK pixels at most: then a
# layer's activations are 32 MB in bfloat16, and stay in a GPU's cache.
_MULTIPLE, _CHUNKS, _CHUNK = 1024, 16, 1 << 16
_HIDDEN, _CODE, _LAYERS, _OCTAVES = 256, 40, 5, 10
_SPREAD = 25.0  # of colours, 0-255, about 100
FRACTIONS = (1.0, 1 / 4, 1 / 16)  # of the pixels, from which the background may learn: one of each n x n


class _IndexCode(nnx.Module):
    """A code learned for each index: a two-layer network on the index's one-hot vector."""

    def __init__(self, count: int, sizes: Sizes, *, rngs: nnx.Rngs):
        hidden = sizes.channels(_HIDDEN)
        self.first = Dense(count, hidden, rngs=rngs)
        self.second = Dense(hidden, sizes.channels(_CODE), activate=False, rngs=rngs)

    def __call__(self, index: jax.Array) -> jax.Array:
        return self.second(leaky_relu(self.first.weight[...][index] + self.first.bias[...]))


class Background(nnx.Module):
    """What is behind the head, by camera, identity and pixel."""

    def __init__(self, cameras: int, identities: int, sizes: Sizes, *, rngs: nnx.Rngs):
        hidden, code = sizes.channels(_HIDDEN), sizes.channels(_CODE)
        self.camera = _IndexCode(cameras, sizes, rngs=rngs)
        self.identity = _IndexCode(identities, sizes, rngs=rngs)
        widths = [2 * code + 4 * _OCTAVES] + [hidden] * _LAYERS
        self.layers = nnx.List([Dense(i, o, rngs=rngs) for i, o in zip(widths, widths[1:])])
        self.last = Dense(hidden, 3, activate=False, rngs=rngs)
        self.dtype = sizes.dtype

    def __call__(
        self,
        camera: jax.Array,
        identity: jax.Array,
        height: int,
        width: int,
        *,
        mask: jax.Array | None = None,
        gradient_weight: jax.Array | None = None,
    ) -> jax.Array:
        """Indices [B] to [B, H, W, 3], 0-255. The picture is stretched to the size asked for.

        Args:
          mask: bool [B, H, W], the pixels to compute; the others are 0. None: all.
          gradient_weight: f32 [B, H, W], multiplies the gradient of a pixel of the mask for this network alone. None: 1.
        """
        if mask is None:  # the compiler must not know, or it counts a million ones itself, for seconds
            mask = lax.optimization_barrier(jnp.ones((len(camera), height, width), bool))
        first, *others = self.layers
        code = jnp.concatenate([self.camera(jnp.maximum(camera, 0)), self.identity(jnp.maximum(identity, 0))], axis=-1)
        # The first layer is linear in codes and position: one row per sample of the batch stands for the rows of the codes.
        of_code = code @ first.weight[: code.shape[-1]] + first.bias[...]
        rows = jnp.concatenate([of_code, first.weight[code.shape[-1] :]])
        layers = [(layer.weight[...], layer.bias[...]) for layer in (*others, self.last)]
        return _masked_colours(mask, gradient_weight, (rows, layers), self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _masked_colours(mask: jax.Array, gradient_weight: jax.Array | None, weights: tuple, dtype: jnp.dtype) -> jax.Array:
    """The background network within the mask [B, H, W], else 0: [B, H, W, 3]. The gradient computes it again, where its weight is not 0.

    Pixels of the mask are gathered, so that time is in proportion to their number, and memory is that of a chunk.
    """
    return _forward(mask, gradient_weight, weights, dtype)[0]


def _forward(mask, gradient_weight, weights, dtype):
    if pixel_network.is_supported(weights[0].shape[1], dtype):
        batch, height, width = mask.shape
        padding = ((0, 0), (0, pixel_network.WAVES - 2 * _OCTAVES))
        of_x, of_y = (jnp.pad(_waves(side), padding).astype(dtype) for side in (width, height))
        pixels = pixel_network.gather(mask, of_x, of_y)
        colours = pixel_network.forward(_kernel_weights(weights, batch, dtype), pixels, height * width)
        return jnp.where(mask[..., None], _scaled(colours.reshape(*mask.shape, 3)), 0.0), (mask, gradient_weight, weights, pixels)
    return _by_chunks(mask, weights, dtype), (mask, gradient_weight, weights, None)


def _backward(dtype, residuals, cotangent):
    mask, gradient_weight, weights, pixels = residuals
    if gradient_weight is not None:
        mask, cotangent = mask & (gradient_weight > 0), gradient_weight[..., None] * cotangent
    if pixels is None:
        return None, None, _gradient_by_chunks(mask, weights, dtype, cotangent)
    if gradient_weight is not None:
        pixels = pixel_network.gather(mask, pixels.of_x, pixels.of_y)
    batch = len(mask)
    network = _kernel_weights(weights, batch, dtype)
    gradients = pixel_network.backward(network, pixels, _SPREAD * cotangent.reshape(batch, -1, 3))
    # Gradients are float32, and `_kernel_weights` is linear: its transpose in float32.
    _, transpose = jax.vjp(lambda w: _kernel_weights(w, batch, jnp.float32), weights)
    return None, None, transpose(gradients)[0]


_masked_colours.defvjp(_forward, _backward)


def _kernel_weights(weights: tuple, batch: int, dtype: jnp.dtype) -> pixel_network.Network:
    rows, layers = weights
    *hidden, (last, last_bias) = layers
    code, position = rows[:batch], rows[batch:]
    padding = ((0, pixel_network.WAVES - len(position) // 2), (0, 0))
    idle = (0, pixel_network.OUT - last.shape[1])
    return pixel_network.Network(
        code=code,
        waves=jnp.concatenate([jnp.pad(position[axis::2], padding) for axis in (0, 1)]).astype(dtype),
        hidden=jnp.stack([w for w, _ in hidden]).astype(dtype),
        bias=jnp.stack([b for _, b in hidden]),
        last=jnp.pad(last, ((0, 0), idle)).astype(dtype),
        last_bias=jnp.pad(last_bias, idle),
    )


def _by_chunks(mask: jax.Array, weights: tuple, dtype: jnp.dtype) -> jax.Array:
    """`_masked_colours` in plain JAX."""
    index, count, chunk = _gather(mask)

    def body(i, colours):
        at = lax.dynamic_slice_in_dim(index, i * chunk, chunk)
        return lax.dynamic_update_slice_in_dim(colours, _network(weights, at, mask.shape, dtype), i * chunk, 0)

    colours = lax.fori_loop(0, _chunks(count, chunk), body, jnp.zeros((len(index), 3)))
    order = jnp.cumsum(mask.reshape(-1)) - 1
    return jnp.where(mask[..., None], colours[order].reshape(*mask.shape, 3), 0.0)


def _gradient_by_chunks(mask: jax.Array, weights: tuple, dtype: jnp.dtype, cotangent: jax.Array) -> tuple:
    """The weights' gradient, chunk by chunk."""
    index, count, chunk = _gather(mask)
    valid = jnp.arange(len(index)) < count
    cotangent = jnp.where(valid[:, None], cotangent.reshape(-1, 3)[index], 0.0)

    def body(i, gradients):
        at, given = (lax.dynamic_slice_in_dim(x, i * chunk, chunk) for x in (index, cotangent))
        _, transpose = jax.vjp(lambda w: _network(w, at, mask.shape, dtype), weights)
        return jax.tree.map(jnp.add, gradients, transpose(given)[0])

    return lax.fori_loop(0, _chunks(count, chunk), body, jax.tree.map(jnp.zeros_like, weights))


def _gather(mask: jax.Array) -> tuple[jax.Array, jax.Array, int]:
    """Indices of the mask's pixels in the flattened images, filled up with zeros to whole chunks; their number; the size of a chunk."""
    chunk = min(_CHUNK, -(-mask.size // (_CHUNKS * _MULTIPLE)) * _MULTIPLE)
    (index,) = jnp.nonzero(mask.reshape(-1), size=-(-mask.size // chunk) * chunk, fill_value=0)
    return index, jnp.sum(mask), chunk


def _chunks(count: jax.Array, chunk: int) -> jax.Array:
    return (count + chunk - 1) // chunk


def chunks(mask: jax.Array) -> int:
    """How many chunks of pixels are computed for a mask [B, H, W]; to count operations."""
    _, count, chunk = _gather(mask)
    return int(_chunks(count, chunk))


def _network(weights: tuple, index: jax.Array, shape: tuple[int, int, int], dtype: jnp.dtype) -> jax.Array:
    """Colours [C, 3] of pixels with indices [C] in flattened images of this shape."""
    rows, layers = weights
    batch, height, width = shape
    of_row, of_column = (_waves(side) for side in (height, width))
    along_x, along_y = of_column[index % width], of_row[index // width % height]
    sample = jax.nn.one_hot(index // (height * width), batch)
    # Sines first, octave by octave, x before y; then cosines.
    position = jnp.stack([along_x, along_y], axis=-1).reshape(len(index), -1)
    x = jnp.concatenate([sample, position], axis=-1).astype(dtype) @ rows.astype(dtype)
    x = leaky_relu(x)
    *hidden, (weight, bias) = layers
    for w, b in hidden:
        x = affine(x, w, b, True)
    return _scaled(affine(x, weight, bias, False).astype(jnp.float32))


def _scaled(x: jax.Array) -> jax.Array:
    """Outputs of the network to colours, 0-255."""
    return _SPREAD * x + 100.0


def _waves(side: int) -> jax.Array:
    """Sines of 2^i pi x, i = 0..9, then their cosines: [side, 20]. x runs over -1..1, ends included."""
    angle = jnp.linspace(-1.0, 1.0, side)[:, None] * (jnp.pi * 2.0 ** jnp.arange(_OCTAVES))
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class PixelWeights(NamedTuple):
    """Weights of pixels [B, H, W]: in the loss, and, in addition, in the gradient for the background alone."""

    loss: jax.Array
    gradient: jax.Array


def pixel_weights(empty: jax.Array, fraction: float, key: jax.Array) -> PixelWeights:
    """Weights with which the background learns from a fraction of the pixels for all of them.

    Sums weighted with these are unbiased estimates of sums over all pixels. Pictures are cut in squares of n x n pixels,
    n^2 = 1 / fraction; in each square one pixel is drawn, which counts n^2 times. Each square draws its own, rather than all the same:
    otherwise a frequency of the background's waves could be seen at one phase alone. Where nothing covers the background the loss takes the
    drawn pixels, as nothing else learns there. Where something does, the loss takes every pixel, and the background's gradient the drawn
    ones.

    Args:
      empty: bool [B, H, W], pixels where nothing covers the background.
      fraction: of FRACTIONS.
      key: of the step.
    """
    n = round(fraction**-0.5)
    batch, height, width = empty.shape
    squares = (batch, -(-height // n), 1, -(-width // n), 1)  # the last ones may reach over the border: their pixels weigh the same
    drawn = jax.random.randint(key, squares, 0, n * n)
    pixel = n * jnp.arange(n)[:, None, None] + jnp.arange(n)
    weights = jnp.where(drawn == pixel, float(n * n), 0.0).reshape(batch, n * squares[1], n * squares[3])[:, :height, :width]
    return PixelWeights(jnp.where(empty, weights, 1.0), jnp.where(empty, jnp.minimum(weights, 1.0), weights))


def composite(rgba: jax.Array, background: jax.Array) -> jax.Array:
    """Puts [B, H, W, 4] (colour already weighted by alpha) over [B, H, W, 3]."""
    return rgba[..., :3] + (1.0 - rgba[..., 3:]) * background
