"""The compiled convolutions against XLA's, values and gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ava_jax.nn.layers import WNConvDown, WNConvUp, WNDense
from ava_jax.ops import convolution, native

pytestmark = pytest.mark.skipif(not native.serves_convolutions(), reason="the compiled module is not built, or JAX computes elsewhere")

NHWC = ("NHWC", "HWIO", "NHWC")


def textbook_down(x, kernel):
    return lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1), (1, 1)], dimension_numbers=NHWC, precision="highest")


def textbook_up(x, kernel):
    return lax.conv_transpose(x, kernel[::-1, ::-1], (2, 2), [(2, 2), (2, 2)], dimension_numbers=NHWC, precision="highest")


def textbook(convolve, x, kernel, bias, activate):
    y = convolve(x, kernel) + bias
    return jnp.where(y >= 0, y, 0.2 * y) if activate else y


def data(batch, height, width, d_in, d_out, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (batch, height, width, d_in), (4, 4, d_in, d_out), (d_out,)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)


CASES = [
    # batch, height, width, d_in, d_out: whole vectors and not, one pixel, tiles and what is left of them, several parts of sums
    (2, 8, 8, 16, 16),
    (1, 2, 2, 1, 1),
    (3, 6, 10, 3, 16),
    (2, 14, 6, 16, 3),
    (1, 4, 22, 5, 7),
    (2, 10, 34, 9, 25),
    (1, 6, 6, 33, 41),
    (2, 4, 4, 64, 72),
    (2, 128, 64, 2, 8),
]


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ours, theirs", [(convolution.convolve_down, textbook_down), (convolution.convolve_up, textbook_up)])
def test_values_and_gradients_are_those_of_the_plain_convolution(ours, theirs, case, activate):
    args = data(*case)
    assert convolution.is_supported(*(jnp.asarray(a) for a in args[:2]), halve=True)
    y, transpose = jax.vjp(lambda *a: ours(*a, activate), *args)
    expected, transpose_expected = jax.vjp(lambda *a: textbook(theirs, *a, activate), *args)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    cotangent = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    # Where the output is 0 but for rounding the slope may differ: no such case among these values.
    assert np.all((np.asarray(y) >= 0) == (np.asarray(expected) >= 0)) or not activate
    for found, wanted in zip(transpose(cotangent), transpose_expected(cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("activate", [False, True])
@pytest.mark.parametrize("shape, d_out", [((4, 16, 17, 24), 16), ((1025, 1), 1), ((2, 30, 30, 9), 25), ((9000, 16), 3), ((1300, 33), 41)])
def test_a_dense_layer_and_its_gradients(shape, d_out, activate):
    rng = np.random.default_rng(0)
    args = tuple(rng.standard_normal(s).astype(np.float32) for s in (shape, (shape[-1], d_out), (d_out,)))
    assert convolution.is_dense_supported(*(jnp.asarray(a) for a in args[:2]))
    y, transpose = jax.vjp(lambda *a: convolution.dense(*a, activate), *args)
    multiply = functools.partial(jnp.matmul, precision="highest")
    expected, transpose_expected = jax.vjp(lambda *a: textbook(multiply, *a, activate), *args)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    assert np.all((np.asarray(y) >= 0) == (np.asarray(expected) >= 0)) or not activate
    cotangent = rng.standard_normal(y.shape).astype(np.float32)
    for found, wanted in zip(transpose(cotangent), transpose_expected(cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("ours", [convolution.convolve_down, convolution.convolve_up])
def test_bits_do_not_change_from_call_to_call(ours):
    args = data(2, 64, 64, 8, 16)
    step = jax.jit(jax.grad(lambda *a: jnp.sum(ours(*a, True) ** 2), argnums=(0, 1, 2)))
    first = step(*args)
    for _ in range(5):
        assert all(np.array_equal(a, b) for a, b in zip(first, step(*args), strict=True))


@pytest.mark.parametrize("ours", [convolution.convolve_down, convolution.convolve_up])
def test_under_vmap_each_image_and_kernel_is_its_own(ours):
    x, kernel, bias = (np.stack([a, b]) for a, b in zip(data(2, 4, 6, 3, 5), data(2, 4, 6, 3, 5, seed=1), strict=True))
    found = jax.vmap(lambda *a: ours(*a, True))(x, kernel, bias)
    for i in range(2):
        np.testing.assert_array_equal(found[i], ours(x[i], kernel[i], bias[i], True))


def test_what_does_not_fit_is_left_to_xla():
    x, kernel, _ = (jnp.asarray(a) for a in data(1, 4, 4, 2, 2))
    assert not convolution.is_supported(x.astype(jnp.bfloat16), kernel, halve=True)
    assert not convolution.is_supported(x[:, :3], kernel, halve=True)
    assert convolution.is_supported(x[:, :3], kernel, halve=False)
    assert not convolution.is_supported(x, kernel[:3], halve=False)
    assert not convolution.is_dense_supported(x, kernel[0, 0])  # few pixels
    assert not convolution.is_dense_supported(jnp.zeros((2000, 2), jnp.bfloat16), kernel[0, 0])


@pytest.mark.parametrize("make", [WNConvDown, WNConvUp, WNDense])
@pytest.mark.parametrize("activate", [False, True])
def test_layers_give_what_they_give_without_it(make, activate, monkeypatch):
    from flax import nnx

    layer = make(3, 16, activate=activate, rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.linspace(-1.0, 1.0, 16)
    x = data(2, 32, 20, 3, 16)[0]
    grad = nnx.grad(lambda layer, x: jnp.mean(layer(x) ** 2), argnums=(0, 1))
    y, gradients = layer(x), grad(layer, x)
    monkeypatch.setattr(native, "serves_convolutions", lambda: False)
    np.testing.assert_allclose(y, layer(x), atol=1e-5)
    for found, wanted in zip(jax.tree.leaves(gradients), jax.tree.leaves(grad(layer, x)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
