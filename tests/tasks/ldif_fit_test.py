"""One shape fitted without a network: better than a sphere, with and without details; the command."""

import re
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from ava_jax.ops.implicit import SURFACE
from ava_jax.tasks.ldif.apps import fitting
from ava_jax.tasks.ldif.apps.fitting import Settings
from ava_jax.tasks.ldif.data import element_files, meshes


@pytest.fixture(scope="module")
def samples():
    """Of a rod, which no sphere resembles: everywhere, and near its surface; values by a formula."""
    rng = np.random.default_rng(0)

    def rows(places):
        axial = np.maximum(np.abs(places[:, 0]) - 0.5, 0)
        return np.concatenate([places, np.hypot(np.hypot(places[:, 1], places[:, 2]), axial)[:, None] - 0.12], 1).astype(np.float32)

    everywhere = rows(rng.uniform(-0.7, 0.7, (8000, 3)))
    near = rows(rng.uniform([-0.65, -0.2, -0.2], [0.65, 0.2, 0.2], (8000, 3)))
    return everywhere, near


def iou(shape, rows):
    found, true = np.asarray(shape.values(rows[:, :3])) < SURFACE, rows[:, 3] < 0
    return 100 * (found & true).sum() / (found | true).sum()


def test_the_best_sphere_by_hand():
    places = np.random.default_rng(0).uniform(-0.7, 0.7, (4000, 3))
    ball = np.concatenate([places, np.linalg.norm(places, axis=1, keepdims=True) - 0.5], 1)
    assert fitting.best_sphere(ball) > 94


def test_a_rod_of_few_elements(samples):
    uniform, near = samples
    steps = []
    fitted = fitting.fit(uniform[1000:], near, Settings(elements=4, steps=80, samples=256), progress=lambda step, loss: steps.append(loss))
    assert len(steps) == 80 and np.mean(steps[-10:]) < steps[0]
    assert iou(fitted, uniform[:1000]) > max(80, 2 * fitting.best_sphere(uniform[:1000]))
    again = fitting.fit(uniform[1000:], near, Settings(elements=4, steps=80, samples=256))
    np.testing.assert_array_equal(fitted.elements.center, again.elements.center)


def test_details_and_decoders(samples):
    """A new decoder learns, all but its statistics; a given one stays."""
    uniform, near = samples
    few = Settings(elements=2, features=4, steps=12, samples=128)
    first = fitting.fit(uniform, near, few)
    assert np.abs(first.decoder.last.weight).max() > 0 and float(first.decoder.norm2.variance) == 1 and float(first.decoder.norm2.mean) == 0
    kept = fitting.fit(uniform, near, few, decoder=first.decoder)
    np.testing.assert_array_equal(kept.decoder.dense1.weight, first.decoder.dense1.weight)
    with pytest.raises(ValueError, match="reads 4 features"):
        fitting.fit(uniform, near, Settings(features=8), decoder=first.decoder)
    with pytest.raises(ValueError, match="fewer than"):
        fitting.fit(np.abs(uniform), np.abs(near), few)


def test_the_command(tmp_path):
    mesh = trimesh.creation.box((4, 2, 1))
    mesh.apply_translation((10, 0, 0))
    mesh.export(tmp_path / "a box.obj")
    command = [sys.executable, "-m", "ava_jax.bin.ava", "ldif", "fit", f"--mesh={tmp_path / 'a box.obj'}"]
    flags = ["--elements=8", "--steps=60", "--samples=256", "--resolution=32"]
    done = subprocess.run([*command, f"--out={tmp_path / 'out'}", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "f_score" in done.stdout
    assert len(element_files.read(tmp_path / "out" / "a box.txt")[0].constant) == 8
    ours, sphere = map(float, re.search(r"IoU ([\d.]+) % of 10,000 samples; the best single sphere has ([\d.]+)", done.stdout).groups())
    assert ours > sphere + 10
    again = meshes.read(tmp_path / "out" / "a box.ply").vertices
    np.testing.assert_allclose((again.max(0) + again.min(0)) / 2, [10, 0, 0], atol=0.3)
    assert "and --out=FOLDER" in subprocess.run(command, capture_output=True, text=True).stderr
