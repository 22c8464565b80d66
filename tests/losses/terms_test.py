"""Loss terms by hand."""

import numpy as np
import pytest

from ava_jax.core.types import Primitives
from ava_jax.losses import terms


def test_kl_by_hand():
    mean = np.array([0.0, 1.0, -2.0, 0.5]).reshape(1, 1, 4, 1)
    logstd = np.array([0.0, np.log(2.0), -np.log(2.0), 0.1]).reshape(1, 1, 4, 1)
    each = [
        0.0,
        -0.5 + np.log(2) + 0.5 + 0.125,
        -0.5 + np.log(2) + 2.0 + 0.125,
        -0.5 + 0.1 + 0.125 + np.exp(-0.2) / 2,
    ]
    kl = terms.kl_to_standard_normal(mean, logstd)
    assert kl.shape == (1, 1, 1)
    np.testing.assert_allclose(kl.ravel(), [np.mean(each)], rtol=1e-6)


def test_kl_averages_over_the_width_alone():
    mean = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    kl = terms.kl_to_standard_normal(mean, np.zeros_like(mean))
    np.testing.assert_allclose(kl, (mean**2).mean(2) / 2, rtol=1e-5)


def test_absolute_error_of_bytes():
    image = np.array([[1.5, 250.0]], np.float32)
    np.testing.assert_array_equal(terms.absolute_error(image, np.array([[200, 255]], np.uint8)), [[198.5, 5.0]])
    with pytest.raises(ValueError, match="one shape"):
        terms.absolute_error(image, np.zeros((2, 2)))


def test_volume_of_two_boxes():
    scale = np.array([[[2.0, 4.0, 5.0], [10.0, 10.0, 1.0]]])
    primitives = Primitives(position=None, rotation=None, scale=scale, rgba=None)
    np.testing.assert_allclose(terms.primitive_volume(primitives), [1 / 40 + 1 / 100])
