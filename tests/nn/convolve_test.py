"""Convolutions of few channels as a kernel, against the library's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.nn import conv, convolve
from ava_jax.nn.layers import add_bias


def scene(side, d_out, batch=2):
    keys = jax.random.split(jax.random.key(0), 2)
    return jax.random.normal(keys[0], (batch, side + 1, side + 1, 16), jnp.bfloat16), jax.random.normal(keys[1], (2, 2, 16, d_out))


def assert_close(ours, expected):
    assert ours.dtype == expected.dtype and ours.shape == expected.shape
    ours, expected = np.asarray(ours, np.float32), np.asarray(expected, np.float32)
    np.testing.assert_allclose(ours, expected, rtol=0.01, atol=0.01 * np.abs(expected).mean())


@pytest.mark.parametrize("side, d_out", [(16, 16), (13, 32)])
def test_kernel(side, d_out):
    x, weights = scene(side, d_out)
    assert_close(convolve.kernel(x, weights, interpret=True), conv._convolve_valid(x, weights))


def test_kernel_with_bias_and_leaky_relu():
    x, weights = scene(16, 16)
    bias = jax.random.normal(jax.random.key(1), (16,))
    assert_close(convolve.kernel(x, weights, bias, interpret=True), add_bias(conv._convolve_valid(x, weights), bias, True))


def test_gradient_with_bias_and_leaky_relu():
    x, weights = (a.astype(jnp.float32) for a in scene(16, 16))
    bias = jax.random.normal(jax.random.key(1), (16,))
    ours, transpose = jax.vjp(conv.convolve_2x2_activated, x, weights, bias)
    expected, expected_transpose = jax.vjp(lambda *a: add_bias(conv._convolve_valid(*a[:2]), a[2], True), x, weights, bias)
    given = jax.random.normal(jax.random.key(2), ours.shape)
    for a, b in zip((ours, *transpose(given)), (expected, *expected_transpose(given))):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype, side, channels", [(jnp.float32, 513, 16), (jnp.bfloat16, 65, 16), (jnp.bfloat16, 513, 32)])
def test_large_images_of_sixteen_channels_in_bfloat16_have_a_kernel(dtype, side, channels):
    def supported(dtype, side, channels):
        x = jax.ShapeDtypeStruct((1, side, side, channels), dtype)
        return convolve.is_supported(x, jax.ShapeDtypeStruct((2, 2, channels, 16), jnp.float32))

    assert supported(jnp.bfloat16, 513, 16)
    assert not supported(dtype, side, channels)


@pytest.mark.gpu
@pytest.mark.parametrize("side, d_out", [(512, 16), (513, 32)])
def test_on_a_gpu(side, d_out):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    x, weights = scene(side, d_out, 4)
    assert_close(jax.jit(convolve.kernel)(x, weights), jax.jit(conv._convolve_valid)(x, weights))
    bias = jnp.linspace(-1.0, 1.0, d_out)
    assert_close(jax.jit(convolve.kernel)(x, weights, bias), jax.jit(conv._activated_plain)(x, weights, bias))
