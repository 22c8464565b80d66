"""Meshes that shapes are learned from: reading, size, signed distances, grids and their files, the command."""

import subprocess
import sys

import numpy as np
import pytest
import trimesh

from ava_jax.tasks.ldif.apps import surface
from ava_jax.tasks.ldif.data import example_files, meshes
from ava_jax.tasks.ldif.data.example_files import Grid


def ball(radius=0.3, at=(0.1, -0.2, 0.15)):
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    sphere.apply_translation(at)
    return sphere


def read(tmp_path, mesh, name="mesh.ply"):
    mesh.export(tmp_path / name)
    return meshes.read(tmp_path / name)


def test_a_grid_file_is_as_described(tmp_path):
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    transform = np.arange(16, dtype=np.float32).reshape(4, 4)
    example_files.write_grid(tmp_path / "a.grd", Grid(values, transform))
    data = (tmp_path / "a.grd").read_bytes()
    assert np.frombuffer(data[:12], "<i4").tolist() == [4, 3, 2]
    assert np.frombuffer(data[12:76], "<f4").tolist() == list(range(16))
    assert np.frombuffer(data[76:88], "<f4").tolist() == [0, 1, 2], "x is the fastest"
    again = example_files.read_grid(tmp_path / "a.grd")
    np.testing.assert_array_equal(again.values, values)
    np.testing.assert_array_equal(again.world_to_grid, transform)
    for bad in (data[:-1], data[:40], b"\xff" * 12 + data[12:], data[:-4] + np.float32(np.inf).tobytes()):
        (tmp_path / "a.grd").write_bytes(bad)
        with pytest.raises(ValueError, match=r"a\.grd"):
            example_files.read_grid(tmp_path / "a.grd")


def test_rows_come_out_as_they_went_in(tmp_path):
    for name, columns, reader in (("a.sdf", 4, example_files.read_samples), ("a.pts", 6, example_files.read_points)):
        rows = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
        example_files.write_rows(tmp_path / name, rows)
        np.testing.assert_array_equal(reader(tmp_path / name), rows)
        with pytest.raises(ValueError, match="got"):
            example_files.write_rows(tmp_path / name, rows[:, 1:])
        (tmp_path / name).write_bytes(b"123")
        with pytest.raises(ValueError, match="3 bytes are no rows"):
            reader(tmp_path / name)


def test_normalisation_by_hand(tmp_path):
    """A box of 2 x 1 x 1, two triangles a side: moments of the centroids by area, counted here face by face."""
    box = trimesh.creation.box((2, 1, 1))
    box.apply_translation((5, 0, 0))
    mesh = read(tmp_path, box)
    matrix = meshes.normalization(mesh)
    area, centers = box.area_faces, box.triangles_center - [5, 0, 0]
    largest = max(np.linalg.eigvalsh((area[:, None] * centers).T @ centers / area.sum()))
    np.testing.assert_allclose(np.diag(matrix), [*3 * [0.25 / np.sqrt(largest)], 1])
    np.testing.assert_allclose(meshes.moved(mesh, matrix).vertices.mean(0), 0, atol=1e-12)
    twice = meshes.normalization(meshes.moved(mesh, matrix))
    np.testing.assert_allclose(twice, np.eye(4), atol=1e-9)


@pytest.mark.parametrize("change", ["whole", "inside out", "a hole", "km"])
def test_distances_of_a_ball(tmp_path, change):
    sphere, radius = ball(), 0.3
    if change == "inside out":
        sphere.invert()
    if change == "a hole":
        sphere.update_faces(np.arange(len(sphere.faces)) >= 3)
    scale = 1e6 if change == "km" else 1.0
    sphere.apply_scale(scale)
    mesh = read(tmp_path, sphere)
    assert mesh.is_open == (change == "a hole")
    points = np.random.default_rng(1).uniform(-0.7, 0.7, (500, 3))
    true = np.linalg.norm(points - [0.1, -0.2, 0.15], axis=1) - radius
    found = meshes.signed_distances(mesh, points * scale) / scale
    far = np.abs(true) > 0.02
    np.testing.assert_array_equal(found[far] < 0, true[far] < 0)
    np.testing.assert_allclose(found[far], true[far], atol=0.05 if change == "a hole" else 0.01)


def test_the_published_grid(tmp_path):
    grid = meshes.distance_grid(read(tmp_path, ball()))
    assert grid.values.shape == (32, 32, 32)
    node = np.linalg.inv(grid.world_to_grid) @ [31, 0, 5, 1]
    np.testing.assert_allclose(node[:3], [0.7, -0.7, -0.7 + 5 * 1.4 / 31], atol=1e-6)
    true = np.linalg.norm(node[:3] - [0.1, -0.2, 0.15]) - 0.3
    assert grid.values[5, 0, 31] == pytest.approx(true, abs=5e-3)
    again = surface.of_grid(grid)
    mesh = trimesh.Trimesh(again.vertices, again.faces)
    assert mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * np.pi * 0.3**3, rel=0.03)
    np.testing.assert_allclose(mesh.center_mass, [0.1, -0.2, 0.15], atol=2e-3)
    for spacing in (0.0, 1.5, 1e-3):
        with pytest.raises(ValueError, match="nodes per side"):
            meshes.distance_grid(read(tmp_path, ball()), spacing)


def test_what_is_no_mesh_is_one_line(tmp_path):
    (tmp_path / "empty.ply").write_text("")
    (tmp_path / "text.obj").write_text("hello\n")
    (tmp_path / "one.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    (tmp_path / "nan.obj").write_text("v 0 0 0\nv nan 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n")
    trimesh.creation.box((1, 1, 1e-7)).export(tmp_path / "flat.ply")
    (tmp_path / "mesh.xyz").write_text("1")
    for name in ("empty.ply", "text.obj", "one.obj", "nan.obj", "flat.ply", "mesh.xyz", "none.ply"):
        with pytest.raises(ValueError, match=name.replace(".", r"\.")) as e:
            meshes.read(tmp_path / name)
        assert "\n" not in str(e.value)


@pytest.mark.data
def test_published_meshes_are_closed(test_data):
    for name in ("bob", "blub"):
        assert not meshes.read(test_data / "golden" / "ldif" / f"{name}.ply").is_open


def run(*args):
    return subprocess.run([sys.executable, "-m", "ava_jax.bin.ava", "ldif", "grid", *map(str, args)], capture_output=True, text=True)


def test_the_command_goes_there_and_back(tmp_path):
    ball(radius=3.0, at=(10, 0, 0)).export(tmp_path / "a b.obj")
    done = run(f"--mesh={tmp_path / 'a b.obj'}", f"--out={tmp_path / 'a.grd'}", "--spacing=0.1")
    assert done.returncode == 0 and "15 x 15 x 15 nodes" in done.stdout and "holes" not in done.stdout, done.stderr
    done = run(f"--grid={tmp_path / 'a.grd'}", f"--out={tmp_path / 'again.glb'}")
    assert done.returncode == 0, done.stderr
    again = trimesh.load(tmp_path / "again.glb", force="mesh")
    radius = 0.25 * np.sqrt(3)  # the second moment of a sphere's surface along an axis is a third of the radius' square
    np.testing.assert_allclose(np.linalg.norm(again.vertices, axis=1), radius, atol=0.01)
    done = run(f"--mesh={tmp_path / 'a b.obj'}", "--nonormalize", f"--out={tmp_path / 'b.grd'}")
    assert done.returncode == 1 and "reaches 13" in done.stderr and not (tmp_path / "b.grd").exists()
    assert "give either --mesh" in run(f"--out={tmp_path / 'b.grd'}").stderr
