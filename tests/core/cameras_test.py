"""Cameras in head space."""

import numpy as np

from ava_jax.core import cameras


def test_frontality_is_the_cosine_to_the_forward_axis():
    np.testing.assert_allclose(cameras.frontality([[0, 0, 900], [300, 0, 300], [0, 5, -5]]), [1, 0.5**0.5, -(0.5**0.5)])
