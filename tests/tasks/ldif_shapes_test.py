"""Shapes stored as implicit functions: files, grids whose bounds miss nothing, meshes, the command, the NumPy file."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import trimesh
from ldif_made import decoder_of, elements_of
from scipy.spatial import cKDTree

from ava_jax.ops import implicit
from ava_jax.ops.implicit import SURFACE
from ava_jax.tasks.ldif.apps import shape, surface
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data import element_files, occnet_files
from ava_jax.tasks.ldif.standalone import sif


@pytest.fixture(scope="module")
def published(test_data):
    return test_data / "golden" / "ldif"


@pytest.mark.data
@pytest.mark.parametrize("name", ["test-sif", "sif-nosym", "test-ldif", "b7eefc4c25dd9e49238581dd5a8af82c"])
def test_published_files_come_out_as_they_went_in(published, name):
    text = (published / f"{name}.txt").read_text()
    again = element_files.render(*element_files.parse(text))
    first, second = ([np.array(line.split(), np.float32) for line in one.splitlines()[2:]] for one in (text, again))
    assert text.splitlines()[:2] == again.splitlines()[:2]
    for a, b in zip(first, second):
        radii = slice(4, 7)
        np.testing.assert_array_max_ulp(a[radii], b[radii], 1)
        a[radii] = b[radii] = 0
        np.testing.assert_array_equal(a, b)


@pytest.mark.data
def test_a_published_decoder_comes_out_bit_for_bit(published):
    data = (published / "extracted.occnet").read_bytes()
    assert occnet_files.render(occnet_files.read(published / "extracted.occnet")) == data


def test_files_of_our_own(tmp_path):
    elements = elements_of(5, features=3)
    element_files.write(tmp_path / "a.txt", elements, symmetric=2)
    again, symmetric = element_files.read(tmp_path / "a.txt")
    assert symmetric == 2
    for a, b in zip(elements, again):
        np.testing.assert_allclose(a, b, rtol=3e-7)
    occnet_files.write(tmp_path / "a.occnet", decoder_of(8))
    assert (tmp_path / "a.occnet").stat().st_size == 8 + 4 * occnet_files._count(8)
    np.testing.assert_array_equal(occnet_files.read(tmp_path / "a.occnet").last.weight, decoder_of(8).last.weight)


ROW = "-1 0 0 0 .1 .1 .1 0 0 0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 must be SIF"),
        ("SIF\n1 0\n", "line 2 must be three whole numbers"),
        ("SIF\n1 1 0\n", "got 1 1 0"),
        ("SIF\n999999999 0 0\n", "got 999999999 0 0"),
        (f"SIF\n2 0 0\n{ROW} 0\n", "promises 2 elements, and 1 follow"),
        (f"SIF\n1 0 0\n{ROW}\n", "element 1 must be 11 numbers; got 10 words"),
        ("SIF\n1 0 0\n" + ROW.replace("-1", "nan") + " 0\n", "element 1 has a number that is not finite"),
        (f"SIF\n2 0 0\n{ROW} 0\n{ROW} 1\n", "symmetric elements come first"),
        (f"SIF\n1 0 0\n{ROW} 2\n", "must be 1 or 0"),
    ],
)
def test_what_is_no_file_of_elements_is_told(text, said):
    with pytest.raises(ValueError, match=said) as e:
        element_files.parse(text, "x.txt")
    assert "\n" not in str(e.value) and str(e.value).startswith("x.txt")


def test_what_is_no_decoder_is_told(tmp_path):
    path = tmp_path / "a.occnet"
    good = occnet_files.render(decoder_of(4))
    for data in (b"", good[:-4], good + b"x", b"\x02" + good[1:], good[:-4] + np.float32(np.nan).tobytes()):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.occnet"):
            occnet_files.read(path)


@pytest.mark.parametrize("symmetric", [0, 2, 6])
@pytest.mark.parametrize("kind", ["sif", "axes", "cut", "ldif", "ldif cut"])
def test_a_grid_by_blocks_is_the_grid(kind, symmetric):
    decoder = decoder_of() if "ldif" in kind else None
    made = Shape(elements_of(6, 4 if decoder else 0), symmetric, decoder, rotated=kind != "axes", cut="cut" in kind)
    places = shape.centers(21)
    z, y, x = np.meshgrid(places, places, places, indexing="ij")
    whole = np.asarray(made.values(np.stack([x, y, z], -1).reshape(-1, 3))).reshape(21, 21, 21)
    for implementation in ("jax", None):
        done = []
        found = shape.sample(made, places, progress=done.append, implementation=implementation)
        np.testing.assert_allclose(found, whole, atol=4e-6)
        assert sum(done) == whole.size


@pytest.mark.parametrize("seed", range(4))
def test_blocks_that_are_passed_over_have_no_surface(seed):
    made = Shape(elements_of(12, seed=seed, size=0.4), symmetric=3)
    places = shape.centers(50)
    whole, sparse = (shape.sample(made, places, near=near, implementation="jax") for near in (None, SURFACE))
    np.testing.assert_array_equal(whole < SURFACE, sparse < SURFACE)
    assert (np.abs(whole - sparse) > 1e-5).any(), "something was passed over"
    crossing = [np.diff((whole < SURFACE).astype(int), axis=axis) != 0 for axis in range(3)]
    for axis, edges in enumerate(crossing):  # both ends of an edge that the surface crosses are the function's own
        for end in (slice(None, -1), slice(1, None)):
            at = tuple(end if i == axis else slice(None) for i in range(3))
            np.testing.assert_allclose(sparse[at][edges], whole[at][edges], atol=4e-6)
    a, b = surface.mesh_of(whole, places), surface.mesh_of(sparse, places)
    np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-6)
    np.testing.assert_array_equal(a.faces, b.faces)


def test_a_ball_has_its_place_and_size():
    radius = 0.2
    ball = implicit.Elements(
        *(np.array([part], np.float32) for part in (-0.07 * np.exp(0.5), [0.1, -0.2, 0.3], 3 * [radius**2], 3 * [0], []))
    )
    found = surface.extract(Shape(ball), 64)
    mesh = trimesh.Trimesh(found.vertices, found.faces)
    distance = np.linalg.norm(found.vertices - np.array([0.1, -0.2, 0.3]), axis=1)
    assert found.crosses and mesh.is_watertight and mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.015)
    np.testing.assert_allclose(distance, radius, atol=5e-4)


def test_without_a_surface_it_is_a_sphere():
    found = surface.extract(Shape(elements_of(3, size=0.01)), 32)
    assert not found.crosses
    np.testing.assert_allclose(np.linalg.norm(found.vertices, axis=1), 0.5, atol=1e-6)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "decoder", "rest"), [("test-sif", None, 5e-5), ("test-ldif", "extracted.occnet", 1e-4)])
def test_published_meshes(published, name, decoder, rest):
    """At the published tool's own points: as many faces, vertices within `rest` of a voxel (99%)."""
    made = shape.read(published / f"{name}.txt", decoder and published / decoder, cut=decoder is not None)
    at = np.arange(128)
    places = (((0.5 + 127.5 * at / 128) / 128) * 1.5 - 0.75).astype(np.float32)
    found = surface.mesh_of(shape.sample(made, places, near=SURFACE), places)
    golden = trimesh.load(published / f"{name}-output.ply", process=False)
    assert len(found.faces) == len(golden.faces)
    ours = (found.vertices - places[0]) / ((places[-1] - places[0]) / 127)
    for one, other in ((ours, golden.vertices), (golden.vertices, ours)):
        distance = cKDTree(one).query(other)[0]
        assert np.quantile(distance, 0.99) < rest and distance.max() < 2e-3


def test_the_numpy_file(tmp_path):
    """Evaluates as JAX does, knows itself, and follows a shape that is moved and stretched."""
    elements = elements_of(8)
    element_files.write(tmp_path / "a.txt", elements, symmetric=3)
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (40, 3)).astype(np.float32)
    alone = sif.read(str(tmp_path / "a.txt"))
    again, symmetric = element_files.read(tmp_path / "a.txt")
    np.testing.assert_allclose(alone.values(points), implicit.evaluate(again, points, symmetric=symmetric), atol=2e-6)
    np.testing.assert_allclose(sif.correspond(alone, alone, points), points, atol=1e-9)
    element_files.write(tmp_path / "b.txt", elements._replace(center=elements.center + np.float32([0.1, 0, 0])))
    element_files.write(tmp_path / "c.txt", elements)
    there = sif.correspond(sif.read(str(tmp_path / "c.txt")), sif.read(str(tmp_path / "b.txt")), points)
    np.testing.assert_allclose(there, points + [0.1, 0, 0], atol=1e-6)
    with pytest.raises(ValueError, match="as many elements"):
        sif.correspond(alone, sif.read(str(tmp_path / "b.txt")), points)
    source = pathlib.Path(sif.__file__)
    code = "import sys, sif; assert not any(name in sys.modules for name in ('jax', 'ava_jax')); print(len(sif.read(sys.argv[1]).center))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], cwd=source.parent, capture_output=True, text=True)
    assert done.stdout == "8\n", done.stderr


def run(*args):
    return subprocess.run([sys.executable, "-m", "ava_jax.bin.ava", "ldif", "extract", *args], capture_output=True, text=True)


def test_the_command(tmp_path):
    element_files.write(tmp_path / "a b.txt", elements_of(4), symmetric=1)
    element_files.write(tmp_path / "none.txt", elements_of(4, size=0.001))
    done = run(f"--shapes={tmp_path}", f"--out={tmp_path / 'out'}", "--format=obj", "--resolution=24")
    assert done.returncode == 0, done.stderr
    assert "none.obj" in done.stdout and "this is a sphere" in done.stdout
    mesh = trimesh.load(tmp_path / "out" / "a b.obj")
    assert mesh.is_watertight and mesh.volume > 0
    assert "there already" in run(f"--shapes={tmp_path / 'a b.txt'}", f"--out={tmp_path / 'out'}", "--format=obj").stdout


def test_the_command_tells_what_is_wrong_before_it_writes(tmp_path):
    element_files.write(tmp_path / "a.txt", elements_of(4))
    element_files.write(tmp_path / "b.txt", elements_of(4, features=4))
    done = run(f"--shapes={tmp_path}", f"--out={tmp_path / 'out'}", "--resolution=16")
    assert done.returncode == 1 and "have 4 features" in done.stderr.splitlines()[-1] and not (tmp_path / "out").exists()
