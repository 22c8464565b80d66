"""Meshes of one topology carried by another."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.captures import transfer
from ava_jax.synth.heads import geometry, layouts, standin

TRIANGLE = np.array([[0.0, 0, 0], [4, 0, 0], [0, 4, 0]])


def head() -> tuple[np.ndarray, np.ndarray]:
    return layouts.generic_head(), geometry.topology().faces


def warp(points: np.ndarray) -> np.ndarray:
    """Smooth, of a few centimetres."""
    x, y, z = points.T
    return points + np.stack([8 * np.sin(y / 60), 0.1 * y + 6 * np.cos(x / 50), 0.08 * z + 9 * np.sin(x / 70 + y / 90)], axis=-1)


@pytest.mark.parametrize(
    "point, expected",
    [
        ((1, 1, 5), (1, 1, 0)),
        ((2, -3, 1), (2, 0, 0)),
        ((-2, -2, 1), (0, 0, 0)),
        ((4, 4, 0), (2, 2, 0)),
        ((9, -1, 0), (4, 0, 0)),
    ],
    ids=["within", "beyond an edge", "beyond a corner", "beyond the long edge", "beyond another corner"],
)
def test_the_nearest_point_of_a_triangle(point, expected):
    _, weights = transfer.nearest(np.array([point]), TRIANGLE, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(weights[0] @ TRIANGLE, expected, atol=1e-12)
    assert weights.sum() == pytest.approx(1) and weights.min() >= 0


def test_no_other_triangle_is_nearer():
    vertices, faces = head()
    rng = np.random.default_rng(0)
    points = vertices[rng.integers(0, len(vertices), 40)] + rng.normal(0, 8, (40, 3))
    triangle, weights = transfer.nearest(points, vertices, faces)
    found = np.linalg.norm(np.einsum("pc,pcl->pl", weights, vertices[faces[triangle]]) - points, axis=1)
    for point, distance in zip(points, found):
        every = transfer._nearest_weights(np.tile(point, (len(faces), 1, 1)), vertices[faces][:, None])[:, 0]
        assert distance <= np.linalg.norm(np.einsum("pc,pcl->pl", every, vertices[faces]) - point, axis=1).min() + 1e-9


def test_points_keep_their_distance_in_any_pose():
    vertices, faces = head()
    rng = np.random.default_rng(1)
    points = vertices[::50] + rng.normal(0, 5, vertices[::50].shape)
    bound = transfer.bind(points, vertices, faces)
    np.testing.assert_allclose(bound.follow(vertices), points, atol=1e-9)
    turn = Rotation.from_rotvec([0.4, -0.8, 0.3]).as_matrix()
    np.testing.assert_allclose(bound.follow(vertices @ turn.T + [10, -20, 5]), points @ turn.T + [10, -20, 5], atol=1e-9)


def test_a_smooth_warp_is_reproduced():
    """Vertices of another topology on a head that is warped: as if they had been warped themselves."""
    vertices, faces = head()
    skin = standin.mesh()
    points = transfer.Binding(skin.binding.corners, skin.binding.weights, 0 * skin.binding.offset).follow(vertices)
    moved = transfer.bind(points, vertices, faces).follow(warp(vertices))
    error = np.linalg.norm(moved - warp(points), axis=1)
    assert np.linalg.norm(warp(points) - points, axis=1).mean() > 8
    assert np.median(error) < 0.5 and np.percentile(error, 99) < 0.5


def test_a_fit_lies_on_the_other_mesh_without_folds():
    vertices, faces = head()
    made = standin.mesh()
    front = made.binding.on_surface(vertices)
    goal = warp(vertices)
    fitted, targeted = transfer.fit(front, made.topology.faces, goal, faces)
    triangle, weights = transfer.nearest(fitted, goal, faces)
    distance = np.linalg.norm(np.einsum("pc,pcl->pl", weights, goal[faces[triangle]]) - fitted, axis=1)
    assert targeted.mean() > 0.8
    assert np.median(distance[targeted]) < 0.5 and np.percentile(distance[targeted], 95) < 2
    turned = (transfer._normals(fitted, made.topology.faces) * transfer._normals(front, made.topology.faces)).sum(1)
    assert np.mean(turned[targeted] < 0.3) < 0.01


def test_landmarks_are_reached():
    vertices, faces = head()
    chosen = np.array([300, 4000, 5000])
    goal = vertices[chosen] + [0, 6.0, 0]
    fitted, _ = transfer.fit(vertices, faces, vertices, faces, landmarks=(chosen, goal), stiffness=(5.0,))
    assert np.linalg.norm(fitted[chosen] - goal, axis=1).max() < 1.0


@pytest.mark.parametrize("points, faces", [([[np.nan, 0, 0]], [[0, 1, 2]]), ([[0.0, 0, 0]], np.zeros((0, 3), int))])
def test_nonsense_is_refused(points, faces):
    with pytest.raises(ValueError, match="nearest: needs finite points and a mesh with faces"):
        transfer.nearest(np.array(points), TRIANGLE, np.array(faces))
