"""UV charts held against what a model makes of them."""

import dataclasses
import re
import runpy
import shutil

import numpy as np
import pytest

from ava_jax.captures import appearance, ava256, chart, projection
from ava_jax.core.mesh import Topology
from ava_jax.data import mesh_files
from ava_jax.data.archive import Archives
from ava_jax.synth.heads import geometry, layouts, standin
from ava_jax.tasks.base import load_task


def moved(topology: Topology, change) -> Topology:
    return dataclasses.replace(topology, uvs=change(topology.uvs.astype(np.float64)).astype(np.float32))


def measured(topology: Topology, scale: float = 1.0) -> chart.Chart:
    return chart.measure(topology, scale * layouts.generic_head(), per_side=32)


def test_the_procedural_chart_is_sound():
    found = measured(geometry.topology())
    assert (found.islands, found.loose, found.outside, found.overlap, found.turned, found.empty) == (1, 0, 0, 0, 0, 0)
    assert found.across == 0
    assert found.covered == 1 and 0.25 < found.on_face < 0.3 and found.on_face + found.on_rest == pytest.approx(1)
    assert found.face_mm < found.rest_mm  # its texels are denser on the face
    assert found.doubts() == [] and "27% on the face" in found.line()
    chart.require(geometry.topology(), "x.obj")


def test_the_stand_in_is_sound():
    made = standin.mesh()
    vertices = layouts.load(layouts.STAND_IN, "").vertices(layouts.generic_head())
    found = chart.measure(made.topology, vertices, per_side=128)
    assert (found.vertices, found.uvs, found.islands, found.outside, found.overlap) == (5023, 5118, 5, 0, 0)
    assert 0.15 < found.empty < 0.25 and found.touching == 0 and 0 < found.across < 0.02 and found.doubts() == []


@pytest.mark.data
def test_the_registered_chart_is_sound(test_data):
    topology = mesh_files.read_topology(test_data / "assets" / "face_topology.obj", 7306)
    vertices = np.fromfile(test_data / "assets" / "021924.bin", "<f4").reshape(-1, 3)
    found = chart.measure(topology, vertices, per_side=128)
    assert (found.loose, found.islands, found.empty) == (1565, 1, 0) and found.overlap < 1e-4
    assert 0.2 < found.on_face < 0.25 and found.doubts() == []


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda uv: uv * 1024, r"x\.obj: UVs must lie in 0\.\.1; \d+% of the faces.*scale pixels"),
        (lambda uv: uv + [1, 0], "100% of the faces have others.*UDIM"),
        (lambda uv: np.abs(uv - [0.5, 0]), r"islands of the UV chart overlap on (9\d|100)% of it, as mirrored halves do"),
    ],
    ids=["pixels", "another tile", "mirrored halves"],
)
def test_what_cannot_be_trained_on_is_refused_in_a_line(change, words):
    with pytest.raises(ValueError, match=words) as error:
        chart.require(moved(geometry.topology(), change), "x.obj")
    assert "\n" not in str(error.value)


def test_a_mesh_of_too_few_vertices_is_refused():
    with pytest.raises(ValueError, match="measure: the faces name 7921 vertices; got a mesh of 5023"):
        chart.measure(geometry.topology(), np.zeros((5023, 3)), per_side=32)


def test_one_stray_face_is_told_and_taken():
    topology = geometry.topology()
    uvs = topology.uvs.copy()
    uvs[0] += [0, 0.5]
    stray = dataclasses.replace(topology, uvs=uvs)
    chart.require(stray, "x.obj")
    (doubt,) = measured(stray).doubts()
    assert "outside of 0..1" in doubt


def test_a_small_face_is_told():
    """The square's lower middle, where the face is, drawn together."""

    def shrunk(uv):
        away = uv - [0.5, 0.42]
        size = np.abs(away).max(1, keepdims=True)
        return [0.5, 0.42] + away * np.minimum(1, (size / 0.42) ** 1.5)

    (doubt,) = measured(moved(geometry.topology(), shrunk)).doubts()
    assert "of the primitives are on the face" in doubt and "enlarge the face" in doubt


def test_empty_charts_mirrored_islands_and_large_meshes_are_told():
    assert "on no surface" in measured(moved(geometry.topology(), lambda uv: uv * 0.7)).doubts()[0]
    made = standin.mesh()
    vertices = layouts.load(layouts.STAND_IN, "").vertices(layouts.generic_head())
    uvs = made.topology.uvs.copy()
    skin = np.abs(uvs[:, 0] - 0.065) > 0.06  # all but the front of an eye
    uvs[~skin & (uvs[:, 1] > 0.86), 0] = 0.13 - uvs[~skin & (uvs[:, 1] > 0.86), 0]
    turned = chart.measure(dataclasses.replace(made.topology, uvs=uvs), vertices, per_side=32)
    assert any("is mirrored" in doubt for doubt in turned.doubts())
    assert any("lies outside of the volume" in doubt for doubt in measured(geometry.topology(), scale=1.8).doubts())


def test_islands_that_touch_are_told():
    """Two halves of a square with an edge in common that is a seam: each side has its own UVs."""
    uvs = np.float32([[0, 0], [0.5, 0], [0.5, 1], [0, 1], [0.5, 0], [1, 0], [1, 1], [0.5, 1]])
    faces = np.int32([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    vertices = np.concatenate([uvs, np.zeros((8, 1))], axis=1) * [200, 250, 0]
    found = chart.measure(Topology(faces, faces, uvs), vertices, per_side=32)
    assert found.islands == 2 and found.touching == pytest.approx(2 / 1024) and found.across == 0
    assert any("islands touch" in doubt for doubt in found.doubts())
    apart = chart.measure(Topology(faces, faces, uvs), vertices + np.outer(np.arange(8) > 3, [0, 0, 400]), per_side=32)
    assert apart.across == pytest.approx(1 / 32)


def test_a_run_refuses_such_a_chart_and_the_check_shows_it(tiny_capture, tmp_path, capsys):
    root = shutil.copytree(tiny_capture, tmp_path / "captures")
    config = runpy.run_path("configs/ava256.py")["get_config"]("tiny")
    config.data.root = str(root)
    (picture,) = load_task(config).draw_check(tmp_path)
    assert picture.is_file()
    line = capsys.readouterr().out
    assert re.match(r"chart:    7921 vertices \(0 in no face\), 7921 UVs, 1 island; of 1024 primitives 2\d% on the face", line)
    assert line.count("\n") == 1
    lines = (root / "face_topology.obj").read_text().splitlines()
    halved = [f"vt {abs(float(line.split()[1]) - 0.5)} {line.split()[2]}" if line.startswith("vt") else line for line in lines]
    (root / "face_topology.obj").write_text("\n".join(halved) + "\n")
    with pytest.raises(ValueError, match=r"face_topology\.obj: islands of the UV chart overlap"):
        load_task(config).prepare()


def test_textures_that_are_upside_down_are_told(tiny_capture):
    capture = ava256.load(ava256.find(str(tiny_capture), "")[0])
    archives = Archives()
    found = projection.reference(archives, capture)
    topology = mesh_files.read_topology(tiny_capture / "face_topology.obj", len(found.points))
    assert appearance.doubts(archives, [capture], topology, capture.cameras) == []
    (line,) = appearance.doubts(archives, [capture], moved(topology, lambda uv: uv * [1, -1] + [0, 1]), capture.cameras)
    assert "the texture fits the images upside down" in line and "1 - v" in line and "\n" not in line
