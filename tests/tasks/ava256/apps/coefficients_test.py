"""Coefficients to codes: what is recovered, how frames are paired, what is refused, and the command from files to files."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ava_jax.tasks.ava256.apps import coefficients
from ava_jax.tasks.ava256.data import codes_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
FRAMES, COUNT = 120, 6


def made(noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, codes that are linear in them but for noise, and the map."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, [1, 10, 0.1, 3, 1, 2], (FRAMES, COUNT)) + 5
    weights = rng.normal(0, 1, (COUNT, 256)) / [[1], [10], [0.1], [3], [1], [2]]
    return values, (values @ weights + rng.normal(0, noise, (FRAMES, 256))).reshape(FRAMES, 4, 4, 16), weights


def segments() -> list[str]:
    return [f"s{i // 20}" for i in range(FRAMES)]


def test_a_linear_map_is_recovered():
    values, codes, _ = made()
    found, _ = coefficients.fit(values, codes, segments())
    assert found.explained > 0.9999 and found.ridge == coefficients.RIDGES[0]
    np.testing.assert_allclose(found.codes(values), codes, atol=1e-3)
    assert found.codes(values[:3]).shape == (3, 4, 4, 16) and found.codes(values).dtype == np.float32


def test_the_ridge_is_chosen_by_frames_held_out():
    rng = np.random.default_rng(3)
    values, codes, weights = made(noise=6.0)
    many = np.concatenate([values, rng.normal(0, 1, (FRAMES, 90))], axis=1)  # that say nothing
    found, tried = coefficients.fit(many, codes, segments())
    assert tried[coefficients.RIDGES[0]] < found.explained - 0.05 < 1 and coefficients.RIDGES[0] < found.ridge < coefficients.RIDGES[-1]
    other, _, _ = made(seed=9)
    inputs = np.concatenate([other, rng.normal(0, 1, (FRAMES, 90))], axis=1)
    truth = (other @ weights).reshape(-1, 4, 4, 16)

    def error(codes):
        return np.square(codes - truth).mean()

    without = np.linalg.lstsq(many - many.mean(0), (codes - codes.mean(0)).reshape(FRAMES, -1), rcond=None)[0]
    plain = ((inputs - many.mean(0)) @ without).reshape(-1, 4, 4, 16) + codes.mean(0)
    assert error(found.codes(inputs)) < 0.7 * error(plain)


def test_what_is_explained_is_of_other_segments():
    values, codes, _ = made()
    noise = np.random.default_rng(1).normal(size=codes.shape)
    found, _ = coefficients.fit(values, noise, segments())
    assert found.explained < 0.02, "nothing to be found"
    # A segment number as a coefficient tells its frames' mean apart, which is of no use for another segment.
    means = np.repeat(np.random.default_rng(2).normal(size=(6, 256)), 20, axis=0).reshape(codes.shape)
    marks = np.eye(6)[np.arange(FRAMES) // 20]
    assert coefficients.fit(marks, means, segments())[0].explained < 0.02
    assert coefficients.fit(marks, means, range(FRAMES))[0].explained > 0.9, "neighbours held out one by one would tell"


def test_stretches_are_held_out_where_there_are_no_segments():
    folds = coefficients._folds(["one"] * 12, 12)
    np.testing.assert_array_equal(folds, [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4])
    by_segment = coefficients._folds(segments(), FRAMES)
    assert all(len(set(by_segment[i : i + 20])) == 1 for i in range(0, FRAMES, 20)) and by_segment.max() == 4


def codes_of(codes: np.ndarray) -> codes_file.Codes:
    return codes_file.of(codes, ["a"] * len(codes), segments()[: len(codes)], np.arange(len(codes)))


def test_frames_are_paired_by_name():
    values, codes, _ = made()
    order = np.random.default_rng(0).permutation(FRAMES)[:50]
    held = coefficients.Coefficients(values[order], np.full(50, "a"), np.array(segments())[order], order)
    ours, theirs, notes = coefficients.paired(held, codes_of(codes))
    np.testing.assert_array_equal(held.values[ours], values[theirs])
    assert len(ours) == 50 and notes == ["50 frames have both, of 50 with coefficients and 120 with codes"]
    with pytest.raises(ValueError, match="no frame has both: coefficients begin with b s"):
        coefficients.paired(held._replace(capture=np.full(50, "b")), codes_of(codes))
    ours, theirs, notes = coefficients.paired(coefficients.Coefficients(values), codes_of(codes))
    np.testing.assert_array_equal(ours, theirs)
    assert "paired with the codes in order" in notes[0]
    with pytest.raises(ValueError, match="of 119 frames do not say which"):
        coefficients.paired(coefficients.Coefficients(values[1:]), codes_of(codes))


def test_what_cannot_be_fitted_is_told():
    values, codes, _ = made()
    with pytest.raises(ValueError, match="at least 10 frames.*got 9"):
        coefficients.fit(values[:9], codes[:9], segments()[:9])
    with pytest.raises(ValueError, match="codes of all 120 frames are the same"):
        coefficients.fit(values, np.ones_like(codes), segments())
    found, _ = coefficients.fit(values, codes, segments())
    with pytest.raises(ValueError, match="the fit is of 6 coefficients .coefficients.; got 5"):
        found.codes(values[:, 1:])
    assert found.unlike(values[:20]) == 0 and found.unlike(values[:20] + [[0, 0, 9, 0, 0, 0]]) == 20


def test_files(tmp_path):
    values, codes, _ = made()
    found, _ = coefficients.fit(values, codes, segments(), keys=("expr", "jaw"))
    coefficients.save(tmp_path / "fit.npz", found)
    again = coefficients.load(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again.codes(values), found.codes(values))
    assert (again.ridge, again.explained, again.keys) == (found.ridge, found.explained, ("expr", "jaw"))
    np.savez(tmp_path / "c.npz", expr=values[:, :4], jaw=values[:, 4:].reshape(FRAMES, 2, 1), frame=np.arange(FRAMES))
    held = coefficients.read(tmp_path / "c.npz", ("expr", "jaw"))
    np.testing.assert_array_equal(held.values, values)
    assert not held.named
    with pytest.raises(ValueError, match="has no array 'coefficients'; name others with --keys"):
        coefficients.read(tmp_path / "c.npz")
    np.savez(tmp_path / "odd.npz", coefficients=np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="numbers of frame 0"):
        coefficients.read(tmp_path / "odd.npz")
    (tmp_path / "no.npz").write_bytes(b"nonsense")
    for read in (coefficients.read, coefficients.load):
        with pytest.raises(ValueError, match="no.npz: is no"):
            read(tmp_path / "no.npz")
        with pytest.raises(FileNotFoundError, match="there is no such"):
            read(tmp_path / "gone.npz")
    with pytest.raises(ValueError, match="c.npz: is no fit"):
        coefficients.load(tmp_path / "c.npz")


def test_the_command(tmp_path):
    values, codes, _ = made(noise=0.1)
    codes_file.write(tmp_path / "codes.npz", codes_of(codes))
    np.savez(tmp_path / "known.npz", flame=values[:100], capture=np.full(100, "a"), segment=segments()[:100], frame=np.arange(100))
    np.savez(tmp_path / "new.npz", flame=values[100:])

    def command(*words):
        env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
        line = [sys.executable, "-m", "ava_jax.bin.ava", "ava256", "fit_coefficients", *words]
        return subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)

    done = command("--codes=codes.npz", "--coefficients=known.npz", "--keys=flame", "--out=fit.npz")
    assert done.returncode == 0, done.stderr
    assert "100 frames have both, of 100 with coefficients and 120 with codes" in done.stdout and "explains 99" in done.stdout
    done = command("--fit=fit.npz", "--coefficients=new.npz", "--out=driven.npz")
    assert done.returncode == 0, done.stderr
    driven = codes_file.read(tmp_path / "driven.npz")
    assert np.square(driven.codes - codes[100:]).mean() < 0.01 * np.square(codes - codes.mean(0)).mean()
    done = command("--coefficients=new.npz", "--out=driven.npz")
    assert done.returncode == 1 and done.stderr.endswith("one of the two.\n")
