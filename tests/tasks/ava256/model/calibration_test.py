"""Colour calibration by hand."""

import numpy as np

from ava_jax.tasks.ava256.model.calibration import ColourCalibration


def test_calibration_adds_gains_and_offsets_and_takes_means_for_the_unseen():
    calibration = ColourCalibration(3, 2)
    rng = np.random.default_rng(0)
    tables = [rng.standard_normal(x.shape).astype(np.float32) for x in (calibration.camera_gain, calibration.camera_offset)]
    tables += [rng.standard_normal((2, 3)).astype(np.float32) for _ in range(2)]
    for variable, table in zip(
        (calibration.camera_gain, calibration.camera_offset, calibration.identity_gain, calibration.identity_offset), tables
    ):
        variable[...] = table
    image = rng.uniform(0, 255, (3, 2, 2, 3)).astype(np.float32)
    ours = calibration(image, np.array([1, -1, 2]), np.array([0, 1, -1]))
    gain, offset, identity_gain, identity_offset = tables
    gains = gain[1] + identity_gain[0], gain.mean(0) + identity_gain[1], gain[2] + identity_gain.mean(0)
    offsets = offset[1] + identity_offset[0], offset.mean(0) + identity_offset[1], offset[2] + identity_offset.mean(0)
    for b in range(3):
        np.testing.assert_allclose(ours[b], image[b] * gains[b] + offsets[b], rtol=1e-5, atol=1e-3)


def test_calibration_starts_as_the_identity():
    image = np.random.default_rng(0).uniform(0, 255, (1, 2, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(ColourCalibration(3, 2)(image, np.array([0]), np.array([1])), image, rtol=1e-6)
