"""Cameras that orbit, go from camera to camera and through keyframes, and stand still in the world."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.core import cameras as geometry
from ava_jax.core.types import Cameras
from ava_jax.core.zbuffer import project
from ava_jax.tasks.ava256.apps import camera_paths, choices, keyframes

CENTER = np.array([5.0, -20.0, 10.0])
HEIGHT, WIDTH = 128, 83
SIZE = (HEIGHT, WIDTH)


def tilted_camera() -> Cameras:
    """In front of a head, above it and to a side, looking somewhat past it; its picture's y axis is not the head's."""
    forward = np.array([-0.2, -0.3, -1.0])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.1, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Cameras(rotation, np.array([220.0, 300.0, 1000.0]), np.array([400.0, 410.0]), np.array([41.0, 60.0]))


def rig(count: int) -> Cameras:
    """Cameras in front of a head, at several distances, that look past its middle and are rolled."""
    rng = np.random.default_rng(3)
    position = CENTER + np.stack([rng.uniform(-600, 600, count), rng.uniform(-300, 300, count), rng.uniform(700, 1100, count)], axis=-1)
    target = CENTER + rng.uniform(-30, 30, (count, 3))
    rotation = np.stack([geometry.look_at(p, t, [0.1, 1.0, 0.0]) for p, t in zip(position, target)])
    return Cameras(rotation, position, rng.uniform(300, 500, (count, 2)), rng.uniform(30, 60, (count, 2)))


def seen(cameras: Cameras) -> np.ndarray:
    """Where the head's middle is in each picture, and how far."""
    return project(np.tile(CENTER, (len(cameras.position), 1, 1)), cameras)[:, 0]


def assert_rotations(cameras: Cameras) -> None:
    rotation = np.asarray(cameras.rotation, np.float64)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotation), 1, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)


@pytest.mark.parametrize("name", choices.AROUND)
def test_a_path_around_keeps_the_head_in_the_middle_at_one_distance_and_loops(name):
    path = camera_paths.around(name, tilted_camera(), CENTER, 72, SIZE, 60.0)
    assert path.position.shape == (72, 3) and path.rotation.dtype == np.float32
    assert_rotations(path)
    np.testing.assert_allclose(seen(path)[:, :2], np.tile([41.0, 63.5], (72, 1)), atol=1e-3)
    distance = np.linalg.norm(path.position - CENTER, axis=-1)
    np.testing.assert_allclose(distance, distance[0], rtol=1e-5)
    steps = np.linalg.norm(np.diff(np.concatenate([path.position, path.position[:1]]), axis=0), axis=-1) / distance[0]
    assert steps.max() < np.deg2rad(20), "no jump, not at the end either"
    start = (path.position[0] - CENTER) @ (tilted_camera().position - CENTER) / distance[0] ** 2
    assert start == pytest.approx(1, abs=1e-6) or name == "ellipse", "it begins where the camera stands"
    assert (steps > 0).any() == (name != "still")


def test_paths_around_differ_in_where_they_go():
    def directions(name):
        path = camera_paths.around(name, tilted_camera(), CENTER, 72, SIZE, 60.0)
        offset = (path.position - CENTER) @ tilted_camera().rotation.T  # right, down, forward of the first camera
        return np.rad2deg(np.arctan2(offset[:, 0], -offset[:, 2])), offset

    swing, circle = directions("swing")[0], np.unwrap(directions("circle")[0], period=360)
    assert swing.max() == pytest.approx(60, abs=12) and swing.min() == pytest.approx(-60, abs=12)
    np.testing.assert_array_equal(circle, np.unwrap(directions("orbit")[0], period=360))
    assert circle[-1] - circle[0] > 340
    for name in ("ellipse", "spiral"):
        _, offset = directions(name)
        assert np.ptp(offset[:, 1]) > 200 and np.ptp(offset[:, 0]) > 2 * np.ptp(offset[:, 1]), "up and down, further to the sides"


def test_an_orbit_starts_where_the_camera_stands_and_turns_to_its_right_and_up():
    camera = tilted_camera()
    orbit = camera_paths.orbit(camera, CENTER, np.array([0.0, 0.3]), HEIGHT, WIDTH)
    np.testing.assert_allclose(orbit.position[0], camera.position, rtol=1e-6)
    np.testing.assert_allclose(orbit.rotation[0], camera.rotation, atol=1e-6)
    step = camera.rotation @ (orbit.position[1] - orbit.position[0])
    assert step[0] > 0 and abs(step[1]) < 1e-3, "right in its picture, not up or down"
    risen = camera_paths.orbit(camera, CENTER, np.zeros(1), HEIGHT, WIDTH, elevations=np.array([0.2])).position[0]
    step = camera.rotation @ (risen - camera.position)
    assert step[1] < 0 and abs(step[0]) < 1e-3, "up, which is less of y"


def test_between_cameras_the_way_goes_around_the_head_and_meets_each():
    cameras = rig(4)
    path = camera_paths.through(cameras, CENTER, 40)
    for name, found in zip(Cameras._fields, path, strict=True):
        np.testing.assert_allclose(found[::10], getattr(cameras, name), rtol=1e-5, atol=1e-4, err_msg=name)
    assert_rotations(path)
    near, far = (f(np.linalg.norm(np.asarray(cameras.position) - CENTER, axis=-1)) for f in (np.min, np.max))
    distance = np.linalg.norm(path.position - CENTER, axis=-1)
    assert near - 0.1 <= distance.min() and distance.max() <= far + 0.1, "never through the head"
    steps = np.linalg.norm(np.diff(np.concatenate([path.position, path.position[:1]]), axis=0), axis=-1)
    assert steps.max() < 300, "and back to the first without a jump"
    still = camera_paths.one_by_one(cameras, 8)
    np.testing.assert_array_equal(still.position, np.repeat(cameras.position, 2, axis=0))


def test_a_tour_goes_to_the_nearest_camera_left():
    position = CENTER + np.array([[0.0, 0, 1], [-1, 0, 1], [0.3, 0, 1], [1, 0, 1], [-0.3, 0, 1]]) * 900
    assert camera_paths.tour(Cameras(None, position, None, None), CENTER).tolist() in ([0, 2, 3, 4, 1], [0, 4, 2, 3, 1], [0, 4, 1, 2, 3])


def test_cameras_that_stand_in_the_world_see_what_the_heads_cameras_saw():
    rng = np.random.default_rng(0)
    cameras, points = rig(5), CENTER + rng.uniform(-80, 80, (7, 3))
    poses = np.concatenate([Rotation.random(5, random_state=1).as_matrix(), rng.uniform(-200, 200, (5, 3, 1))], axis=-1)
    found = camera_paths.in_world(cameras, poses[2], poses)
    np.testing.assert_allclose(found.position[2], cameras.position[2], rtol=1e-5)
    world = np.einsum("ij,pj->pi", poses[2][:, :3], points) + poses[2][:, 3]  # a thing that stood where the head was
    moved = np.einsum("aji,apj->api", poses[:, :, :3], world[None] - poses[:, None, :, 3])  # the same, seen from the head of each moment
    np.testing.assert_allclose(project(moved, found), project(np.tile(points, (5, 1, 1)), cameras), rtol=1e-4, atol=1e-3)


def setting() -> keyframes.Setting:
    def camera(name: str) -> Cameras:
        if name != "400029":
            raise ValueError(f"camera={name}: there is none of that name")
        return tilted_camera()

    return keyframes.Setting(CENTER, np.array([400.0, 400.0]), HEIGHT, WIDTH, camera)


def write(path, *keys):
    path.write_text(json.dumps({"keyframes": list(keys)}))
    return path


def test_keyframes_are_met_at_their_times(tmp_path):
    file = write(
        tmp_path / "path.json",
        {"time": 1, "azimuth": -90, "elevation": 20, "distance": 800},
        {"time": 2, "position": [5, -20, 910], "target": [5, 30, 10], "fov": 30},
        {"time": 4, "camera": "400029"},
    )
    path = keyframes.read(file, setting())
    assert path.seconds == 3
    found = path.at([-5.0, 0.0, 1.0, 3.0, 9.0], CENTER)
    np.testing.assert_allclose(found.position[0], found.position[1])
    level = np.cos(np.deg2rad(20)) * 800
    np.testing.assert_allclose(found.position[1], CENTER + [-level, np.sin(np.deg2rad(20)) * 800, 0], atol=1e-3)
    np.testing.assert_allclose(seen(found)[1, :2], [41.0, 63.5], atol=1e-3)
    np.testing.assert_allclose(found.position[2], [5, -20, 910], rtol=1e-6)
    np.testing.assert_allclose(found.focal[2], HEIGHT / 2 / np.tan(np.deg2rad(15)), rtol=1e-6)
    assert seen(found)[2, 1] > 63.5, "it looks above the middle, which is below the picture's middle then"
    np.testing.assert_allclose(found.position[3:], np.tile(tilted_camera().position, (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.rotation[3], tilted_camera().rotation, atol=1e-6)


def test_azimuths_are_taken_as_they_are_and_places_the_short_way(tmp_path):
    around = keyframes.read(write(tmp_path / "a.json", {"time": 0, "azimuth": 0}, {"time": 4, "azimuth": 360}), setting())
    assert around.at([2.0], CENTER).position[0, 2] < CENTER[2] - 900, "behind the head half way around"
    keys = [{"time": t, "position": [x, -20, -900]} for t, x in ((0, -100), (1, 110))]
    behind = keyframes.read(write(tmp_path / "b.json", *keys), setting())
    assert behind.at([0.5], CENTER).position[0, 2] < CENTER[2] - 800, "not around the front"
    one = keyframes.read(write(tmp_path / "c.json", {"time": 7, "azimuth": 30}), setting())
    assert one.seconds == 0 and len(one.at([0.0, 1.0], CENTER).position) == 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "one keyframe or more"),
        ([{"time": 0, "azimut": 3}], "keyframe 0: 'azimut' is not known; the nearest are azimuth"),
        ([{"time": 0, "azimuth": 3, "target": [0, 0, 0]}], "azimuth and position are mixed"),
        ([{"time": 0}], "none is there"),
        ([{"time": 0, "azimuth": "left"}], "azimuth must be a number; got 'left'"),
        ([{"time": 0, "azimuth": 0, "elevation": 90}], "elevation must be a number, at least -89 and at most 89"),
        ([{"azimuth": 0}], "time must be a number; got none"),
        ([{"time": 0, "target": [0, 0, 0]}], "position must be three numbers; got none"),
        ([{"time": 0, "position": [1, 2]}], r"position must be three numbers; got \[1, 2\]"),
        ([{"time": 0, "position": [5, 900, 10]}], "straight above or below|up must point elsewhere"),
        ([{"time": 0, "camera": "400028"}], "keyframe 0: camera=400028: there is none of that name"),
        ([{"time": 1, "azimuth": 0}, {"time": 1, "azimuth": 9}], "keyframe 1: times must rise; 1 s follows 1 s"),
    ],
)
def test_a_file_that_is_none_is_told_with_its_keyframe(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message) as e:
        keyframes.read(write(tmp_path / "path.json", *keys), setting())
    assert "path.json" in str(e.value)


def test_a_file_that_is_missing_or_no_json_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file of keyframes"):
        keyframes.read(tmp_path / "path.json", setting())
    (tmp_path / "path.json").write_text("{")
    with pytest.raises(ValueError, match="path.json: Expecting"):
        keyframes.read(tmp_path / "path.json", setting())
