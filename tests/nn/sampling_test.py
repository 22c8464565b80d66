"""Bilinear reads against a loop in NumPy."""

import jax
import numpy as np
import pytest

from ava_jax.nn.sampling import resize_bilinear, sample_bilinear


def sampled(image, points):
    """One point after the other, in float64."""
    b, h, w, c = image.shape
    out = np.zeros((b, len(points), c))
    for i, (x, y) in enumerate(((points + 1) * np.array([w, h]) - 1) / 2):
        for row in (int(np.floor(y)), int(np.floor(y)) + 1):
            for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                if 0 <= row < h and 0 <= column < w:
                    out[:, i] += image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return out


def test_reads_between_pixels_and_fades_to_zero_outside():
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 5, 7, 3)).astype(np.float32)
    points = np.concatenate([rng.uniform(-1.4, 1.4, (200, 2)), [[-1, -1], [1, 1], [0, 0], [3, 0], [0, -3]]]).astype(np.float32)
    np.testing.assert_allclose(sample_bilinear(image, points), sampled(image, points), atol=1e-5)


def test_keeps_the_shape_of_the_points():
    image = np.ones((2, 4, 4, 3), np.float32)
    assert sample_bilinear(image, np.zeros((6, 5, 2), np.float32)).shape == (2, 6, 5, 3)


def test_gradients_against_finite_differences():
    rng = np.random.default_rng(1)
    image = rng.standard_normal((1, 4, 4, 2)).astype(np.float32)
    # Away from pixel centres, where the derivative jumps.
    points = ((rng.integers(0, 3, (10, 2)) + rng.uniform(0.2, 0.8, (10, 2)) + 0.5) / 2 - 1).astype(np.float32)
    cotangent = rng.standard_normal((1, 10, 2)).astype(np.float32)
    _, transpose = jax.vjp(sample_bilinear, image, points)
    d_image, d_points = transpose(cotangent)
    for argument, gradient in ((0, d_image), (1, d_points)):
        direction = rng.standard_normal(gradient.shape)
        step = 1e-3
        ends = []
        for sign in (1, -1):
            arguments = [image.astype(np.float64), points.astype(np.float64)]
            arguments[argument] = arguments[argument] + sign * step * direction
            ends.append(np.sum(sampled(*arguments) * cotangent))
        np.testing.assert_allclose(np.sum(gradient * direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-3)


@pytest.mark.parametrize("side", [4, 16, 40, 64])
def test_resize_agrees_with_jax_image(side):
    image = np.random.default_rng(0).standard_normal((16, 16, 2)).astype(np.float32)
    expected = jax.image.resize(image, (side, side, 2), "bilinear", antialias=False)
    np.testing.assert_allclose(resize_bilinear(image, side, side), expected, atol=1e-5)  # its weights are rounded to float32 on the way
