"""Pictures and meshes."""

import io

import numpy as np
import plyfile
import pytest
from PIL import Image

from ava_jax.core.mesh import Topology
from ava_jax.data import images, mesh_files


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
    small = images.decode_labels(images.encode(labels, "png"), (13, 9))
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


def test_vertices_round_trip_and_other_plys_are_read_too():
    vertices = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    np.testing.assert_array_equal(mesh_files.read_vertices(mesh_files.write_vertices(vertices)), vertices)
    rows = np.array([(*v, 9) for v in vertices], dtype=[("x", "f8"), ("y", "f8"), ("z", "f8"), ("quality", "u1")])
    buffer = io.BytesIO()
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")], text=True).write(buffer)
    np.testing.assert_allclose(mesh_files.read_vertices(buffer.getvalue()), vertices, rtol=1e-6)


def test_damaged_plys_are_refused():
    data = mesh_files.write_vertices(np.zeros((7, 3), np.float32))
    for broken in (data[:-5], b"ply\n", b""):
        with pytest.raises(ValueError, match="no PLY"):
            mesh_files.read_vertices(broken)
