"""Convolutions of few channels as a kernel, against the library's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.nn import conv, convolve


def scene(side, d_out, batch=2):
    keys = jax.random.split(jax.random.key(0), 2)
    return jax.random.normal(keys[0], (batch, side + 1, side + 1, 16), jnp.bfloat16), jax.random.normal(keys[1], (2, 2, 16, d_out))


def assert_close(ours, wanted):
    assert ours.dtype == wanted.dtype and ours.shape == wanted.shape
    ours, wanted = np.asarray(ours, np.float32), np.asarray(wanted, np.float32)
    np.testing.assert_allclose(ours, wanted, rtol=0.01, atol=0.01 * np.abs(wanted).mean())


@pytest.mark.parametrize("side, d_out", [(16, 16), (13, 32)])
def test_kernel(side, d_out):
    x, weights = scene(side, d_out)
    assert_close(convolve.kernel(x, weights, interpret=True), conv._convolve_within(x, weights))


@pytest.mark.parametrize("dtype, side, channels", [(jnp.float32, 513, 16), (jnp.bfloat16, 65, 16), (jnp.bfloat16, 513, 32)])
def test_applies_to_large_images_of_sixteen_channels_in_bfloat16(dtype, side, channels):
    def applies(dtype, side, channels):
        x = jax.ShapeDtypeStruct((1, side, side, channels), dtype)
        return convolve.applies(x, jax.ShapeDtypeStruct((2, 2, channels, 16), jnp.float32))

    assert applies(jnp.bfloat16, 513, 16)
    assert not applies(dtype, side, channels)


@pytest.mark.gpu
@pytest.mark.parametrize("side, d_out", [(512, 16), (513, 32)])
def test_on_a_gpu(side, d_out):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    x, weights = scene(side, d_out, 4)
    assert_close(jax.jit(convolve.kernel)(x, weights), jax.jit(conv._convolve_within)(x, weights))
