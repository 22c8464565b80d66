"""The task's own loss terms by hand."""

import numpy as np

from ava_jax.tasks.ava256.model.losses import kl_with_absolute_logstd, weight_of_moved


def test_kl_by_hand():
    mean = np.array([0.0, 1.0, -2.0, 0.5]).reshape(1, 1, 4, 1)
    logstd = np.array([0.0, np.log(2.0), -np.log(2.0), 0.1]).reshape(1, 1, 4, 1)
    each = [
        0.0,
        -0.5 + np.log(2) + 0.5 + 0.125,
        -0.5 + np.log(2) + 2.0 + 0.125,
        -0.5 + 0.1 + 0.125 + np.exp(-0.2) / 2,
    ]
    kl = kl_with_absolute_logstd(mean, logstd)
    assert kl.shape == (1, 1, 1)
    np.testing.assert_allclose(kl.ravel(), [np.mean(each)], rtol=1e-6)


def test_kl_averages_over_the_width_alone():
    mean = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    kl = kl_with_absolute_logstd(mean, np.zeros_like(mean))
    np.testing.assert_allclose(kl, (mean**2).mean(2) / 2, rtol=1e-5)


def test_weights_of_what_moves_by_hand():
    """1 for what stays; half of the gain at half of the full distance, along whichever axis is the largest; never over 1 + the gain."""
    difference = np.float32([[0, 0, 0], [0, -20, 5], [40, 0, 0], [-3, 2, 400]])
    np.testing.assert_allclose(weight_of_moved(difference, 50.0, 40.0), [[1], [26], [51], [51]])
    np.testing.assert_allclose(weight_of_moved(difference, 0.0, 40.0), np.ones((4, 1)))
