"""What belongs to the rig, not to the head: colour calibration and background. Source: Codec Avatar Studio, 2024, supplement."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from ava_jax.nn.layers import Dense, add_bias, leaky_relu
from ava_jax.tasks.ava256.kernels import pixel_network
from ava_jax.tasks.ava256.model.sizes import Sizes

# Pixels are taken in chunks of a multiple of _MULTIPLE, about _CHUNKS of them if all are wanted, of _CHUNK pixels at most: a layer's
# activations are 32 MB then in bfloat16, and stay in a GPU's cache.
_MULTIPLE, _CHUNKS, _CHUNK = 1024, 16, 1 << 16
_HIDDEN, _CODE, _LAYERS, _OCTAVES = 256, 40, 5, 10
_SPREAD = 25.0  # of colours, 0-255, about 100
SHARES = (1.0, 1 / 4, 1 / 16)  # of the pixels, from which the background may learn: one of each n x n


def _row(table: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of [N, C] at [B]; the mean of all rows where the index is -1, for what training never saw."""
    known = (index >= 0)[:, None]
    return jnp.where(known, table[jnp.maximum(index, 0)], jnp.mean(table, axis=0))


class ColourCalibration(nnx.Module):
    """A gain and an offset a channel, of the camera and of the identity."""

    def __init__(self, cameras: int, identities: int):
        self.camera_gain = nnx.Param(jnp.ones((cameras, 3)))
        self.camera_offset = nnx.Param(jnp.zeros((cameras, 3)))
        self.identity_gain = nnx.Param(jnp.zeros((identities, 3)))
        self.identity_offset = nnx.Param(jnp.zeros((identities, 3)))

    def __call__(self, image: jax.Array, camera: jax.Array, identity: jax.Array) -> jax.Array:
        """Image [B, H, W, 3], 0-255, as camera [B] sees identity [B]; the mean of those known where an index is -1."""
        gain = _row(self.camera_gain[...], camera) + _row(self.identity_gain[...], identity)
        offset = _row(self.camera_offset[...], camera) + _row(self.identity_offset[...], identity)
        return gain[:, None, None] * image + offset[:, None, None]


class _IndexCode(nnx.Module):
    """A code learned for each index: a two-layer network on the index's one-hot vector."""

    def __init__(self, count: int, sizes: Sizes, *, rngs: nnx.Rngs):
        hidden = sizes.channels(_HIDDEN)
        self.first = Dense(count, hidden, rngs=rngs)
        self.second = Dense(hidden, sizes.channels(_CODE), activate=False, rngs=rngs)

    def __call__(self, index: jax.Array) -> jax.Array:
        return self.second(leaky_relu(self.first.weight[...][index] + self.first.bias[...]))


class Background(nnx.Module):
    """The rig behind the head, by camera, identity and pixel."""

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
        wanted: jax.Array | None = None,
        taught: jax.Array | None = None,
    ) -> jax.Array:
        """Indices [B] to [B, H, W, 3], 0-255. The picture is stretched to the size asked for.

        Args:
          wanted: bool [B, H, W], the pixels to compute; the others are 0. None: all.
          taught: f32 [B, H, W], how often the gradient of a pixel that is wanted counts for this network. None: once.
        """
        if wanted is None:  # the compiler must not know, or it counts a million ones itself, for seconds
            wanted = lax.optimization_barrier(jnp.ones((len(camera), height, width), bool))
        first, *others = self.layers
        code = jnp.concatenate([self.camera(jnp.maximum(camera, 0)), self.identity(jnp.maximum(identity, 0))], axis=-1)
        # The first layer is linear in codes and position: a row for each sample of the batch takes the place of the codes' rows.
        of_code = code @ first.weight[: code.shape[-1]] + first.bias[...]
        rows = jnp.concatenate([of_code, first.weight[code.shape[-1] :]])
        layers = [(layer.weight[...], layer.bias[...]) for layer in (*others, self.last)]
        return _computed_where(wanted, taught, (rows, layers), self.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _computed_where(wanted: jax.Array, taught: jax.Array | None, weights: tuple, dtype: jnp.dtype) -> jax.Array:
    """The background network where it is wanted [B, H, W], else 0: [B, H, W, 3]. The gradient computes it again, where it counts.

    Pixels that are wanted are brought together, so that time follows their number, and memory stays a chunk's.
    """
    return _computed_forward(wanted, taught, weights, dtype)[0]


def _computed_forward(wanted, taught, weights, dtype):
    if pixel_network.supported(weights[0].shape[1], dtype):
        batch, height, width = wanted.shape
        spread = ((0, 0), (0, pixel_network.WAVES - 2 * _OCTAVES))
        of_x, of_y = (jnp.pad(_waves(side), spread).astype(dtype) for side in (width, height))
        places = pixel_network.gather(wanted, of_x, of_y)
        colours = pixel_network.forward(_as_kernels_take_it(weights, batch, dtype), places, height * width)
        return jnp.where(wanted[..., None], _scaled(colours.reshape(*wanted.shape, 3)), 0.0), (wanted, taught, weights, places)
    return _by_chunks(wanted, weights, dtype), (wanted, taught, weights, None)


def _computed_backward(dtype, residuals, cotangent):
    wanted, taught, weights, places = residuals
    if taught is not None:
        wanted, cotangent = wanted & (taught > 0), taught[..., None] * cotangent
    if places is None:
        return None, None, _gradient_by_chunks(wanted, weights, dtype, cotangent)
    if taught is not None:
        places = pixel_network.gather(wanted, places.of_x, places.of_y)
    batch = len(wanted)
    network = _as_kernels_take_it(weights, batch, dtype)
    gradients = pixel_network.backward(network, places, _SPREAD * cotangent.reshape(batch, -1, 3))
    # Gradients are float32; what is linear is taken back in float32.
    _, transpose = jax.vjp(lambda w: _as_kernels_take_it(w, batch, jnp.float32), weights)
    return None, None, transpose(gradients)[0]


_computed_where.defvjp(_computed_forward, _computed_backward)


def _as_kernels_take_it(weights: tuple, batch: int, dtype: jnp.dtype) -> pixel_network.Network:
    rows, layers = weights
    *hidden, (last, last_bias) = layers
    code, position = rows[:batch], rows[batch:]
    spread = ((0, pixel_network.WAVES - len(position) // 2), (0, 0))
    idle = (0, pixel_network.OUT - last.shape[1])
    return pixel_network.Network(
        code=code,
        waves=jnp.concatenate([jnp.pad(position[axis::2], spread) for axis in (0, 1)]).astype(dtype),
        hidden=jnp.stack([w for w, _ in hidden]).astype(dtype),
        bias=jnp.stack([b for _, b in hidden]),
        last=jnp.pad(last, ((0, 0), idle)).astype(dtype),
        last_bias=jnp.pad(last_bias, idle),
    )


def _by_chunks(wanted: jax.Array, weights: tuple, dtype: jnp.dtype) -> jax.Array:
    """`_computed_where` in plain JAX."""
    places, count, chunk = _gathered(wanted)

    def body(i, colours):
        at = lax.dynamic_slice_in_dim(places, i * chunk, chunk)
        return lax.dynamic_update_slice_in_dim(colours, _network(weights, at, wanted.shape, dtype), i * chunk, 0)

    colours = lax.fori_loop(0, _chunks(count, chunk), body, jnp.zeros((len(places), 3)))
    order = jnp.cumsum(wanted.reshape(-1)) - 1
    return jnp.where(wanted[..., None], colours[order].reshape(*wanted.shape, 3), 0.0)


def _gradient_by_chunks(wanted: jax.Array, weights: tuple, dtype: jnp.dtype, cotangent: jax.Array) -> tuple:
    """The weights' gradient, chunk by chunk."""
    places, count, chunk = _gathered(wanted)
    valid = jnp.arange(len(places)) < count
    cotangent = jnp.where(valid[:, None], cotangent.reshape(-1, 3)[places], 0.0)

    def body(i, gradients):
        at, given = (lax.dynamic_slice_in_dim(x, i * chunk, chunk) for x in (places, cotangent))
        _, transpose = jax.vjp(lambda w: _network(w, at, wanted.shape, dtype), weights)
        return jax.tree.map(jnp.add, gradients, transpose(given)[0])

    return lax.fori_loop(0, _chunks(count, chunk), body, jax.tree.map(jnp.zeros_like, weights))


def _gathered(wanted: jax.Array) -> tuple[jax.Array, jax.Array, int]:
    """Places of wanted pixels in the flattened images, filled up with zeros to whole chunks; their number; the size of a chunk."""
    chunk = min(_CHUNK, -(-wanted.size // (_CHUNKS * _MULTIPLE)) * _MULTIPLE)
    (places,) = jnp.nonzero(wanted.reshape(-1), size=-(-wanted.size // chunk) * chunk, fill_value=0)
    return places, jnp.sum(wanted), chunk


def _chunks(count: jax.Array, chunk: int) -> jax.Array:
    return (count + chunk - 1) // chunk


def chunks(wanted: jax.Array) -> int:
    """How many chunks of pixels are computed where these [B, H, W] are wanted; for those who count operations."""
    _, count, chunk = _gathered(wanted)
    return int(_chunks(count, chunk))


def _network(weights: tuple, places: jax.Array, shape: tuple[int, int, int], dtype: jnp.dtype) -> jax.Array:
    """Colours [C, 3] at places [C] of flattened images of this shape."""
    rows, layers = weights
    batch, height, width = shape
    of_row, of_column = (_waves(side) for side in (height, width))
    along_x, along_y = of_column[places % width], of_row[places // width % height]
    sample = jax.nn.one_hot(places // (height * width), batch)
    # Sines first, octave by octave, x before y; then cosines.
    position = jnp.stack([along_x, along_y], axis=-1).reshape(len(places), -1)
    x = jnp.concatenate([sample, position], axis=-1).astype(dtype) @ rows.astype(dtype)
    x = leaky_relu(x)
    *hidden, (weight, bias) = layers
    for w, b in hidden:
        x = add_bias(x @ w.astype(dtype), b, True)
    return _scaled(add_bias(x @ weight.astype(dtype), bias, False).astype(jnp.float32))


def _scaled(x: jax.Array) -> jax.Array:
    """What the network gives, as colours."""
    return _SPREAD * x + 100.0


def _waves(side: int) -> jax.Array:
    """Sines of 2^i pi x, i = 0..9, then their cosines: [side, 20]. x runs over -1..1, ends included."""
    angle = jnp.linspace(-1.0, 1.0, side)[:, None] * (jnp.pi * 2.0 ** jnp.arange(_OCTAVES))
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class PixelWeights(NamedTuple):
    """How often a pixel [B, H, W] counts: in the loss, and once more in the background's gradient."""

    loss: jax.Array
    taught: jax.Array


def pixel_weights(empty: jax.Array, share: float, key: jax.Array) -> PixelWeights:
    """Weights with which a share of the pixels teaches the background for all of them.

    Sums weighted with these are unbiased estimates of sums over all pixels. Pictures are cut in squares of n x n pixels, n^2 = 1 / share;
    in each square one place is drawn, whose pixel counts n^2 times. A place in each square, rather than one for all: then no frequency of
    the background's waves is seen at one phase alone. Where nothing stands before the background the choice is the loss's, as nothing
    else learns there. Where something does, the loss takes every pixel, and the background's gradient the drawn ones.

    Args:
      empty: bool [B, H, W], pixels where nothing stands before the background.
      share: of SHARES.
      key: of the step.
    """
    n = round(share**-0.5)
    batch, height, width = empty.shape
    squares = (batch, -(-height // n), 1, -(-width // n), 1)  # the last ones may reach over the border: their pixels weigh the same
    drawn = jax.random.randint(key, squares, 0, n * n)
    place = n * jnp.arange(n)[:, None, None] + jnp.arange(n)
    weights = jnp.where(drawn == place, float(n * n), 0.0).reshape(batch, n * squares[1], n * squares[3])[:, :height, :width]
    return PixelWeights(jnp.where(empty, weights, 1.0), jnp.where(empty, jnp.minimum(weights, 1.0), weights))


def composite(rgba: jax.Array, background: jax.Array) -> jax.Array:
    """Puts [B, H, W, 4] (colour already weighted by alpha) over [B, H, W, 3]."""
    return rgba[..., :3] + (1.0 - rgba[..., 3:]) * background
