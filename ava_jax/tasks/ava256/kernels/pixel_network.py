"""A network from a pixel's coordinates to its colour, for the pixels of a mask: Pallas kernels (Triton), GPUs of compute capability 9.0.

leaky(waves of x and y @ waves + code of the picture), then hidden layers, leaky(h @ hidden + bias), then h @ last + bias. How many pixels
the mask has is known on the device alone: a kernel has blocks for all pixels, and those past the count of a picture return at once, so that
nothing waits for the count, and time is in proportion to it.

The gradient takes pictures in chunks, each in two kernels. The first computes a block's activations again, goes back through the layers,
and writes activations and gradients before LeakyReLU; the second multiplies these into the weights' gradients.

Axes: B pictures, H x W pixels, P pixels of the mask in a picture, C channels, L hidden layers.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from ava_jax.core.gpu import HAS_COMPILER, compute_capability, takes_kernels

if HAS_COMPILER:
    from jax.experimental.pallas import triton as plgpu

SLOPE = 0.2
WAVES = 32  # waves of a coordinate at most; products need a power of two
OUT = 16  # channels of the last layer, of which COLOURS count; likewise
COLOURS = 3
_PIXELS = 128  # per block
_TILE = 128  # side of the piece of a weights' gradient that one program sums
_STEP = 64  # pixels that it takes at a time
_CHUNK, _CHUNKS = 1 << 17, 8  # pixels per chunk, at most; chunks, at least
_PROGRAMS = 264  # of the weights' gradients that an H200 runs at a time
_WARPS = 8
_PIECE = 128  # channels
_PRODUCT_WARPS = 4


class Network(NamedTuple):
    """Weights, in the type of products, and what is added, in float32.

    Attributes:
      code: f32 [B, C], of the first layer: what the picture's code gives, bias included.
      waves: [2 WAVES, C], of the first layer: waves of x, then of y; zeros where there are fewer.
      hidden: [L, C, C], inputs by outputs; bias: f32 [L, C].
      last: [C, OUT]; last_bias: f32 [OUT].
    """

    code: jax.Array
    waves: jax.Array
    hidden: jax.Array
    bias: jax.Array
    last: jax.Array
    last_bias: jax.Array


class Pixels(NamedTuple):
    """The pixels of a mask.

    Attributes:
      index: int32 [B, P'], in each picture flattened, in order, then zeros, up to whole blocks for all pixels.
      count: int32 [B].
      of_x, of_y: [W WAVES] and [H WAVES], the waves, in the type of products.
    """

    index: jax.Array
    count: jax.Array
    of_x: jax.Array
    of_y: jax.Array


def is_supported(channels: int, dtype: jnp.dtype) -> bool:
    """Whether there are kernels for layers of so many channels, in this type, on the devices here."""
    return takes_kernels() and compute_capability() == "9.0" and dtype == jnp.bfloat16 and channels in (128, 256)


def gather(mask: jax.Array, of_x: jax.Array, of_y: jax.Array) -> Pixels:
    """The pixels of a mask, bool [B, H, W]; waves [W, WAVES] and [H, WAVES]."""
    batch, height, width = mask.shape
    size = height * width
    flat = mask.reshape(batch, size)
    order = jnp.cumsum(flat, axis=1, dtype=jnp.int32)
    index = jnp.zeros((batch, -(-size // _PIXELS) * _PIXELS), jnp.int32)
    at = jnp.where(flat, order - 1, index.shape[1])  # past the end, and dropped, outside of the mask
    index = index.at[jnp.arange(batch)[:, None], at].set(jnp.arange(size, dtype=jnp.int32), mode="drop")
    return Pixels(index, order[:, -1], of_x.reshape(-1), of_y.reshape(-1))


def forward(network: Network, pixels: Pixels, size: int, *, interpret: bool = False) -> jax.Array:
    """The network's colours: f32 [B, size, 3] for pictures of `size` pixels. Outside of the mask they are not written."""
    batch, blocks = len(pixels.count), pixels.index.shape[1] // _PIXELS
    call = pl.pallas_call(
        functools.partial(_forward_kernel, width=len(pixels.of_x) // WAVES, size=size),
        grid=(blocks, batch),
        out_shape=jax.ShapeDtypeStruct((batch * size * COLOURS + OUT,), jnp.float32),
        compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
    )
    return call(*pixels, *network)[:-OUT].reshape(batch, size, COLOURS)


def backward(network: Network, pixels: Pixels, cotangent: jax.Array, *, interpret: bool = False) -> Network:
    """Gradients of the network in float32, from those of its colours, f32 [B, size, 3], which count within the mask."""
    batch, blocks = len(pixels.count), pixels.index.shape[1] // _PIXELS
    layers, channels = network.bias.shape
    chunk = min(_CHUNK // batch, -(-pixels.index.shape[1] // _CHUNKS))
    chunk = min(-(-chunk // _PIXELS), blocks)  # blocks of a picture
    units = channels // _TILE if channels > _TILE else 1
    tiles = layers * units**2 + 2 * units
    splits = max(1, _PROGRAMS // (tiles * batch))
    sides = min(_TILE, channels)
    sums = jnp.zeros((batch, chunk, (layers + 1) * channels + OUT))
    partial = jnp.zeros((batch * splits, tiles, sides, sides))
    cotangent = cotangent.reshape(-1)

    def body(i, carry):
        sums, partial = carry
        start = jnp.full((1,), i * chunk, jnp.int32)
        sums, left, right = _backward_chunk(network, pixels, cotangent, start, sums, interpret)
        return sums, _multiply(pixels.count, start, left, right, partial, (layers, channels, chunk), interpret)

    sums, partial = lax.fori_loop(0, -(-blocks // chunk), body, (sums, partial))
    return _assembled(jnp.sum(sums, axis=1), jnp.sum(partial, axis=0), layers, channels)


def _backward_chunk(network, pixels, cotangent, start, sums, interpret):
    """Sums [B, N, ...] of gradients with a chunk's added, and the two factors of the weights' gradients, one row per pixel."""
    batch, chunk, _ = sums.shape
    layers, channels = network.bias.shape
    rows = batch * chunk * _PIXELS
    dtype = network.hidden.dtype
    arguments = (start, *pixels, *network, cotangent, sums)
    call = pl.pallas_call(
        functools.partial(_backward_kernel, width=len(pixels.of_x) // WAVES, size=len(cotangent) // (batch * COLOURS), interpret=interpret),
        grid=(chunk, batch),
        out_shape=(
            jax.ShapeDtypeStruct(sums.shape, sums.dtype),
            jax.ShapeDtypeStruct((rows, (layers + 1) * channels + 2 * WAVES), dtype),
            jax.ShapeDtypeStruct((rows, (layers + 1) * channels + OUT), dtype),
        ),
        input_output_aliases={len(arguments) - 1: 0},
        compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=1),
        interpret=interpret,
    )
    return call(*arguments)


def _multiply(count, start, left, right, partial, sizes, interpret):
    """Partial sums [B S, tiles, side, side] of the weights' gradients with a chunk's added."""
    layers, channels, chunk = sizes
    splits = len(partial) // len(count)
    call = pl.pallas_call(
        functools.partial(_weights_kernel, layers=layers, channels=channels, chunk=chunk, splits=splits),
        grid=partial.shape[1::-1],
        out_shape=jax.ShapeDtypeStruct(partial.shape, partial.dtype),
        input_output_aliases={4: 0},
        compiler_params=plgpu.CompilerParams(num_warps=_PRODUCT_WARPS, num_stages=3),
        interpret=interpret,
    )
    return call(start, count, left, right, partial)


def _assembled(sums: jax.Array, tiles: jax.Array, layers: int, channels: int) -> Network:
    """Gradients from sums over pixels [B, ...] and tiles of products over them."""
    side = tiles.shape[-1]
    units = channels // side
    inner = tiles[: layers * units**2].reshape(layers, units, units, side, side)
    of_waves, of_last = tiles[layers * units**2 :].reshape(2, units, side, side)
    bias = jnp.sum(sums, axis=0)
    return Network(
        code=sums[:, :channels],
        waves=jnp.moveaxis(of_waves[:, : 2 * WAVES], 0, 1).reshape(2 * WAVES, channels),
        hidden=jnp.swapaxes(inner, 2, 3).reshape(layers, channels, channels),
        bias=bias[channels : (layers + 1) * channels].reshape(layers, channels),
        last=of_last.reshape(channels, side)[:, :OUT],
        last_bias=bias[(layers + 1) * channels :],
    )


def _dot(a: jax.Array, b: jax.Array, contract: tuple[int, int] = (1, 0)) -> jax.Array:
    """Product over these axes, summed in float32."""
    return lax.dot_general(a, b, (((contract[0],), (contract[1],)), ((), ())), preferred_element_type=jnp.float32)


def _leaky(x: jax.Array) -> jax.Array:
    return jnp.where(x >= 0, x, SLOPE * x)


def _pieces(channels: int) -> list:
    """Slices of a layer's channels: registers hold no more than a piece's products and weights at once."""
    piece = min(_PIECE, channels)
    return [pl.ds(i * piece, piece) for i in range(channels // piece)]


def _first(b, block, index, of_x, of_y, code, waves, width):
    """The indices [P] of a block's pixels, the waves of x and of y [P, WAVES], the first layer's result [P, C] in pieces."""
    at = index[b, pl.ds(block * _PIXELS, _PIXELS)]
    each = jnp.arange(WAVES, dtype=jnp.int32)[None]
    x = plgpu.load(of_x.at[lax.rem(at, width)[:, None] * WAVES + each])
    y = plgpu.load(of_y.at[lax.div(at, width)[:, None] * WAVES + each])
    h = []
    for to in _pieces(waves.shape[1]):
        total = _dot(x, waves[pl.ds(0, WAVES), to]) + _dot(y, waves[pl.ds(WAVES, WAVES), to]) + code[b, to][None]
        h.append(_leaky(total).astype(waves.dtype))
    return at, x, y, h


def _layer(i, h, hidden, bias):
    """Hidden layer i of h, in pieces."""
    pieces, out = _pieces(bias.shape[1]), []
    for to in pieces:
        total = sum(_dot(piece, hidden[i, of, to]) for of, piece in zip(pieces, h, strict=True))
        out.append(_leaky(total + bias[i, to][None]).astype(h[0].dtype))
    return out


def _forward_kernel(index, count, of_x, of_y, code, waves, hidden, bias, last, last_bias, out, *, width, size):
    block, b = pl.program_id(0), pl.program_id(1)

    @pl.when(block * _PIXELS < count[b])
    def _():
        at, _, _, h = _first(b, block, index, of_x, of_y, code, waves, width)
        for i in range(len(bias)):
            h = _layer(i, h, hidden, bias)
        colours = sum(_dot(piece, last[of, :]) for of, piece in zip(_pieces(len(last)), h, strict=True)) + last_bias[:][None]
        counted = _counted(block, count[b])
        # Pallas' interpreter writes what is masked, too: to entries added for it, at the end.
        to = jnp.where(counted, _colours_at(b, at, size), len(out) - OUT)
        plgpu.store(out.at[to], colours, mask=counted)


def _colours_at(b, at, size):
    return (b * size + at)[:, None] * COLOURS + jnp.arange(OUT, dtype=jnp.int32)[None]


def _counted(block, count):
    """Which of a block's colours [P, OUT] count."""
    pixel = block * _PIXELS + jnp.arange(_PIXELS, dtype=jnp.int32)
    return (pixel < count)[:, None] & (jnp.arange(OUT, dtype=jnp.int32) < COLOURS)[None]


def _backward_kernel(
    start, index, count, of_x, of_y, code, waves, hidden, bias, last, last_bias, cotangent, _, sums, left, right, *, width, size, interpret
):  # fmt: skip
    in_chunk, b = pl.program_id(0), pl.program_id(1)
    block = start[0] + in_chunk
    layers, channels = bias.shape
    pieces = _pieces(channels)
    rows = pl.ds((b * pl.num_programs(0) + in_chunk) * _PIXELS, _PIXELS)

    def columns(i, piece):
        return pl.ds(i * channels + piece.start, piece.size)

    def keep(i, h):
        for piece, values in zip(pieces, h, strict=True):
            left[rows, columns(i, piece)] = values

    def give(gradient, to):
        """Writes the gradient before a LeakyReLU to these columns, and adds up its sum over pixels."""
        right[rows, to] = gradient.astype(right.dtype)
        sums[b, in_chunk, to] += jnp.sum(gradient, axis=0)

    def before(i, gradients):
        """Gradients before layer i's LeakyReLU, in the type of products, from those after it."""
        out = []
        for piece, gradient in zip(pieces, gradients, strict=True):
            gradient = jnp.where(left[rows, columns(i, piece)] >= 0, gradient, SLOPE * gradient)
            give(gradient, columns(i, piece))
            out.append(gradient.astype(right.dtype))
        return out

    @pl.when(block * _PIXELS < count[b])
    def _():
        at, x, y, h = _first(b, block, index, of_x, of_y, code, waves, width)
        left[rows, pl.ds((layers + 1) * channels, WAVES)] = x
        left[rows, pl.ds((layers + 1) * channels + WAVES, WAVES)] = y
        keep(0, h)
        for i in range(layers):
            h = _layer(i, h, hidden, bias)
            keep(i + 1, h)
        if not interpret:
            plgpu.debug_barrier()  # activations are read back by other threads than wrote them
        gradient = plgpu.load(cotangent.at[_colours_at(b, at, size)], mask=_counted(block, count[b]), other=0.0)
        give(gradient, pl.ds((layers + 1) * channels, OUT))
        gradient = gradient.astype(right.dtype)
        after = before(layers, [_dot(gradient, last[of, :], (1, 1)) for of in pieces])
        for i in range(layers - 1, -1, -1):
            back = [sum(_dot(g, hidden[i, of, to], (1, 1)) for to, g in zip(pieces, after, strict=True)) for of in pieces]
            after = before(i, back)


def _weights_kernel(start, count, left, right, _, partial, *, layers, channels, chunk, splits):
    """Adds one tile of left^T right over one part of a picture's pixels in the chunk."""
    tile, part = pl.program_id(0), pl.program_id(1)
    b, split = lax.div(part, splits), lax.rem(part, splits)
    side = partial.shape[-1]
    units = channels // side
    inner = layers * units**2
    # Tiles: of the hidden layers, each its inputs by its outputs; of the first layer, by its outputs; of the last, by its inputs.
    of_inner = tile < inner
    layer, across = lax.div(tile, units**2), lax.rem(tile, units)
    of_first = tile < inner + units
    end = (layers + 1) * units
    rest = lax.rem(tile - inner, units)
    row = jnp.where(of_inner, layer * units + lax.rem(lax.div(tile, units), units), jnp.where(of_first, end, layers * units + rest))
    column = jnp.where(of_inner, (layer + 1) * units + across, jnp.where(of_first, rest, end))
    blocks = jnp.clip(lax.div(count[b] + (_PIXELS - 1), _PIXELS) - start[0], 0, chunk)
    begin, stop = lax.div(blocks * split, splits), lax.div(blocks * (split + 1), splits)
    each = jnp.arange(side, dtype=jnp.int32)

    def step(i, total):
        rows = (b * chunk * _PIXELS + i * _STEP) + jnp.arange(_STEP, dtype=jnp.int32)

        def factor(ref, unit):
            columns = unit * side + each
            inside = jnp.broadcast_to(columns < ref.shape[1], (_STEP, side))
            at = jnp.broadcast_to(rows[:, None], inside.shape), jnp.broadcast_to(columns, inside.shape)
            return plgpu.load(ref.at[at], mask=inside, other=0.0)

        return total + _dot(factor(left, row), factor(right, column), (0, 0))

    @pl.when(begin < stop)
    def _():
        found = lax.fori_loop(begin * (_PIXELS // _STEP), stop * (_PIXELS // _STEP), step, jnp.zeros((side, side)))
        partial[part, tile, :, :] += found
