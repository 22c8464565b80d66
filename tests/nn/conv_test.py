"""The 2 x 2 forms against the textbook convolutions, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ava_jax.nn import conv

NHWC = ("NHWC", "HWIO", "NHWC")


def textbook_down(x, kernel):
    return lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1), (1, 1)], dimension_numbers=NHWC)


def textbook_up(x, kernel):
    return lax.conv_transpose(x, kernel[::-1, ::-1], (2, 2), [(2, 2), (2, 2)], dimension_numbers=NHWC)


def scattered_up(x, kernel):
    """y[2 i - 1 + k] += x[i] kernel[k], in NumPy."""
    b, h, w, _ = x.shape
    y = np.zeros((b, 2 * h + 2, 2 * w + 2, kernel.shape[-1]))
    for i in range(h):
        for j in range(w):
            y[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("bc,klco->bklo", x[:, i, j], kernel)
    return y[:, 1:-1, 1:-1]


def data(height, width, d_in, d_out, side=4):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, height, width, d_in)).astype(np.float32)
    return x, rng.standard_normal((side, side, d_in, d_out)).astype(np.float32)


@pytest.mark.parametrize("d_in, d_out", [(3, 16), (16, 3), (1, 1)])
@pytest.mark.parametrize("ours, textbook", [(conv.conv_down_4x4, textbook_down), (conv.conv_up_4x4, textbook_up)])
def test_values_and_gradients(ours, textbook, d_in, d_out):
    with jax.default_matmul_precision("highest"):
        x, kernel = data(6, 10, d_in, d_out)
        y, transpose = jax.vjp(ours, x, kernel)
        reference, reference_transpose = jax.vjp(textbook, x, kernel)
        np.testing.assert_allclose(y, reference, rtol=1e-5, atol=1e-5)
        cotangent = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
        for gradient, expected in zip(transpose(cotangent), reference_transpose(cotangent)):
            np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_the_transposed_convolution_scatters_each_input():
    x, kernel = data(3, 5, 4, 2)
    np.testing.assert_allclose(conv.conv_up_4x4(x, kernel), scattered_up(x, kernel), rtol=1e-4, atol=1e-5)


def test_its_gradient_works_under_vmap_and_for_several_magnitudes():
    x, kernel = data(4, 4, 3, 5)

    def loss(convolve, scale, x, kernel):
        return jnp.sum(jnp.sin(convolve(scale * x, kernel)))

    scales = jnp.array([1e-3, 1.0, 10.0])
    plain = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=NHWC)  # noqa: E731
    kernel = kernel[:2, :2]
    ours = jax.vmap(lambda s: jax.grad(loss, argnums=(2, 3))(conv.convolve_2x2, s, x, kernel))(scales)
    theirs = jax.vmap(lambda s: jax.grad(loss, argnums=(2, 3))(plain, s, x, kernel))(scales)
    for gradient, expected in zip(ours, theirs):
        largest = np.abs(expected).reshape(len(scales), -1).max(1).reshape(-1, *[1] * (expected.ndim - 1))
        np.testing.assert_allclose(gradient / largest, expected / largest, atol=1e-5)


def test_depth_to_space_inverts_space_to_depth():
    x, _ = data(4, 6, 3, 1)
    blocks = conv.space_to_depth(x)
    np.testing.assert_array_equal(blocks[0, 1, 2, 3:6], x[0, 2, 5])  # row 0, column 1 of the block at (1, 2)
    np.testing.assert_array_equal(conv.depth_to_space(blocks), x)


def test_convolve_same_pads_with_zeros():
    x, kernel = data(4, 5, 2, 3, side=3)
    expected = sum(
        np.einsum("bhwc,co->bhwo", np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, r : r + 4, c : c + 5], kernel[r, c])
        for r in range(3)
        for c in range(3)
    )
    np.testing.assert_allclose(conv.convolve_same(x, kernel), expected, rtol=1e-4, atol=1e-5)


def test_sums_by_row_are_the_sums_over_all_pixels():
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((2, 33, 65, c)).astype(np.float32) for c in (8, 12))  # 4290 pixels: no multiple of 512
    expected = np.einsum("bhwp,bhwo->po", x, y, dtype=np.float64)
    np.testing.assert_allclose(conv._correlate(x, y), expected, rtol=1e-4, atol=1e-3)


def test_a_float32_kernel_of_bfloat16_images_has_a_float32_gradient():
    x, kernel = data(8, 8, 3, 4)
    low, transpose = jax.vjp(conv.conv_up_4x4, x.astype(jnp.bfloat16), kernel)
    high, exact = jax.vjp(conv.conv_up_4x4, x, kernel)
    assert low.dtype == jnp.bfloat16
    np.testing.assert_allclose(low.astype(jnp.float32), high, atol=0.02 * np.abs(high).max())
    (_, ours), (_, expected) = transpose(jnp.ones_like(low)), exact(jnp.ones_like(high))
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("d_in", [3, 4])
def test_convolving_down_bfloat16_images_of_odd_channels_too(d_in):
    x, kernel = data(8, 6, d_in, 5)
    low, transpose = jax.vjp(conv.conv_down_4x4, x.astype(jnp.bfloat16), kernel)
    high, exact = jax.vjp(conv.conv_down_4x4, x, kernel)
    np.testing.assert_allclose(low.astype(jnp.float32), high, atol=0.02 * np.abs(high).max())
    for ours, expected in zip(transpose(jnp.ones_like(low)), exact(jnp.ones_like(high))):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours.astype(jnp.float32), expected, atol=0.02 * np.abs(expected).max())
