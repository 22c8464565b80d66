"""Sliders of expression: known directions are found in codes, and in a mesh that moves along them."""

import numpy as np
import pytest

from ava_jax.tasks.ava256.data.codes_file import CODE
from ava_jax.tasks.ava256.viewer import components

RNG = np.random.default_rng(0)


def _directions(count: int) -> np.ndarray:
    return np.linalg.qr(RNG.standard_normal((256, count)))[0].T


def test_components_of_codes_are_the_directions_that_made_them():
    truth, scales = _directions(3), np.array([5.0, 2.0, 0.5])
    weights = RNG.standard_normal((1000, 3)) * scales
    found = components.of_codes((weights @ truth + 3.0).reshape(-1, *CODE), components.CAPTURES)
    assert len(found.axes) == 3, "no more than there are"
    overlap = np.abs(found.axes.reshape(3, -1) @ truth.T)
    np.testing.assert_allclose(overlap, np.eye(3), atol=0.1)
    np.testing.assert_allclose(found.deviations, scales, rtol=0.2)
    np.testing.assert_allclose(found.shares, scales**2 / np.sum(scales**2), rtol=0.2)
    offset = found.offset(np.array([2.0, 0.0, 0.0]))
    assert offset.shape == CODE and np.linalg.norm(offset) == pytest.approx(2 * found.deviations[0], rel=1e-5)


def test_codes_that_are_all_the_same_have_none():
    with pytest.raises(ValueError, match="all the same"):
        components.of_codes(np.ones((4, *CODE), np.float32), components.CODES)


def test_the_priors_directions_are_those_that_move_the_mesh_most():
    truth = _directions(2)
    move = RNG.standard_normal((2, 30)) * np.array([[4.0], [1.0]])

    def mesh(codes):
        return 7.0 + (codes.reshape(len(codes), -1) @ truth.T @ move).reshape(len(codes), -1, 3)

    found = components.of_prior(mesh)
    first = found.axes[0].reshape(-1)
    moved = np.linalg.norm(first @ truth.T @ move)
    assert moved >= 0.99 * np.linalg.svd(truth.T @ move)[1][0], "no direction moves it further"
    assert found.shares[0] + found.shares[1] == pytest.approx(1.0, abs=1e-3)
    assert found.origin == components.PRIOR and "no recordings" in found.text


class _Recordings:
    """Frames of one capture; frame 3 cannot be read."""

    def __init__(self):
        self.asked = 0
        self.capture = type("Capture", (), {"name": "A"})()

    def sample(self, most):
        return [(self.capture, np.arange(6))]

    def encode(self, capture, frames):
        for frame in frames:
            self.asked += 1
            yield None if frame == 3 else np.random.default_rng(frame).standard_normal(CODE).astype(np.float32)


def test_components_of_captures_are_kept_in_the_runs_folder(tmp_path, capsys):
    first, again, other = _Recordings(), _Recordings(), _Recordings()
    found = components.of_captures(first, tmp_path, 10)
    assert first.asked == 6 and found.frames == 5 and "1 of 6 frames cannot be read" in capsys.readouterr().err
    kept = components.of_captures(again, tmp_path, 10)
    assert again.asked == 0
    np.testing.assert_array_equal(kept.axes, found.axes)
    components.of_captures(other, tmp_path, 20)
    assert other.asked == 6, "another checkpoint has other codes"
    (tmp_path / components.FILE).write_bytes(b"nonsense")
    components.of_captures(other, tmp_path, 20)
    assert other.asked == 12 and "damaged" in capsys.readouterr().err
