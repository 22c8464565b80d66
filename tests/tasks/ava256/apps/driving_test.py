"""Cameras that orbit, expression codes that blend."""

import numpy as np
import pytest

from ava_jax.core.types import Cameras
from ava_jax.core.zbuffer import project
from ava_jax.tasks.ava256.apps import driving, sequences

CENTER = np.array([5.0, -20.0, 10.0])
HEIGHT, WIDTH = 128, 83


def tilted_camera() -> Cameras:
    """In front of a head, above it and to a side, looking somewhat past it; its picture's y axis is not the head's."""
    forward = np.array([-0.2, -0.3, -1.0])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.1, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Cameras(rotation, np.array([220.0, 300.0, 1000.0]), np.array([400.0, 410.0]), np.array([41.0, 60.0]))


def test_an_orbit_keeps_the_head_in_the_middle_at_one_distance():
    orbit = driving.orbit(tilted_camera(), CENTER, np.linspace(-np.pi, np.pi, 9), HEIGHT, WIDTH)
    assert orbit.position.shape == (9, 3) and orbit.rotation.dtype == np.float32
    np.testing.assert_allclose(orbit.rotation @ orbit.rotation.transpose(0, 2, 1), np.tile(np.eye(3), (9, 1, 1)), atol=1e-6)
    seen = project(np.tile(CENTER, (9, 1, 1)), orbit)[:, 0]
    np.testing.assert_allclose(seen[:, :2], np.tile([41.0, 63.5], (9, 1)), atol=1e-3)
    np.testing.assert_allclose(seen[:, 2], seen[0, 2], rtol=1e-6)


def test_an_orbit_starts_where_the_camera_stands_and_turns_to_its_right():
    camera = tilted_camera()
    orbit = driving.orbit(camera, CENTER, np.array([0.0, 0.3]), HEIGHT, WIDTH)
    np.testing.assert_allclose(orbit.position[0], camera.position, rtol=1e-6)
    np.testing.assert_allclose(orbit.rotation[0], camera.rotation, atol=1e-6)
    step = camera.rotation @ (orbit.position[1] - orbit.position[0])
    assert step[0] > 0 and abs(step[1]) < 1e-3, "right in its picture, not up or down"


@pytest.mark.parametrize("count", [5, 12])
def test_codes_are_blended_there_and_back(count):
    codes = np.array([[0.0, 0.0], [1.0, 2.0], [2.0, -4.0]], np.float32)
    path = sequences.blend(codes, 4)
    np.testing.assert_allclose(path, codes[[0, 1, 2, 1]])
    longer = sequences.blend(codes, count)
    assert longer.shape == (count, 2) and longer.dtype == np.float32
    np.testing.assert_allclose(longer[0], codes[0])
    jump = np.abs(np.diff(np.concatenate([longer, longer[:1]]), axis=0)).max()
    assert jump <= 6.0 * 4 / count + 1e-5, "no jump, not at the end either"


def test_camera_paths_loop_without_a_jump():
    swing, circle, still = (sequences.camera_path(name, 72, 60.0) for name in sequences.PATHS)
    assert np.rad2deg(swing).max() == pytest.approx(60, abs=0.1) and np.rad2deg(swing).min() == pytest.approx(-60, abs=0.1)
    assert not still.any() and swing[0] == circle[0] == 0
    for path in (swing, circle):
        steps = np.diff(np.concatenate([path, [path[0] + (2 * np.pi if path is circle else 0)]]))
        assert np.abs(steps).max() < np.deg2rad(6)
    np.testing.assert_allclose(np.diff(circle), 2 * np.pi / 72)


def test_one_code_stays():
    np.testing.assert_array_equal(sequences.blend(np.full((1, 4, 4, 2), 3.0, np.float32), 3), np.full((3, 4, 4, 2), 3.0))
