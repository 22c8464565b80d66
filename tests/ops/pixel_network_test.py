"""The kernels of a network of pixels' places against the same network written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.ops import pixel_network
from ava_jax.ops.pixel_network import COLOURS, OUT, WAVES, Network

BATCH, HEIGHT, WIDTH, LAYERS = 2, 12, 25, 2


def network(rng, channels: int, dtype) -> Network:
    def normal(*shape, scale=1.0):
        return jnp.asarray(scale * rng.standard_normal(shape), jnp.float32)

    return Network(
        code=normal(BATCH, channels),
        waves=normal(2 * WAVES, channels, scale=0.2).astype(dtype),
        hidden=normal(LAYERS, channels, channels, scale=channels**-0.5).astype(dtype),
        bias=normal(LAYERS, channels, scale=0.1),
        last=normal(channels, OUT, scale=channels**-0.5).astype(dtype),
        last_bias=normal(OUT),
    )


def written_out(network: Network, of_x, of_y):
    """Colours of all pixels, [B, H W, 3], in float32."""
    waves, hidden, last, of_x, of_y = (x.astype(jnp.float32) for x in (network.waves, network.hidden, network.last, of_x, of_y))
    with jax.default_matmul_precision("highest"):
        h = (of_x @ waves[:WAVES])[None, None] + (of_y @ waves[WAVES:])[None, :, None] + network.code[:, None, None]
        h = jax.nn.leaky_relu(h, 0.2)
        for weight, bias in zip(hidden, network.bias, strict=True):
            h = jax.nn.leaky_relu(h @ weight + bias, 0.2)
        return (h @ last + network.last_bias)[..., :COLOURS].reshape(BATCH, HEIGHT * WIDTH, COLOURS)


def scene(channels, dtype, shares):
    """A network, wanted pixels (of each picture its share), waves, a cotangent."""
    rng = np.random.default_rng(0)
    wanted = jnp.asarray(rng.random((BATCH, HEIGHT, WIDTH)) < np.array(shares)[:, None, None])
    of_x, of_y = (jnp.asarray(rng.standard_normal((side, WAVES)), dtype) for side in (WIDTH, HEIGHT))
    cotangent = jnp.asarray(rng.standard_normal((BATCH, HEIGHT * WIDTH, COLOURS)), jnp.float32)
    return network(rng, channels, dtype), wanted, of_x, of_y, cotangent


def compare(arguments, rtol, **options):
    """Holds colours and gradients against the network written out, to `rtol` of the largest."""
    weights, wanted, of_x, of_y, cotangent = arguments
    asked = wanted.reshape(BATCH, -1, 1)
    expected, transpose = jax.vjp(lambda w: jnp.where(asked, written_out(w, of_x, of_y), 0), weights)
    places = pixel_network.gather(wanted, of_x, of_y)
    colours = jnp.where(asked, pixel_network.forward(weights, places, HEIGHT * WIDTH, **options), 0)
    np.testing.assert_allclose(colours, expected, atol=rtol * float(jnp.max(jnp.abs(expected))))
    ours = pixel_network.backward(weights, places, cotangent, **options)
    for name, mine, theirs in zip(Network._fields, ours, transpose(cotangent)[0], strict=True):
        assert mine.dtype == jnp.float32
        theirs = np.asarray(theirs.astype(jnp.float32))
        np.testing.assert_allclose(mine, theirs, atol=rtol * np.abs(theirs).max() + 1e-6, err_msg=name)


@pytest.mark.parametrize("shares", [(0.6, 0.6), (1.0, 0.02), (0.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("channels", [128, 256])
def test_kernels_interpreted_equal_the_network_written_out(monkeypatch, channels, shares):
    monkeypatch.setattr(pixel_network, "_CHUNK", 256)  # several chunks, the last of which reaches past the pictures
    compare(scene(channels, jnp.float32, shares), 1e-5, interpret=True)


def test_places_are_the_wanted_pixels_in_order():
    wanted = np.random.default_rng(0).random((BATCH, HEIGHT, WIDTH)) < 0.3
    places = pixel_network.gather(jnp.asarray(wanted), jnp.zeros((WIDTH, WAVES)), jnp.zeros((HEIGHT, WAVES)))
    for index, count, picture in zip(places.index, places.count, wanted, strict=True):
        np.testing.assert_array_equal(index[:count], np.flatnonzero(picture))
        assert not index[count:].any()
    assert places.index.shape[1] % 128 == 0 and places.index.shape[1] >= HEIGHT * WIDTH


@pytest.mark.gpu
@pytest.mark.parametrize("shares", [(0.6, 0.6), (1.0, 0.02), (0.0, 0.0)])
@pytest.mark.parametrize("channels", [128, 256])
def test_kernels_equal_the_network_written_out_to_bfloat16(channels, shares):
    if not pixel_network.supported(channels, jnp.bfloat16):
        pytest.skip("needs a GPU of compute capability 9.0: the kernels are for no other")
    compare(scene(channels, jnp.bfloat16, shares), 0.03)
