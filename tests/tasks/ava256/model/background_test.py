"""The background, alone and in `AvatarCodec.calibrate_and_composite`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small_head import assets, config

from ava_jax.tasks.ava256.kernels import pixel_network
from ava_jax.tasks.ava256.model import background as backgrounds
from ava_jax.tasks.ava256.model.background import Background, pixel_weights
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.sizes import Sizes

SIZES = Sizes(per_side=32, depth=8, texture=256, width=0.125, precision="float32")


def position_encoding(height, width):
    """[H, W, 40]: for sine, then cosine, for each octave, x and y."""
    x, y = (np.linspace(-1, 1, n) for n in (width, height))
    position = np.stack(np.meshgrid(x, y), -1)
    waves = [f(2**i * np.pi * position) for f in (np.sin, np.cos) for i in range(10)]
    return np.concatenate(waves, -1)


def test_the_background_is_its_layers_applied_to_the_concatenated_input():
    background = Background(3, 2, SIZES, rngs=nnx.Rngs(0))

    def dense(layer, x, activated=True):
        y = x @ np.asarray(layer.weight[...]) + np.asarray(layer.bias[...])
        return np.where(y > 0, y, 0.2 * y) if activated else y

    def code(table, one_hot):
        return dense(table.second, dense(table.first, one_hot), activated=False)

    parts = [code(background.camera, np.eye(3)[2]), code(background.identity, np.eye(2)[1])]
    x = np.concatenate([np.broadcast_to(np.concatenate(parts), (4, 3, 16)), position_encoding(4, 3)], -1)
    for layer in background.layers:
        x = dense(layer, x)
    expected = 25 * dense(background.last, x, activated=False) + 100
    np.testing.assert_allclose(background(jnp.array([2]), jnp.array([1]), 4, 3)[0], expected, rtol=1e-4, atol=1e-3)


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 8 pixels at most, so that a small picture takes several."""
    monkeypatch.setattr(backgrounds, "_MULTIPLE", 4)
    monkeypatch.setattr(backgrounds, "_CHUNK", 8)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_pixels_outside_of_the_mask_are_zero_and_give_no_gradient(small_chunks, fraction):
    background = Background(3, 2, SIZES, rngs=nnx.Rngs(0))
    graph, state = nnx.split(background)
    rng = np.random.default_rng(0)
    mask = rng.random((2, 7, 5)) < fraction
    cotangent = rng.standard_normal((2, 7, 5, 3)).astype(np.float32)

    def picture(state, mask):
        return nnx.merge(graph, state)(jnp.array([2, 0]), jnp.array([1, 1]), 7, 5, mask=mask)

    @jax.jit
    def picture_and_gradient(state, mask, cotangent):
        colours, transpose = jax.vjp(lambda s: picture(s, mask), state)
        return colours, transpose(cotangent)[0]

    all_of_it, expected = picture_and_gradient(state, None, np.where(mask[..., None], cotangent, 0))
    some, gradient = picture_and_gradient(state, mask, cotangent)
    np.testing.assert_allclose(some, np.where(mask[..., None], all_of_it, 0), rtol=1e-5, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), gradient, expected)


def test_a_pixels_gradient_is_multiplied_by_its_weight(small_chunks):
    graph, state = nnx.split(Background(3, 2, SIZES, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    mask, weight = rng.random((2, 7, 5)) < 0.7, rng.choice(np.float32([0, 0, 1, 4]), (2, 7, 5))
    cotangent = rng.standard_normal((2, 7, 5, 3)).astype(np.float32)

    def of_weights(weight, cotangent):
        def picture(state):
            return nnx.merge(graph, state)(jnp.array([2, 0]), jnp.array([1, 1]), 7, 5, mask=mask, gradient_weight=weight)

        colours, transpose = jax.vjp(picture, state)
        return colours, transpose(cotangent)[0]

    (ours, gradient), (plain, expected) = of_weights(weight, cotangent), of_weights(None, weight[..., None] * cotangent)
    np.testing.assert_array_equal(ours, plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), gradient, expected)


def test_its_gradient_is_that_of_the_layers_written_out(small_chunks):
    background = Background(3, 2, SIZES, rngs=nnx.Rngs(0))
    graph, state = nnx.split(background)
    cotangent = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype(np.float32)
    camera, identity = jnp.array([2, 0]), jnp.array([1, 0])

    def plain(state):
        model = nnx.merge(graph, state)
        code = jnp.concatenate([model.camera(camera), model.identity(identity)], -1)[:, None, None]
        x = jnp.concatenate([jnp.broadcast_to(code, (2, 5, 4, code.shape[-1])), jnp.stack([position_encoding(5, 4)] * 2)], -1)
        for layer in model.layers:
            x = jax.nn.leaky_relu(x @ layer.weight[...] + layer.bias[...], 0.2)
        return jnp.sum(cotangent * (25 * (x @ model.last.weight[...] + model.last.bias[...]) + 100))

    expected = jax.jit(jax.grad(plain))(state)
    ours = jax.jit(jax.grad(lambda s: jnp.sum(cotangent * nnx.merge(graph, s)(camera, identity, 5, 4))))(state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max()), ours, expected)


@pytest.mark.parametrize("fraction, n", [(1.0, 1), (0.25, 2), (1 / 16, 4)])
def test_one_pixel_of_each_square_counts_for_all_of_its_empty_ones(fraction, n):
    rng = np.random.default_rng(0)
    empty = rng.random((2, 4 * n, 3 * n)) < 0.5
    weights, gradient = (np.asarray(w) for w in pixel_weights(empty, fraction, jax.random.key(1)))
    np.testing.assert_array_equal(weights[~empty], 1)
    everything = np.asarray(pixel_weights(np.ones_like(empty), fraction, jax.random.key(1)).loss)
    np.testing.assert_array_equal(weights[empty], everything[empty])  # the choice does not depend on what is empty
    np.testing.assert_array_equal(weights * gradient, everything)  # what the background's gradient counts: the drawn pixels alone
    squares = everything.reshape(2, 4, n, 3, n).transpose(0, 1, 3, 2, 4).reshape(-1, n * n)
    np.testing.assert_array_equal(np.sort(squares, axis=1), np.tile([0.0] * (n * n - 1) + [n * n], (24, 1)))


def test_each_pixel_weighs_one_in_expectation_at_the_border_too():
    """A square that reaches over the border draws pixels beyond it as well, so that those within are not favoured."""
    empty, draws = np.ones((1, 3, 5), bool), 4000
    weights = jax.vmap(lambda key: pixel_weights(empty, 0.25, key).loss)(jax.random.split(jax.random.key(0), draws))
    deviation = np.sqrt(3.0 / draws)  # of the mean of a weight that is 4 with probability 1/4
    np.testing.assert_allclose(np.mean(weights, axis=0), 1.0, atol=5 * deviation)
    assert np.unique(np.asarray(weights), axis=0).shape[0] > 100  # squares draw independently


@pytest.fixture
def interpreted_kernels(monkeypatch):
    """The GPU's kernels instead of plain JAX, wherever the test runs."""
    for name in ("forward", "backward"):
        monkeypatch.setattr(pixel_network, name, functools.partial(getattr(pixel_network, name), interpret=True))
    return lambda used: monkeypatch.setattr(pixel_network, "is_supported", lambda channels, dtype: used)


@pytest.mark.slow
@pytest.mark.skipif(jax.default_backend() == "gpu", reason="kernels are interpreted on a CPU; a GPU takes minutes")
def test_the_kernels_background_is_that_of_plain_jax(interpreted_kernels):
    sizes = Sizes(per_side=32, depth=8, texture=256, width=0.5, precision="float32")
    graph, state = nnx.split(Background(3, 2, sizes, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    mask = rng.random((2, 13, 15)) < 0.5
    weight = rng.choice(np.float32([0, 1, 4]), mask.shape)
    cotangent = rng.standard_normal((2, 13, 15, 3)).astype(np.float32)

    def both(used):
        interpreted_kernels(used)

        def run(state, mask, weight, cotangent):
            def picture(state):
                return nnx.merge(graph, state)(jnp.array([2, 0]), jnp.array([1, 1]), 13, 15, mask=mask, gradient_weight=weight)

            colours, transpose = jax.vjp(picture, state)
            return colours, transpose(cotangent)[0]

        return jax.jit(run)(state, mask, weight, cotangent)

    (ours, gradients), (plain, expected) = both(True), both(False)
    np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max()), gradients, expected)


@pytest.fixture(scope="module")
def model():
    return AvatarCodec(config(), assets(), rngs=nnx.Rngs(0))


def test_composite_uses_the_background_of_known_indices(model):
    camera, identity = np.array([1, 1, -1, 0]), np.array([0, 0, 0, -1])
    rgba = np.zeros((4, 5, 6, 4), np.float32)
    rgba[1] = [10, 20, 30, 0.25]
    rgba[2:] = [10, 20, 30, 0.25]
    image = np.asarray(model.calibrate_and_composite(rgba, camera, identity))
    learned = np.asarray(model.background(camera[:1], identity[:1], 5, 6))[0]
    np.testing.assert_allclose(image[0], learned, rtol=1e-5)
    np.testing.assert_allclose(image[1], np.array([10, 20, 30]) + 0.75 * learned, rtol=1e-5)
    np.testing.assert_allclose(image[2:], np.broadcast_to([10, 20, 30], (2, 5, 6, 3)), rtol=1e-5)


def test_without_a_background_the_image_is_over_black():
    model = AvatarCodec(config(background=False), assets(), rngs=nnx.Rngs(0))
    rgba = np.full((1, 2, 2, 4), 0.5, np.float32)
    np.testing.assert_allclose(model.calibrate_and_composite(rgba, np.array([0]), np.array([0])), rgba[..., :3], rtol=1e-6)
