"""Lenses against formulas written out, their inverses, and maps that straighten images."""

import dataclasses

import numpy as np
import pytest

from ava_jax.captures.rigs import lens
from ava_jax.captures.rigs.types import Distortion, RigCamera

K = np.array([[400.0, 3.0, 100.5], [0, 410.0, 80.25], [0, 0, 1]])
LENSES = {
    "none": Distortion(),
    "opencv": Distortion("opencv", (-0.2, 0.1, 0.003, -0.002, 0.05, 0.04, -0.03, 0.01)),
    "opencv, fewer": Distortion("opencv", (-0.1, 0.02, 0.001)),
    "fisheye": Distortion("fisheye", (0.05, -0.01, 0.004, -0.0005)),
    "fisheye, equidistant": Distortion("fisheye", ()),
    "metashape": Distortion("metashape", (-0.11, 0.2, -0.1, 0.07, 0.002, -0.004)),
}


def camera(distortion: Distortion = Distortion(), size=(160, 200)) -> RigCamera:
    return RigCamera("x", size, K, np.eye(4), distortion)


def bent(x: float, y: float, d: Distortion) -> tuple[float, float]:
    """The specification's formulas, number by number."""
    c = list(d.coefficients) + [0.0] * 8
    r2 = x * x + y * y
    if d.model == "opencv":
        k1, k2, p1, p2, k3, k4, k5, k6 = c[:8]
        g = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        return x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    if d.model == "metashape":
        k1, k2, k3, k4, p1, p2 = c[:6]
        g = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + k4 * r2**4
        return x * g + p1 * (r2 + 2 * x * x) + 2 * p2 * x * y, y * g + p2 * (r2 + 2 * y * y) + 2 * p1 * x * y
    if d.model == "fisheye":
        r = np.sqrt(r2)
        if r == 0:
            return x, y
        t = np.arctan(r)
        bent_angle = t * (1 + c[0] * t**2 + c[1] * t**4 + c[2] * t**6 + c[3] * t**8)
        return bent_angle / r * x, bent_angle / r * y
    return x, y


@pytest.mark.parametrize("name", LENSES)
def test_lenses_follow_the_formulas(name):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.uniform(-0.6, 0.6, (200, 2)), [[0, 0], [1e-5, -1e-6], [1e-4, 0], [2e-4, 1e-4]]])
    expected = np.array([bent(x, y, LENSES[name]) for x, y in points])
    found = lens.distort(points, camera(LENSES[name]))
    np.testing.assert_allclose(found, expected, atol=2e-15, rtol=1e-13)
    np.testing.assert_array_equal(lens.distort(points.reshape(4, 51, 2), camera(LENSES[name])).reshape(-1, 2), found)
    back = lens.undistort(found, camera(LENSES[name]))
    np.testing.assert_allclose(lens.distort(back, camera(LENSES[name])), found, atol=2 * lens.TOLERANCE, rtol=0)
    np.testing.assert_allclose(back, points, atol=1e-11)


def test_wide_fisheyes_are_inverted():
    """Up to 80 degrees from the axis, where the undistorted radius is 5.7."""
    radius = np.tan(np.radians(np.linspace(0, 80, 100)))
    points = radius[:, None] * np.array([0.6, -0.8])
    for name in ("fisheye", "fisheye, equidistant"):
        found = lens.undistort(lens.distort(points, camera(LENSES[name])), camera(LENSES[name]))
        np.testing.assert_allclose(found, points, rtol=1e-9, atol=1e-12)


def test_points_beyond_the_fold_have_no_inverse():
    """A barrel r (1 - 0.5 r^2) grows up to r = 0.816, to 0.544: what lies beyond is no point of the lens's field."""
    barrel = camera(Distortion("opencv", (-0.5,)))
    assert lens.fold_radius(barrel.distortion, 2.0) == pytest.approx(np.sqrt(2 / 3), abs=1e-3)
    found = lens.undistort([[0.5, 0.0], [0.54, 0.0], [0.55, 0.0], [0.0, 5.0]], barrel)
    assert np.isfinite(found[:2]).all() and np.isnan(found[2:]).all()
    np.testing.assert_allclose(found[0, 0] * (1 - 0.5 * found[0, 0] ** 2), 0.5, atol=1e-12)
    assert found[:2, 0].max() < np.sqrt(2 / 3)


def test_projection_has_integer_centres_and_skew():
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [0.1, 0.2, 2.0]
    seen = dataclasses.replace(camera(LENSES["metashape"]), world_to_camera=pose)
    x, y = bent((0.3 + 0.1) / 2.5, (-0.5 + 0.2) / 2.5, LENSES["metashape"])
    pixel = lens.project([[0.5, 0.3, 0.5], [0.5, 0.3, -2.0], [0, 0, -3]], seen)
    np.testing.assert_allclose(pixel[0], [400 * x + 3 * y + 100.5, 410 * y + 80.25], atol=1e-9)
    assert np.isnan(pixel[1:]).all()  # at the camera's plane and behind it
    np.testing.assert_allclose(lens.from_pixels(pixel[:1], K), [[x, y]], atol=1e-14)


@pytest.mark.parametrize("name", LENSES)
def test_maps_point_at_the_source_of_each_pixel(name):
    """For some pixels by the formula, with another K and another size."""
    new_k = np.array([[300.0, 0, 70.0], [0, 305.0, 50.0], [0, 0, 1]])
    source, valid = lens.undistortion_map(camera(LENSES[name]), new_k, (110, 150))
    assert source.shape == (110, 150, 2) and source.dtype == np.float32 and valid.shape == (110, 150) and valid.dtype == bool
    for row, column in ((0, 0), (109, 149), (50, 70), (63, 17), (64, 17)):
        x, y = bent((column - 70) / 300, (row - 50) / 305, LENSES[name])
        u, v = 400 * x + 3 * y + 100.5, 410 * y + 80.25
        np.testing.assert_allclose(source[row, column], [u, v], atol=2e-5)
        assert valid[row, column] == (0 <= u <= 199 and 0 <= v <= 159)
    assert valid.any()


def test_a_straight_lens_with_the_same_k_moves_nothing():
    source, valid = lens.undistortion_map(camera(), K, (160, 200))
    np.testing.assert_allclose(source[..., 0], np.broadcast_to(np.arange(200), (160, 200)), atol=1e-5)
    np.testing.assert_allclose(source[..., 1], np.broadcast_to(np.arange(160)[:, None], (160, 200)), atol=1e-5)
    assert valid.all()


def test_maps_leave_out_what_the_fold_shows_twice():
    """Beyond the fold the formula comes back into the image; such pixels are not valid."""
    barrel = dataclasses.replace(camera(Distortion("opencv", (-0.5,))), k=np.array([[100.0, 0, 99.5], [0, 100.0, 79.5], [0, 0, 1]]))
    source, valid = lens.undistortion_map(barrel, barrel.k, (160, 400))
    beyond = np.hypot((np.arange(400) - 99.5) / 100, 0.005) > 0.82
    inside = (source[79, :, 0] >= 0) & (source[79, :, 0] <= 199)
    assert (beyond & inside).sum() > 20 and not valid[79, beyond].any() and valid[79, ~beyond].all()


def test_images_are_straightened_to_a_fraction_of_a_pixel():
    """A smooth picture seen through the lens, straightened by the map, is the picture seen straight."""
    from scipy import ndimage

    def scene(points):
        return 100 + 80 * np.sin(9 * points[..., 0] + 1) * np.cos(7 * points[..., 1])

    bending = camera(LENSES["opencv"])
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(160)), -1).astype(float)
    photograph = scene(lens.undistort(lens.from_pixels(grid, K), bending))
    source, valid = lens.undistortion_map(bending, K, (160, 200))
    straight = ndimage.map_coordinates(photograph, source[..., ::-1].transpose(2, 0, 1), order=1, mode="nearest")
    off = np.abs(straight - scene(lens.from_pixels(grid, K)))[valid]
    assert valid.mean() > 0.9 and off.max() < 0.05  # of 80; half a pixel would be 0.9


def test_wrong_lenses_are_refused():
    for distortion in (Distortion("brown"), Distortion("opencv", (0.0,) * 9), Distortion("fisheye", (np.nan,))):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="rigs.lens: "):
            lens.distort([[0.0, 0.0]], camera(distortion))
    with pytest.raises(ValueError, match="camera 'x' has images of unknown size"):
        lens.undistortion_map(camera(size=(0, 0)), K, (10, 10))
