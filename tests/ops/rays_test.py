import numpy as np
import pytest
from raymarch_scenes import rotations

from ava_jax.core.types import Cameras
from ava_jax.ops import camera_rays


def _cameras(rng, frames=2, views=3):
    rotation = rotations(rng, frames * views).reshape(frames, views, 3, 3)
    position = rng.uniform(-90, 90, (frames, views, 3)) - 600 * rotation[..., 2, :]  # looking at the volume
    return Cameras(*(x.astype(np.float32) for x in (
        rotation, position, rng.uniform(30, 40, (frames, views, 2)), rng.uniform(5, 10, (frames, views, 2)))))  # fmt: skip


def test_pixel_p_looks_through_its_point_of_the_image_plane():
    cameras = _cameras(np.random.default_rng(0))
    rays = camera_rays(cameras, 11, 17, radius=256.0)
    f, n, row, column = 1, 2, 7, 13
    plane = (np.array([column, row]) - cameras.principal[f, n]) / cameras.focal[f, n]
    expected = cameras.rotation[f, n].T @ np.append(plane, 1.0)
    np.testing.assert_allclose(rays.direction[f, n, row, column], expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(rays.origin[f, n, row, column], cameras.position[f, n] / 256.0, rtol=1e-6)


def test_bounds_end_where_the_ray_leaves_the_cube():
    rays = camera_rays(_cameras(np.random.default_rng(1)), 33, 17, radius=256.0)
    near, far = np.asarray(rays.bounds[..., 0], np.float64), np.asarray(rays.bounds[..., 1], np.float64)
    assert (near >= 0).all()
    t = np.linspace(0, 12, 1201)
    points = np.asarray(rays.origin, np.float64)[..., None, :] + t[:, None] * np.asarray(rays.direction, np.float64)[..., None, :]
    inside = (np.abs(points) < 1).all(-1)
    within = (t > near[..., None]) & (t < far[..., None])
    at_ends = np.minimum(np.abs(t - near[..., None]), np.abs(t - far[..., None])) < 1e-4
    np.testing.assert_array_equal(inside | at_ends, within | at_ends)
    assert 0 < within.any(-1).mean() < 1  # some rays miss


def test_axis_parallel_rays():
    camera = Cameras(*(np.asarray(x, np.float32)[None, None] for x in (np.eye(3), (256.0 * 0.5, 0, -512.0), (1.0, 1.0), (0.0, 0.0))))
    np.testing.assert_allclose(camera_rays(camera, 1, 1, radius=256.0).bounds[0, 0, 0, 0], (1, 3))
    beside = camera._replace(position=camera.position + np.float32([200.0, 0, 0]))
    near, far = camera_rays(beside, 1, 1, radius=256.0).bounds[0, 0, 0, 0]
    assert near >= far


def test_a_wrong_shape_is_named():
    cameras = _cameras(np.random.default_rng(2))
    with pytest.raises(ValueError, match=r"cameras.focal must be \[F, N, 2\].*got \(2, 3, 1\)"):
        camera_rays(cameras._replace(focal=cameras.focal[..., :1]), 4, 4, radius=256.0)
    with pytest.raises(ValueError, match="must be positive; got 0, 4"):
        camera_rays(cameras, 0, 4, radius=256.0)
