"""Sequences of expression codes: blended, scaled, smoothed, with their head poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.tasks.ava256.apps import choices, expressions
from ava_jax.tasks.ava256.data import codes_file

RNG = np.random.default_rng(0)


def codes(count: int, segments=None, turn: float = 10.0) -> codes_file.Codes:
    """Random codes of a head that turns by so many degrees a frame."""
    rotation = Rotation.from_rotvec(np.deg2rad(turn) * np.arange(count)[:, None] * [0, 1, 0]).as_matrix()
    poses = np.concatenate([rotation, np.arange(3.0 * count).reshape(count, 3, 1)], axis=-1)
    return codes_file.of(RNG.standard_normal((count, 4, 4, 16)), ["A"] * count, segments or ["s"] * count, None, poses)


@pytest.mark.parametrize("count", [4, 5, 12])
def test_there_and_back_loops_without_a_jump(count):
    keys = codes(3)
    path = expressions.mixed(keys, expressions.there_and_back(3, count))
    assert path.codes.shape == (count, 4, 4, 16) and path.codes.dtype == np.float32 and path.head_pose.shape == (count, 3, 4)
    np.testing.assert_allclose(path.codes[0], keys.codes[0])
    if count == 4:
        np.testing.assert_allclose(path.codes, keys.codes[[0, 1, 2, 1]], atol=1e-6)
        assert path.frame.tolist() == [0, 1, 2, 1]
    most = np.abs(np.diff(keys.codes, axis=0)).max()
    assert np.abs(np.diff(np.concatenate([path.codes, path.codes[:1]]), axis=0)).max() <= most * 4 / count + 1e-5


def test_one_code_stays():
    path = expressions.mixed(codes(1), expressions.there_and_back(1, 3))
    np.testing.assert_array_equal(path.codes, np.repeat(path.codes[:1], 3, axis=0))


def test_in_turn_meets_each_and_comes_back_slowly():
    mix = expressions.in_turn(3, 30)
    assert mix.first[::10].tolist() == [0, 1, 2] and mix.second[::10].tolist() == [1, 2, 0] and not mix.weight[::10].any()
    assert mix.weight[1] < 0.03 < mix.weight[5] == 0.5
    between = expressions.mixed(codes(2, turn=90.0), expressions.in_turn(2, 4)).head_pose
    np.testing.assert_allclose(Rotation.from_matrix(between[1, :, :3]).magnitude(), np.deg2rad(45), rtol=1e-5)
    np.testing.assert_allclose(between[1, :, 3], [1.5, 2.5, 3.5], rtol=1e-6)


def test_exaggeration_scales_what_differs_from_the_neutral_face():
    one, neutral = codes(2), RNG.standard_normal((1, 4, 4, 16)).astype(np.float32)
    np.testing.assert_allclose(expressions.exaggerated(one, neutral, 1.0).codes, one.codes, atol=1e-6)
    np.testing.assert_allclose(expressions.exaggerated(one, neutral, 0.0).codes, np.repeat(neutral, 2, axis=0), atol=1e-6)
    twice = expressions.exaggerated(one, neutral, 2.0)
    np.testing.assert_allclose(twice.codes - neutral, 2 * (one.codes - neutral), atol=1e-5)
    assert expressions.strongest(codes_file.of(np.stack([neutral[0], twice.codes[1], one.codes[1]])), neutral) == 1


@pytest.mark.parametrize("text", ["2", "one_euro", "one_euro:0.5:0.1"])
def test_smoothing_quiets_noise_and_keeps_segments_apart(text):
    quiet = codes(60, segments=["a"] * 30 + ["b"] * 30, turn=0.0)
    step = np.repeat([0.0, 10.0], 30).reshape(-1, 1, 1, 1)
    noisy = quiet._replace(codes=(0.3 * quiet.codes + step).astype(np.float32))
    found = expressions.smoothed(noisy, choices.parse_smoothing(text), fps=30.0)
    for part, level in ((slice(5, 30), 0), (slice(35, 60), 10)):
        assert found.codes[part].std() < 0.7 * noisy.codes[part].std()
        assert abs(found.codes[part].mean() - level) < 0.05
    assert abs(found.codes[29].mean()) < 0.2 and abs(found.codes[30].mean() - 10) < 0.2, "a segment does not run into the next"
    rotation = found.head_pose[..., :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (60, 1, 1)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
    assert np.abs(np.diff(found.head_pose[:30, 0, 3], 2)).max() < np.abs(np.diff(quiet.head_pose[28:32, 0, 3])).max()


def test_a_one_euro_filter_is_a_low_pass_at_its_least_cutoff_that_opens_with_speed():
    rate = 2 * np.pi * 1.5 / 30
    step = np.r_[0.0, np.ones(9)]
    by_hand, share = [0.0], rate / (rate + 1)
    for value in step[1:]:
        by_hand.append(by_hand[-1] + share * (value - by_hand[-1]))
    np.testing.assert_allclose(expressions.one_euro(step, 30.0, 1.5, 0.0), by_hand, rtol=1e-12)
    ramp = np.arange(60.0)
    lag = [ramp[-1] - expressions.one_euro(ramp, 30.0, 0.5, beta)[-1] for beta in (0.0, 1.0)]
    assert lag[1] < 1 < 5 < lag[0], "what moves quickly is followed closely"


@pytest.mark.parametrize("text", ["-1", "soft", "nan", "one_euro:0", "one_euro:1:-1", "one_euro:1:2:3", "2:3"])
def test_smoothing_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=f"--smooth={text}: must be --smooth=2"):
        choices.parse_smoothing(text)


def test_no_smoothing():
    assert choices.parse_smoothing("") is None and choices.parse_smoothing("0") is None
