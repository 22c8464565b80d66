"""Loss terms by hand."""

import numpy as np
import pytest

from ava_jax.core.types import Primitives
from ava_jax.losses import terms


def test_absolute_error_of_bytes():
    image = np.array([[1.5, 250.0]], np.float32)
    np.testing.assert_array_equal(terms.absolute_error(image, np.array([[200, 255]], np.uint8)), [[198.5, 5.0]])
    with pytest.raises(ValueError, match="one shape"):
        terms.absolute_error(image, np.zeros((2, 2)))


def test_volume_of_two_boxes():
    scale = np.array([[[2.0, 4.0, 5.0], [10.0, 10.0, 1.0]]])
    primitives = Primitives(position=None, rotation=None, scale=scale, rgba=None)
    np.testing.assert_allclose(terms.primitive_volume(primitives), [1 / 40 + 1 / 100])
