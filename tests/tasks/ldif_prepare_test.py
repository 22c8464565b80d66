"""Examples of meshes: cameras, views, samples, and the command over a folder."""

import json
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from ava_jax.tasks.ldif.data import example_files, examples, meshes, packed, views

RADIUS = 0.25 * np.sqrt(3)  # of a normalised ball: a third of its square is the second moment along an axis


def ball():
    return trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    path = tmp_path_factory.mktemp("ball") / "ball.ply"
    ball().apply_scale(5).apply_translation((1, 2, 3)).export(path)
    return examples.make(meshes.read(path), np.random.default_rng(0), samples=4000)


@pytest.mark.data
def test_cameras_are_the_published_ones(test_data):
    published = np.loadtxt(test_data / "golden" / "ldif" / "dodeca_cameras.cam")
    ours = views.cameras()
    np.testing.assert_allclose(ours.position, published[:, :3], atol=1e-6)
    np.testing.assert_allclose(ours.rotation[:, 2], published[:, 3:6], atol=2e-6)
    np.testing.assert_allclose(-ours.rotation[:, 1], published[:, 6:9], atol=2e-6)


def test_views_of_a_ball(example):
    """Depth by hand at pixels of the middle: the ray's way to a ball of this radius, along the axis, cut to thousandths."""
    seen, every = example.views, views.cameras()
    distance = np.linalg.norm(every.position[0])
    angle = np.arctan(np.hypot(0.5, 0.5) / (112 / np.tan(0.5)))
    along = distance * np.cos(angle) - np.sqrt(RADIUS**2 - (distance * np.sin(angle)) ** 2)
    middle = seen.depth[:, 111:113, 111:113]
    np.testing.assert_allclose(middle, along * np.cos(angle), atol=2e-3)
    np.testing.assert_array_equal(np.rint(seen.depth * 1000).astype(np.float32) / np.float32(1000), seen.depth)
    np.testing.assert_allclose(seen.normals[:, 111, 111], np.tile([0, 0, 1], (20, 1)), atol=0.06)
    assert (seen.depth[:, 0, 0] == 0).all() and (seen.normals[seen.depth == 0] == 0).all()
    lengths = np.linalg.norm(seen.normals[seen.depth > 0], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)


def test_surface_points_lie_on_the_ball(example):
    places, normals = example.points[:, :3], example.points[:, 3:]
    radius = np.linalg.norm(places, axis=1)
    np.testing.assert_allclose(radius, RADIUS, atol=3e-3)
    assert ((places / radius[:, None] * normals).sum(1) > 0.99).all()
    assert len(np.unique(places, axis=0)) == len(places)
    assert (np.sign(places).reshape(-1, 3).mean(0) < 0.1).all(), "from all sides"


def test_few_pixels_serve_several_times(example):
    depth = np.zeros_like(example.views.depth)
    depth[3, 100, 90:93] = 0.8
    found = views.surface_points(views.Views(depth, example.views.normals), 7, np.random.default_rng(0))
    assert found.shape == (7, 6) and len(np.unique(found, axis=0)) == 3
    with pytest.raises(ValueError, match="no camera sees"):
        views.surface_points(views.Views(0 * depth, example.views.normals), 7, np.random.default_rng(0))


def test_samples_of_a_ball(example):
    radius = np.linalg.norm(example.near[:, :3], axis=1) - RADIUS
    assert example.near.shape == (4000, 4) and set(example.near[:, 3]) == {-1.0, 1.0} and np.abs(radius).max() < 0.042
    clear = np.abs(radius) > 1e-3  # the ball has facets
    np.testing.assert_array_equal(np.sign(radius[clear]), example.near[clear, 3])
    # t = 0.04 u^2: half of the pairs are nearer than 0.01.
    assert (np.abs(radius) < 0.01).mean() == pytest.approx(0.5, abs=0.05)
    assert 0.45 < (example.near[:, 3] > 0).mean() < 0.55
    true = np.linalg.norm(example.uniform[:, :3], axis=1) - RADIUS
    np.testing.assert_allclose(example.uniform[:, 3], true, atol=4e-3)
    assert np.abs(example.uniform[:, :3]).max() <= 0.7 and example.uniform[:, :3].std() == pytest.approx(1.4 / np.sqrt(12), rel=0.05)


def test_samples_stop_at_the_next_sheet(tmp_path):
    """Between two shells 0.02 apart no sample goes beyond the other one."""
    outer, inner = trimesh.creation.icosphere(4, RADIUS), trimesh.creation.icosphere(4, RADIUS - 0.02)
    inner.invert()
    (outer + inner).export(tmp_path / "shell.ply")
    mesh = meshes.read(tmp_path / "shell.ply")
    near = examples.near_surface(mesh, 2000, np.random.default_rng(0))
    found = meshes.signed_distances(mesh, near[:, :3])
    clear = np.abs(found) > 5e-4
    np.testing.assert_array_equal(np.sign(found[clear]), near[clear, 3])
    assert found.min() > -0.0102


def run(*args):
    return subprocess.run([sys.executable, "-m", "ava_jax.bin.ava", "ldif", "prepare", *map(str, args)], capture_output=True, text=True)


def test_a_folder_of_meshes(tmp_path):
    shapes = tmp_path / "meshes"
    for split, kind, name in (("train", "a class", "one"), ("train", "a class", "two"), ("test", "b", "one")):
        (shapes / split / kind).mkdir(parents=True, exist_ok=True)
        trimesh.creation.box((1, 0.5, 0.4)).export(shapes / split / kind / f"{name}.obj")
    holed = trimesh.creation.icosphere(3)
    holed.update_faces(np.arange(len(holed.faces)) > 0)
    holed.export(shapes / "train" / "a class" / "holed.off")
    (shapes / "train" / "a class" / "bad.ply").write_text("nonsense")
    out = tmp_path / "data"
    done = run(f"--meshes={shapes}", f"--out={out}", f"--packed={tmp_path / 'packed'}")
    assert done.returncode == 1 and "4 examples of 5 meshes (test 1, train 4); 1 with holes, mended; 1 could not be used" in done.stdout
    assert "bad.ply" in done.stderr and "Traceback" not in done.stderr
    assert (out / "train.txt").read_text().split("\n") == ["train/a class/holed/", "train/a class/one/", "train/a class/two/", ""]
    assert packed.read(tmp_path / "packed").shards == {"test": [1], "train": [3]}
    assert (tmp_path / "packed" / "train.txt").read_text() == (out / "train.txt").read_text()
    one = out / "test" / "b" / "one"
    assert example_files.read_grid(one / examples.GRID).values.shape == (32, 32, 32)
    near, uniform = example_files.read_samples(one / examples.NEAR), example_files.read_samples(one / examples.UNIFORM)
    assert near.shape == uniform.shape == (100_000, 4) and example_files.read_points(one / examples.POINTS).shape == (100_000, 6)
    with np.load(one / examples.DEPTH) as file:
        assert file["arr_0"].shape == (20, 224, 224, 4)
    assert np.loadtxt(one / examples.MATRIX).shape == (4, 4) and (one / "mesh_orig.obj").exists()
    report = json.loads((out / "prepare.json").read_text())
    assert report["made"] == 4 and [row["is_open"] for row in report["faults_and_holes"]] == [False, True]
    assert (near != example_files.read_samples(out / "train" / "a class" / "one" / examples.NEAR)).any(), "each draws its own"

    (shapes / "train" / "a class" / "bad.ply").unlink()
    before = (one / examples.NEAR).stat().st_mtime_ns
    again = run(f"--meshes={shapes}", f"--out={out}", "--open=refuse")
    assert again.returncode == 0 and (one / examples.NEAR).stat().st_mtime_ns == before, again.stderr
