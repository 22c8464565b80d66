"""The weight gradients' kernel against the product over patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.nn import conv, correlate


def images(batch, height, width, d_in, d_out):
    x, y = jax.random.split(jax.random.key(0))
    x = jax.random.normal(x, (batch, height + 1, width + 1, d_in), jnp.bfloat16)
    return x, jax.random.normal(y, (batch, height, width, d_out), jnp.bfloat16)


def assert_close(ours, expected, bound=1e-5):
    np.testing.assert_allclose(ours, expected, atol=bound * np.abs(expected).max())


# Whole chunks and not; several programs per shift and one; one block of output channels, two, three.
@pytest.mark.parametrize("shape", [(2, 8, 64, 16, 32), (3, 9, 13, 32, 96), (1, 3, 5, 16, 128)])
def test_kernel_is_the_sum_over_shifted_images(shape, monkeypatch):
    monkeypatch.setattr(correlate, "_PROGRAMS", 3)
    x, y = images(*shape)
    ours = correlate.kernel(x, y, interpret=True)
    assert ours.dtype == jnp.float32
    assert_close(ours, conv._correlate_patches(x, y))
    shifted = x[:, 1:, :-1].astype(jnp.float32)
    assert_close(ours[1, 0], np.einsum("bhwp,bhwo->po", shifted, y.astype(jnp.float32)))


@pytest.mark.parametrize(
    "d_in, d_out, dtype", [(12, 16, jnp.bfloat16), (16, 12, jnp.bfloat16), (256, 16, jnp.bfloat16), (16, 16, jnp.float32)]
)
def test_other_shapes_and_types_have_none(d_in, d_out, dtype):
    x, y = images(1, 128, 128, d_in, d_out)
    assert not correlate.is_supported(x.astype(dtype), y.astype(dtype))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(2, 128, 128, 16, 16), (2, 129, 131, 32, 96), (1, 128, 128, 128, 64)])
def test_on_a_gpu(shape):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    x, y = images(*shape)
    assert correlate.is_supported(x, y)
    assert_close(jax.jit(correlate.kernel)(x, y), jax.jit(conv._correlate_patches)(x, y))
