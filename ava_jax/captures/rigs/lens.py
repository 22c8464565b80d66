"""Lenses: where a point of the world falls in a distorted image, and back.

Normalised coordinates are those of the plane z = 1 of a camera; pixels are (column, row) with integer pixel centres. With r2 = x^2 + y^2
every model here is x' = x g(r2) + tangential(x, y), so that one derivative serves all.
"""

import numpy as np

from ava_jax.captures.rigs.types import Distortion, RigCamera
from ava_jax.core.types import Array

TOLERANCE = 1e-12  # of `undistort`, normalised: 1e-8 pixels at a focal length of 10,000
COUNTS = {"none": 0, "opencv": 8, "fisheye": 4, "metashape": 6}
_STEPS = 50  # of Newton's method; 4 to 7 are usual
_HALVINGS = 30
_SMALL = 1e-8  # r2 below which a fisheye's g is taken from its series
_ROWS = 64  # of an image that are computed at once
_FINE = 4096  # radii that are looked at for the fold
_ROUNDED = 1e-3  # pixels: of float32 at 8192


def coefficients(distortion: Distortion) -> np.ndarray:
    """All coefficients of the model, f64 [N]; those that are not given are 0.

    Raises:
      ValueError: the model is unknown, or there are more than it has, or some are not finite.
    """
    if distortion.model not in COUNTS:
        raise ValueError(f"rigs.lens: a distortion must be one of {', '.join(COUNTS)}; got {distortion.model!r}.")
    count = COUNTS[distortion.model]
    given = np.asarray(distortion.coefficients, np.float64).reshape(-1)
    if len(given) > count or not np.isfinite(given).all():
        raise ValueError(f"rigs.lens: {distortion.model} must have {count} finite coefficients at most; got {given.tolist()}.")
    return np.concatenate([given, np.zeros(count - len(given))])


def distort(points: Array, camera: RigCamera) -> np.ndarray:
    """Bends normalised coordinates as a camera's lens does.

    Args:
      points: [..., 2], normalised, undistorted.
      camera: whose distortion it is.

    Returns:
      f64 [..., 2], normalised, distorted.
    """
    points = np.asarray(points, np.float64)
    return _bend(points, camera.distortion.model, coefficients(camera.distortion))


def project(points: Array, camera: RigCamera) -> np.ndarray:
    """Pixels at which a camera sees points of the world.

    Args:
      points: [..., 3], world, in the unit of the camera's translation.
      camera: that looks.

    Returns:
      f64 [..., 2], column and row, integer pixel centres; NaN where a point does not lie in front of the camera.
    """
    local = np.asarray(points, np.float64) @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]
    depth = np.where(local[..., 2:] > 0, local[..., 2:], np.nan)
    return to_pixels(distort(local[..., :2] / depth, camera), camera.k)


def to_pixels(points: Array, k: Array) -> np.ndarray:
    """Pixels f64 [..., 2] of normalised coordinates [..., 2], with K [3, 3]."""
    k = np.asarray(k, np.float64)
    return np.asarray(points, np.float64) @ k[:2, :2].T + k[:2, 2]


def from_pixels(pixels: Array, k: Array) -> np.ndarray:
    """Normalised coordinates f64 [..., 2] of pixels [..., 2], with K [3, 3], whose skew is taken into account."""
    k = np.asarray(k, np.float64)
    y = (np.asarray(pixels, np.float64)[..., 1] - k[1, 2]) / k[1, 1]
    x = (np.asarray(pixels, np.float64)[..., 0] - k[0, 2] - k[0, 1] * y) / k[0, 0]
    return np.stack([x, y], -1)


def undistort(points: Array, camera: RigCamera) -> np.ndarray:
    """The inverse of `distort`, by Newton's method.

    Args:
      points: [..., 2], normalised, distorted.
      camera: whose distortion it is.

    Returns:
      f64 [..., 2], normalised, undistorted; `distort` gives the points back to within TOLERANCE (relative to 1 + their length). NaN where
      no point within the lens's field is bent there: a polynomial folds over outside of the field that it was fitted to.
    """
    points = np.asarray(points, np.float64)
    model, numbers = camera.distortion.model, coefficients(camera.distortion)
    goal = points.reshape(-1, 2)
    if not numbers.any() and model != "fisheye":
        return points.copy()
    bound = TOLERANCE * (1 + np.linalg.norm(goal, axis=-1))
    found = goal.copy()
    if model == "fisheye":  # a distorted radius is near an angle, not its tangent
        angle = np.linalg.norm(goal, axis=-1, keepdims=True)
        found *= np.tan(np.minimum(angle, 1.5)) / np.maximum(angle, 1e-12)
    with np.errstate(all="ignore"):
        error = np.linalg.norm(_bend(found, model, numbers) - goal, axis=-1)
        for _ in range(_STEPS):
            left = np.flatnonzero(error > bound)
            if not len(left):
                break
            found[left], error[left] = _newton(found[left], goal[left], error[left], model, numbers)
        radius = np.linalg.norm(found, axis=-1)
        most = radius[np.isfinite(radius)].max(initial=0.0)
        sound = (error <= bound) & (radius <= fold_radius(camera.distortion, most))
    return np.where(sound[:, None], found, np.nan).reshape(points.shape)


def fold_radius(distortion: Distortion, most: float) -> float:
    """Radius, normalised and undistorted, from which on a lens's polynomial no longer grows; `most` where it grows up to there."""
    if distortion.model == "none" or not most > 0:
        return most
    radii = np.linspace(0.0, most * (1 + 1e-9), _FINE)
    with np.errstate(all="ignore"):
        g, slope = _radial(radii**2, distortion.model, coefficients(distortion))
        grows = (g > 0) & (g + 2 * radii**2 * slope > 0)
    return float(most) if grows.all() else float(radii[max(int(np.argmin(grows)) - 1, 0)])


def undistortion_map(camera: RigCamera, new_k: Array, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of an undistorted image comes from.

    Args:
      camera: of the distorted image.
      new_k: f64 [3, 3], of the undistorted image, integer pixel centres.
      size: its height and width, pixels.

    Returns:
      f32 [H, W, 2], column and row in the distorted image, exact to float32; bool [H, W], whether that lies inside the distorted image
      (between its outermost pixel centres) and inside the field in which the distortion has an inverse. Pixels outside are NaN-free
      where the lens's formula is.
    """
    height, width = size
    if camera.size[0] < 1 or camera.size[1] < 1:
        raise ValueError(f"rigs.lens: camera {camera.name!r} has images of unknown size; it must be known before they are undistorted.")
    edge = from_pixels([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], new_k)
    fold = fold_radius(camera.distortion, float(np.linalg.norm(edge, axis=-1).max()))
    model, numbers = camera.distortion.model, coefficients(camera.distortion)
    source, valid = np.empty((height, width, 2), np.float32), np.empty((height, width), bool)
    limit = np.array([camera.size[1] - 1, camera.size[0] - 1]) + _ROUNDED
    for top in range(0, height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, height))
        grid = np.stack(np.meshgrid(np.arange(width), rows), -1).astype(np.float64)
        points = from_pixels(grid, new_k)
        with np.errstate(all="ignore"):
            pixels = to_pixels(_bend(points, model, numbers), camera.k)
            inside = ((pixels >= -_ROUNDED) & (pixels <= limit)).all(-1)
            source[rows] = np.clip(pixels, -1e6, 1e6)
        valid[rows] = inside & (np.linalg.norm(points, axis=-1) <= fold)
    return source, valid


def _newton(found: np.ndarray, goal: np.ndarray, error: np.ndarray, model: str, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A damped step for points [P, 2]: halved until the error [P] falls."""
    offset = _bend(found, model, numbers) - goal
    (a, b), (c, d) = _derivative(found, model, numbers)
    determinant = a * d - b * c
    step = np.stack([d * offset[:, 0] - b * offset[:, 1], a * offset[:, 1] - c * offset[:, 0]], -1) / determinant[:, None]
    step = np.where(np.isfinite(step), step, 0.0)
    for _ in range(_HALVINGS):
        trial = np.linalg.norm(_bend(found - step, model, numbers) - goal, axis=-1)
        worse = ~(trial < error)
        if not worse.any():
            break
        step[worse] /= 2
    better = trial < error
    return np.where(better[:, None], found - step, found), np.where(better, trial, error)


def _radial(r2: np.ndarray, model: str, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The radial factor and its derivative by r2, of squared radii of any shape."""
    if model == "opencv":
        k1, k2, _, _, k3, k4, k5, k6 = c
        top, bottom = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        d_top, d_bottom = k1 + r2 * (2 * k2 + 3 * r2 * k3), k4 + r2 * (2 * k5 + 3 * r2 * k6)
        return top / bottom, (d_top * bottom - top * d_bottom) / bottom**2
    if model == "metashape":
        k1, k2, k3, k4 = c[:4]
        return 1 + r2 * (k1 + r2 * (k2 + r2 * (k3 + r2 * k4))), k1 + r2 * (2 * k2 + r2 * (3 * k3 + r2 * 4 * k4))
    if model == "fisheye":
        k1, k2, k3, k4 = c
        r = np.sqrt(np.maximum(r2, _SMALL))
        angle = np.arctan(r)
        a2 = angle**2
        bent = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
        slope = (1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))) / (1 + r**2)  # of the bent angle by r
        near = r2 < _SMALL
        return np.where(near, 1 + r2 * (k1 - 1 / 3), bent / r), np.where(near, k1 - 1 / 3, (slope - bent / r) / (2 * r**2))
    return np.ones_like(r2), np.zeros_like(r2)


def _tangential(model: str, c: np.ndarray) -> tuple[float, float]:
    """The tangential pair in OpenCV's order."""
    if model == "opencv":
        return c[2], c[3]
    return (c[5], c[4]) if model == "metashape" else (0.0, 0.0)


def _bend(points: np.ndarray, model: str, c: np.ndarray) -> np.ndarray:
    """`distort` of points [..., 2]."""
    if model == "none":
        return points.copy()
    x, y = points[..., 0], points[..., 1]
    r2 = x * x + y * y
    g, _ = _radial(r2, model, c)
    p1, p2 = _tangential(model, c)
    return np.stack([x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1)


def _derivative(points: np.ndarray, model: str, c: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Of `_bend` at points [P, 2]: rows of the Jacobian, each entry [P]."""
    x, y = points[..., 0], points[..., 1]
    g, slope = _radial(x * x + y * y, model, c)
    p1, p2 = _tangential(model, c)
    across = 2 * slope * x * y + 2 * p1 * x + 2 * p2 * y  # the Jacobian is symmetric
    return (
        (g + 2 * slope * x * x + 2 * p1 * y + 6 * p2 * x, across),
        (across, g + 2 * slope * y * y + 6 * p1 * y + 2 * p2 * x),
    )
