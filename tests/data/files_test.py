"""Pictures and meshes; files that are written whole or not at all."""

import concurrent.futures
import io
import os
import subprocess
import sys

import numpy as np
import plyfile
import pytest
from PIL import Image

from ava_jax.core.mesh import Topology
from ava_jax.data import files, images, mesh_files


def _gradient(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)


def test_png_comes_back_exactly_and_avif_nearly():
    picture = _gradient(48, 32)
    np.testing.assert_array_equal(images.decode(images.encode(picture, "png")), picture)
    lossy = images.decode(images.encode(picture, "avif", quality=90)).astype(int)
    assert np.abs(lossy - picture).mean() < 6


def test_pictures_are_resized_as_pillow_does():
    picture = _gradient(48, 32)
    expected = np.asarray(Image.fromarray(picture).resize((11, 17)))
    np.testing.assert_array_equal(images.decode(images.encode(picture, "png"), (17, 11)), expected)


def test_a_grey_picture_becomes_colour():
    grey = _gradient(8, 8)[..., 0]
    np.testing.assert_array_equal(images.decode(images.encode(grey, "png")), np.repeat(grey[..., None], 3, -1))


def test_labels_are_never_mixed():
    labels = np.kron(np.array([[0, 7], [3, 10]]), np.ones((20, 20))).astype(np.uint8)
    small = images.decode_labels(images.encode(labels, "png"), (13, 9), whole=labels.shape)
    assert small.shape == (13, 9) and set(np.unique(small)) == {0, 3, 7, 10}
    with pytest.raises(ValueError, match="one 8-bit channel"):
        images.decode_labels(images.encode(_gradient(8, 8), "png"))


@pytest.mark.parametrize("suffix", ["png", "avif"])
def test_damaged_pictures_are_refused(suffix):
    data = images.encode(_gradient(64, 64), suffix)
    for broken in (data[: len(data) // 2], b"", b"no picture at all"):
        with pytest.raises(ValueError, match="cannot be decoded"):
            images.decode(broken)


def test_topology_round_trips_with_indices_apart(tmp_path):
    faces, face_uvs = np.array([[0, 1, 2], [2, 1, 3]], np.int32), np.array([[4, 1, 2], [3, 1, 0]], np.int32)
    topology = Topology(faces, face_uvs, np.random.default_rng(0).random((5, 2), np.float32))
    mesh_files.write_topology(tmp_path / "t.obj", topology, np.zeros((4, 3)))
    read = mesh_files.read_topology(tmp_path / "t.obj", 4)
    np.testing.assert_array_equal(read.faces, topology.faces)
    np.testing.assert_array_equal(read.face_uvs, topology.face_uvs)
    np.testing.assert_allclose(read.uvs, topology.uvs, atol=1e-7)


@pytest.mark.parametrize(
    "text, message",
    [
        ("v 0 0 0\nvt 0 0\nf 1/1 2/2 3/3 4/4\n", "line 3"),
        ("v 0 0 0\nvt 0 zero\n", "line 2"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not a mesh of triangles with UVs"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\n", "not a mesh"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n", "of 4 vertices; it has 3"),
    ],
)
def test_a_topology_that_does_not_fit_is_refused(tmp_path, text, message):
    (tmp_path / "t.obj").write_text(text)
    with pytest.raises(ValueError, match=message):
        mesh_files.read_topology(tmp_path / "t.obj", 4)


_CHART = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


@pytest.mark.parametrize(
    "text",
    [
        _CHART + "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n",
        _CHART + "f 1/1 2/2 3/3 4/4\n",
        _CHART + "f -4/-4 -3/-3 -2/-2\nf -4/-4 -2/-2 -1/-1\n",
        _CHART + "vn 0 0 1\nf 1/1/1 2/2/1 3/3/1\nf 1/1/1 3/3/1 4/4/1\n",
        "\ufeff" + _CHART.replace("\n", "\r\n") + "f\t1/1\t2/2\t3/3\r\n\tf 1/1 3/3 4/4",
    ],
    ids=["triangles", "a polygon", "negative", "normals", "bom, crlf, tabs"],
)
def test_forms_of_one_topology(tmp_path, text):
    (tmp_path / "t.obj").write_bytes(text.encode())
    read = mesh_files.read_topology(tmp_path / "t.obj", 4)
    assert read.faces.tolist() == read.face_uvs.tolist() == [[0, 1, 2], [0, 2, 3]] and read.uvs.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]


@pytest.mark.parametrize(
    "text, message",
    [
        (
            _CHART + "f 1/1 2/2 3/3\nf 1 2 3\n",
            "line 10: not a mesh of triangles with UVs: each corner.*got 'f 1 2 3'.*Export the mesh with",
        ),
        (_CHART + "f 1//1 2//1 3//1\n", "line 9: .*each corner of a face must name a vertex and a UV"),
        (_CHART + "f 1/1 2/2 3\n", "line 9: .*each corner"),
        (_CHART + "f 1/1 2/2 5/3\n", "line 9: a corner must name one of 4 vertices and 4 UVs; got vertex 5, UV 3"),
        (_CHART + "f 1/1 2/2 3/5\n", "line 9: a corner must name one of 4 vertices and 4 UVs; got vertex 3, UV 5"),
        (_CHART + "f -5/1 2/2 3/3\n", "line 9: a corner must name"),
        (_CHART + "f 1/0 2/2 3/3\n", "line 9: a corner is v, v/vt"),
        (_CHART + "f 1/1 2/2\n", "line 9: a face has 3 corners or more"),
        (_CHART + "f 1/1 2/2 x/3\n", "line 9: invalid literal"),
        (_CHART.replace("vt 1 1", "vt 1 nan") + "f 1/1 2/2 3/3\n", "line 7: finite numbers"),
    ],
)
def test_a_topology_that_cannot_be_right_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "t.obj").write_text(text)
    with pytest.raises(ValueError, match=rf"topology .*t\.obj, {message}") as error:
        mesh_files.read_topology(tmp_path / "t.obj", 4)
    assert "\n" not in str(error.value)


def test_vertices_round_trip_and_other_plys_are_read_too():
    vertices = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    np.testing.assert_array_equal(mesh_files.read_vertices(mesh_files.write_vertices(vertices)), vertices)
    rows = np.array([(*v, 9) for v in vertices], dtype=[("x", "f8"), ("y", "f8"), ("z", "f8"), ("quality", "u1")])
    buffer = io.BytesIO()
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")], text=True).write(buffer)
    np.testing.assert_allclose(mesh_files.read_vertices(buffer.getvalue()), vertices, rtol=1e-6)


def test_plys_of_windows_and_of_editors_are_read():
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n4 5 6\n"
    for data in (text.encode(), text.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + text.encode()):
        np.testing.assert_array_equal(mesh_files.read_vertices(data), [[1, 2, 3], [4, 5, 6]])


def test_damaged_plys_are_refused():
    data = mesh_files.write_vertices(np.zeros((7, 3), np.float32))
    for broken in (data[:-5], b"ply\n", b""):
        with pytest.raises(ValueError, match="no PLY"):
            mesh_files.read_vertices(broken)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "config.json"
    for content, expected in (("first ±", "first ±".encode()), (b"\x00second", b"\x00second")):
        files.replace(path, content)
        assert path.read_bytes() == expected and os.listdir(tmp_path) == ["config.json"]
    (tmp_path / "other").write_bytes(b"")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode, "as readable to others as any file"


@pytest.mark.parametrize("durable", [True, False])
def test_what_fails_while_it_is_written_leaves_what_was_there(tmp_path, durable):
    path = tmp_path / "table.csv"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), files.writing(path, durable=durable) as out:
        out.write(b"new, but only a part")
        out.flush()
        assert path.read_bytes() == b"old"
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, call):
    def fail(*args):
        raise OSError(28, "No space left on device")

    path = tmp_path / "neutrals.zip"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        files.replace(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["neutrals.zip"]


def test_threads_that_write_one_file_never_mix(tmp_path):
    path = tmp_path / "index"
    contents = [bytes([i]) * 50_000 for i in range(16)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: files.replace(path, content), contents))
    assert path.read_bytes() in contents and os.listdir(tmp_path) == ["index"]


def test_files_open_at_the_interpreters_end_are_closed_in_silence(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    program = f"""
import ctypes, pathlib
from ava_jax.data import files
kept = files.OpenFiles()
assert kept.read(pathlib.Path({str(tmp_path / "a")!r}), 3, 4) == b"tent"
files.kept = kept
ctypes.pythonapi.Py_IncRef(ctypes.py_object(files))  # a module that something holds to the end loses its names one by one
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
