"""The task's own loss terms by hand."""

import numpy as np

from ava_jax.tasks.ava256.model.losses import kl_with_absolute_logstd


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
