"""Image metrics against NumPy, and what masks must not let through."""

import dm_pix
import jax
import numpy as np
import pytest

from ava_jax.metrics import image as metrics


def numpy_ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM of every whole window of two [H, W] images in 0-255, by loops (Wang et al. 2004, equation 13)."""
    offset = np.arange(11) - 5
    line = np.exp(-0.5 * (offset / 1.5) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    out = np.zeros((a.shape[0] - 10, a.shape[1] - 10))
    for r, c in np.ndindex(out.shape):
        x, y = a[r : r + 11, c : c + 11], b[r : r + 11, c : c + 11]
        mx, my = (window * x).sum(), (window * y).sum()
        vx, vy, vxy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum(), (window * (x - mx) * (y - my)).sum()
        out[r, c] = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return out


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A render, a photograph and a mask that is another for each of two samples."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (2, 17, 14, 3)).astype(np.uint8)
    image = (truth + rng.normal(0, 20, truth.shape)).astype(np.float32)
    mask = np.zeros((2, 17, 14), bool)
    mask[0, 4:12, 3:12] = True
    mask[1, 6:7, 5:9] = True
    return image, truth, mask


def test_a_known_image():
    truth = np.full((1, 16, 16, 3), 100, np.uint8)
    image = np.full((1, 16, 16, 3), 110.0, np.float32)
    np.testing.assert_allclose(metrics.psnr(image, truth), 20 * np.log10(255 / 10), rtol=1e-6)
    np.testing.assert_allclose(metrics.l1(image, truth), 10.0, rtol=1e-5)
    c1 = (0.01 * 255) ** 2
    np.testing.assert_allclose(metrics.ssim(image, truth), (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), rtol=1e-4)


def test_whole_images_match_numpy(pair):
    image, truth, _ = pair
    error = np.clip(image, 0, 255).astype(np.float64) - truth
    np.testing.assert_allclose(metrics.psnr(image, truth), -10 * np.log10((error**2).mean((1, 2, 3)) / 255**2), rtol=1e-5)
    np.testing.assert_allclose(metrics.l1(image, truth), np.abs(error).mean((1, 2, 3)), rtol=1e-5)
    clipped, exact = np.clip(image, 0, 255).astype(np.float64), truth.astype(np.float64)
    expected = [np.mean([numpy_ssim_map(clipped[i, ..., c], exact[i, ..., c]) for c in range(3)]) for i in range(2)]
    np.testing.assert_allclose(metrics.ssim(image, truth), expected, rtol=1e-4)


def test_masked_images_match_numpy(pair):
    image, truth, mask = pair
    clipped, exact = np.clip(image, 0, 255).astype(np.float64), truth.astype(np.float64)
    for i in range(2):
        error = (clipped[i] - exact[i])[mask[i]]
        np.testing.assert_allclose(metrics.psnr(image, truth, mask)[i], -10 * np.log10((error**2).mean() / 255**2), rtol=1e-5)
        np.testing.assert_allclose(metrics.l1(image, truth, mask)[i], np.abs(error).mean(), rtol=1e-5)
        filled = np.where(mask[i][..., None], clipped[i], exact[i])
        similarity = np.stack([numpy_ssim_map(filled[..., c], exact[i, ..., c]) for c in range(3)], -1)
        np.testing.assert_allclose(metrics.ssim(image, truth, mask)[i], similarity[mask[i][5:-5, 5:-5]].mean(), rtol=1e-4)


def test_errors_outside_the_mask_do_not_count(pair):
    image, truth, mask = pair
    worse = np.where(mask[..., None], image, 255.0 - truth)
    for name, score in metrics.scores(image, truth, mask).items():
        np.testing.assert_array_equal(score, metrics.scores(worse, truth, mask)[name], err_msg=name)


def test_an_empty_mask_is_nan_for_its_sample_alone(pair):
    image, truth, mask = pair
    mask[0] = False
    for name, score in metrics.scores(image, truth, mask).items():
        assert np.isnan(score[0]) and np.isfinite(score[1]), name


def test_a_mask_within_half_a_window_of_the_border_has_no_ssim(pair):
    image, truth, mask = pair
    mask[0] = False
    mask[0, :5] = True
    assert np.isnan(metrics.ssim(image, truth, mask)[0]) and np.isfinite(metrics.psnr(image, truth, mask)[0])


def test_equal_images_reach_the_limit(pair):
    _, truth, mask = pair
    np.testing.assert_allclose(metrics.psnr(truth, truth, mask), metrics.PSNR_LIMIT, rtol=1e-6)
    np.testing.assert_allclose(metrics.ssim(truth, truth, mask), 1.0, rtol=1e-6)


def test_renders_are_clipped_before_they_are_scored():
    truth = np.full((1, 16, 16, 3), 255, np.uint8)
    assert metrics.psnr(np.full(truth.shape, 400.0, np.float32), truth)[0] == metrics.PSNR_LIMIT


def test_same_under_jit_and_as_dm_pix(pair):
    image, truth, mask = pair
    compiled = jax.jit(metrics.scores)(image, truth, mask)
    for name, score in metrics.scores(image, truth, mask).items():
        np.testing.assert_allclose(compiled[name], score, rtol=1e-5, err_msg=name)
    unit = np.clip(image, 0, 255) / 255, truth.astype(np.float32) / 255
    np.testing.assert_allclose(metrics.psnr(image, truth), dm_pix.psnr(*unit), rtol=1e-6)


def test_errors_name_the_argument(pair):
    image, truth, mask = pair
    with pytest.raises(ValueError, match=r"psnr: image and truth must be \[B, H, W, 3\] alike; got \(2, 16, 14, 3\)"):
        metrics.psnr(image[:, 1:], truth)
    with pytest.raises(ValueError, match=r"l1: mask must be \[B, H, W\] = \(2, 17, 14\); got \(2, 17\)"):
        metrics.l1(image, truth, mask[..., 0])
    with pytest.raises(ValueError, match=r"ssim: images must be at least 11 x 11, the window; got 10 x 14"):
        metrics.ssim(image[:, :10], truth[:, :10])


def test_a_gain_and_an_offset_per_channel_are_undone(pair):
    _, truth, mask = pair
    faded = truth * np.float32([0.5, 0.8, 0.7]) + np.float32([20, 10, 5])
    np.testing.assert_allclose(metrics.colour_corrected(faded, truth), truth, atol=1e-2)
    outside = np.where(mask[..., None], faded, 255.0)
    corrected = np.asarray(metrics.colour_corrected(outside, truth, mask))
    np.testing.assert_allclose(corrected[mask], truth[mask], atol=2e-2, err_msg="of the pixels that count alone")


def test_the_correction_is_a_line_fitted_to_the_image_and_turned_around(pair):
    image, truth, mask = pair
    corrected = np.asarray(metrics.colour_corrected(image, truth, mask))
    clipped = np.clip(image, 0, 255).astype(np.float64)
    for i, c in np.ndindex(2, 3):
        slope, offset = np.polyfit(truth[i, ..., c][mask[i]].astype(np.float64), clipped[i, ..., c][mask[i]], 1)
        np.testing.assert_allclose(corrected[i, ..., c], np.clip((clipped[i, ..., c] - offset) / slope, 0, 255), atol=0.05)


def test_a_flat_image_is_only_moved():
    truth = np.zeros((1, 16, 16, 3), np.uint8)
    truth[:, 8:] = 200
    np.testing.assert_allclose(metrics.colour_corrected(np.full(truth.shape, 50.0), truth), 100.0, rtol=1e-5)
    np.testing.assert_allclose(metrics.colour_corrected(truth * 1.0, np.full(truth.shape, 100)), truth, atol=1e-3)


def test_labels_are_scored_apart(pair):
    image, truth, mask = pair
    labels = np.where(mask, 7, 2).astype(np.uint8)
    labels[1] = 2
    found = metrics.by_label(image, truth, labels, (7, 2, 5))
    for i, label in enumerate((7, 2)):
        for name, score in (("psnr", metrics.psnr), ("l1", metrics.l1)):
            np.testing.assert_allclose(found[name][:, i], score(image, truth, labels == label), rtol=1e-5, err_msg=f"{name} of {label}")
    assert np.isnan(found["psnr"][1, 0]) and np.isnan(found["l1"][:, 2]).all(), "an image without the label"
