"""The kernels of a network of pixels' pixels against the same network written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.tasks.ava256.kernels import pixel_network
from ava_jax.tasks.ava256.kernels.pixel_network import COLOURS, OUT, WAVES, Network

pytestmark = pytest.mark.slow

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


def written_out(network: Network, of_x, of_y, dtype=jnp.float32):
    """Colours of all pixels, [B, H W, 3], in float32; a layer's results are kept in `dtype`."""
    waves, hidden, last, of_x, of_y = (x.astype(jnp.float32) for x in (network.waves, network.hidden, network.last, of_x, of_y))

    def kept(x):
        return jax.nn.leaky_relu(x, 0.2).astype(dtype).astype(jnp.float32)

    with jax.default_matmul_precision("highest"):
        h = kept((of_x @ waves[:WAVES])[None, None] + (of_y @ waves[WAVES:])[None, :, None] + network.code[:, None, None])
        for weight, bias in zip(hidden, network.bias, strict=True):
            h = kept(h @ weight + bias)
        return (h @ last + network.last_bias)[..., :COLOURS].reshape(BATCH, HEIGHT * WIDTH, COLOURS)


def scene(channels, dtype, fractions):
    """A network, a mask (of each picture a fraction), waves, a cotangent."""
    rng = np.random.default_rng(0)
    mask = jnp.asarray(rng.random((BATCH, HEIGHT, WIDTH)) < np.array(fractions)[:, None, None])
    of_x, of_y = (jnp.asarray(rng.standard_normal((side, WAVES)), dtype) for side in (WIDTH, HEIGHT))
    cotangent = jnp.asarray(rng.standard_normal((BATCH, HEIGHT * WIDTH, COLOURS)), jnp.float32)
    return network(rng, channels, dtype), mask, of_x, of_y, cotangent


def values(run, weights, cotangent):
    """By name: colours, and the weights' gradients."""
    colours, gradients = run(weights, cotangent)
    named = {"colours": colours, **dict(zip(Network._fields, gradients, strict=True))}
    return {name: np.asarray(x, np.float32) for name, x in named.items()}


def of_kernels(arguments, **options):
    weights, mask, of_x, of_y, cotangent = arguments
    pixels = pixel_network.gather(mask, of_x, of_y)
    colours = pixel_network.forward(weights, pixels, HEIGHT * WIDTH, **options)
    gradients = pixel_network.backward(weights, pixels, cotangent, **options)
    assert all(x.dtype == jnp.float32 for x in gradients)
    return values(lambda *_: (jnp.where(mask.reshape(BATCH, -1, 1), colours, 0), gradients), weights, cotangent)


def of_the_network(arguments, dtype=jnp.float32):
    weights, mask, of_x, of_y, cotangent = arguments
    inside = mask.reshape(BATCH, -1, 1)
    weights = jax.tree.map(lambda x: x.astype(jnp.float32), weights)

    def run(weights, cotangent):
        colours, transpose = jax.vjp(lambda w: jnp.where(inside, written_out(w, of_x, of_y, dtype), 0), weights)
        return colours, transpose(cotangent)[0]

    return values(run, weights, cotangent)


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="kernels are interpreted on a CPU; a GPU takes minutes")
@pytest.mark.parametrize("fractions", [(0.6, 0.6), (1.0, 0.02), (0.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize("channels", [128, 256])
def test_kernels_interpreted_equal_the_network_written_out(monkeypatch, channels, fractions):
    monkeypatch.setattr(pixel_network, "_CHUNK", 256)  # several chunks, the last of which reaches past the pictures
    arguments = scene(channels, jnp.float32, fractions)
    ours = of_kernels(arguments, interpret=True)
    for name, expected in of_the_network(arguments).items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-5 * np.abs(expected).max() + 1e-6, err_msg=name)


def test_gathered_pixels_are_those_of_the_mask_in_order():
    mask = np.random.default_rng(0).random((BATCH, HEIGHT, WIDTH)) < 0.3
    pixels = pixel_network.gather(jnp.asarray(mask), jnp.zeros((WIDTH, WAVES)), jnp.zeros((HEIGHT, WAVES)))
    for index, count, picture in zip(pixels.index, pixels.count, mask, strict=True):
        np.testing.assert_array_equal(index[:count], np.flatnonzero(picture))
        assert not index[count:].any()
    assert pixels.index.shape[1] % 128 == 0 and pixels.index.shape[1] >= HEIGHT * WIDTH


@pytest.mark.gpu
@pytest.mark.parametrize("fractions", [(0.6, 0.6), (1.0, 0.02), (0.0, 0.0)])
@pytest.mark.parametrize("channels", [128, 256])
def test_kernels_are_as_close_as_the_network_written_out_in_bfloat16(channels, fractions):
    if not pixel_network.is_supported(channels, jnp.bfloat16):
        pytest.skip("needs a GPU of compute capability 9.0: the kernels are for no other")
    arguments = scene(channels, jnp.bfloat16, fractions)
    ours, rounded = of_kernels(arguments), of_the_network(arguments, jnp.bfloat16)
    for name, expected in of_the_network(arguments).items():
        scale = np.sqrt(np.mean(expected**2)) + 1e-6
        error, usual = (np.sqrt(np.mean((x[name] - expected) ** 2)) / scale for x in (ours, rounded))
        print(f"{name}: {error:.2e}, rounded {usual:.2e}")
        assert error <= 1.5 * usual + 1e-3, f"{name}: root mean square error {error:.1e}, where rounding alone makes {usual:.1e}"
