"""Topology, UV lookups and the z-buffer."""

import numpy as np
import pytest

from ava_jax.core import cameras, mesh, zbuffer
from ava_jax.core.types import Cameras
from ava_jax.data import mesh_files

SQUARE = mesh.Topology(
    faces=np.array([[0, 1, 2], [2, 1, 3]], np.int32),
    face_uvs=np.array([[0, 1, 2], [2, 1, 3]], np.int32),
    uvs=np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32),
)


def test_texels_read_their_own_place_on_the_chart():
    size = 8
    index, weights = mesh.uv_barycentric(SQUARE, size)
    found = (SQUARE.uvs[index] * weights[..., None]).sum(-2)
    centres = (np.arange(size) + 0.5) / size
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(centres, (size, size)), atol=1e-6)
    np.testing.assert_allclose(found[..., 1], np.broadcast_to(1 - centres[:, None], (size, size)), atol=1e-6)  # the first row is v = 1


def test_texels_outside_the_chart_take_the_nearest():
    half = mesh.Topology(SQUARE.faces, SQUARE.face_uvs, SQUARE.uvs * np.array([0.5, 1], np.float32))
    index, weights = mesh.uv_barycentric(half, 8)
    found = (half.uvs[index] * weights[..., None]).sum(-2)
    np.testing.assert_allclose(found[:, 4:, 0], 0.4375, atol=1e-6)  # the last covered column's centre
    np.testing.assert_allclose(found[:, 7, 1], found[:, 3, 1], atol=1e-6)


def test_a_chart_off_the_texture_is_refused():
    away = mesh.Topology(SQUARE.faces, SQUARE.face_uvs, SQUARE.uvs + 2)
    with pytest.raises(ValueError, match="covers a texel"):
        mesh.uv_barycentric(away, 8)


@pytest.mark.parametrize("field, value", [("face_uvs", [[0, 1, 4]]), ("faces", [[0, 1, -1]]), ("uvs", [[0, 0, 0]])])
def test_topology_rejects_indices_that_fit_nothing(field, value):
    fields = {"faces": np.array([[0, 1, 2]]), "face_uvs": np.array([[0, 1, 2]]), "uvs": SQUARE.uvs}
    fields[field] = np.array(value)
    with pytest.raises(ValueError, match="Topology"):
        mesh.Topology(**fields)


def test_first_uv_is_the_first_corner_and_zero_without_faces():
    seam = mesh.Topology(np.array([[0, 1, 2], [1, 0, 2]]), np.array([[3, 2, 1], [0, 0, 0]]), SQUARE.uvs)
    np.testing.assert_array_equal(mesh.first_uv_of_vertex(seam, 4), [[1, 1], [0, 1], [1, 0], [0, 0]])
    with pytest.raises(ValueError, match="name 3 vertices"):
        mesh.first_uv_of_vertex(seam, 2)


@pytest.mark.data
def test_lookups_equal_the_reference(test_data):
    golden = np.load(test_data / "golden" / "ava256_uv.npz")
    topology = mesh_files.read_topology(test_data / "capture" / "face_topology.obj", 7306)
    index, weights = mesh.uv_barycentric(topology, 1024)
    same = (index == np.moveaxis(golden["uv_idx"], 0, -1)).all(-1)
    assert (~same).sum() <= 6  # texels in overlapping triangles
    np.testing.assert_array_equal(weights[same], np.moveaxis(golden["uv_bary"], 0, -1)[same])


def test_the_nearer_triangle_wins_and_weights_are_perspective_correct():
    camera = Cameras(np.eye(3), np.zeros(3), np.array([10.0, 10.0]), np.array([5.0, 5.0]))
    near_left = np.array([[-2.0, -2, 4], [6, -2, 12], [-2, 6, 4]])  # slanted: depth grows with x
    wall = np.array([[-9.0, -9, 20], [40, -9, 20], [-9, 40, 20]])
    points = np.concatenate([near_left, wall])
    triangle, weights = zbuffer.rasterize(zbuffer.project(points, camera), np.array([[3, 4, 5], [0, 1, 2]]), 11, 11)
    assert triangle[5, 5] == 1 and triangle[10, 10] == 0
    hit = (near_left * weights[5, 5, :, None]).sum(0)
    np.testing.assert_allclose(hit, [0, 0, 6], atol=1e-5)  # the plane z = 6 + x on the camera's axis
    covered = triangle >= 0
    np.testing.assert_allclose(weights[covered].sum(-1), 1, atol=1e-6)
    assert not weights[~covered].any()


def test_neighbours_leave_no_crack_and_triangles_behind_the_camera_are_left_out():
    rng = np.random.default_rng(0)
    points = rng.uniform(-3, 14, (4, 2))
    fan = np.concatenate([np.array([[-20.0, -20], [40, -20], [-20, 40], [40, 40]]), points[:1]])
    faces = np.array([[0, 1, 4], [1, 3, 4], [3, 2, 4], [2, 0, 4]])
    vertices = np.concatenate([fan, np.full((5, 1), 3.0)], axis=1)
    triangle, _ = zbuffer.rasterize(vertices, faces, 11, 9)
    assert (triangle >= 0).all()
    vertices[4, 2] = -1.0
    assert (zbuffer.rasterize(vertices, faces, 11, 9)[0] == -1).all()


def test_a_degenerate_or_endless_triangle_covers_nothing():
    line = np.array([[0.0, 0, 1], [5, 5, 1], [10, 10, 1]])
    endless = np.array([[0.0, 0, 1], [np.inf, 0, 1], [0, 5, 1]])
    for vertices in (line, endless):
        assert (zbuffer.rasterize(vertices, np.array([[0, 1, 2]]), 11, 11)[0] == -1).all()


def test_cameras_move_to_head_space():
    rng = np.random.default_rng(1)
    rotation, head_rotation = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    translation, head_translation = rng.standard_normal(3), rng.standard_normal(3)
    moved, position = cameras.head_to_camera(rotation, translation, np.concatenate([head_rotation, head_translation[:, None]], 1))
    point = rng.standard_normal(3)  # in head space
    through_world = rotation @ (head_rotation @ point + head_translation) + translation
    np.testing.assert_allclose(moved @ (point - position), through_world, atol=1e-12)


def test_look_at_puts_the_target_on_the_axis_and_up_upwards():
    rotation = cameras.look_at(np.array([3.0, 4, 5]), np.array([0.0, 1, 0]), np.array([0.0, 1, 0]))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    np.testing.assert_allclose((rotation @ (np.array([0.0, 1, 0]) - np.array([3.0, 4, 5])))[:2], 0, atol=1e-12)
    assert (rotation @ np.array([0.0, 1, 0]))[1] < 0  # image rows run downwards
