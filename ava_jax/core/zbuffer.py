"""A plain z-buffer in NumPy: which triangle each pixel sees, and where on it."""

import numpy as np

from ava_jax.core.types import Array, Cameras


def project(points: Array, cameras: Cameras) -> np.ndarray:
    """Projects points to pixels.

    Args:
      points: [..., P, 3] mm, in the space that `cameras` are given in.
      cameras: leading axes broadcast against those of `points`.

    Returns:
      f64 [..., P, 3]: column, row (pixels; integers are pixel centres) and depth along the camera's axis, mm.
    """
    rotation = np.asarray(cameras.rotation, np.float64)
    offset = np.asarray(points, np.float64) - np.asarray(cameras.position, np.float64)[..., None, :]
    local = offset @ np.swapaxes(rotation, -1, -2)
    with np.errstate(divide="ignore", invalid="ignore"):  # points on the camera's plane: no pixel, and `rasterize` drops them
        plane = local[..., :2] / local[..., 2:]
    pixel = plane * np.asarray(cameras.focal, np.float64)[..., None, :] + np.asarray(cameras.principal, np.float64)[..., None, :]
    return np.concatenate([pixel, local[..., 2:]], axis=-1)


def rasterize(vertices: Array, faces: Array, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at each pixel centre.

    Triangles with a vertex behind the camera are left out, not clipped. Both sides of a triangle are seen.

    Args:
      vertices: [V, 3]: column, row, depth, as `project` gives them.
      faces: int [M, 3].

    Returns:
      Triangle int32 [H, W], -1 where there is none, and perspective-correct weights of its corners f32 [H, W, 3] (0 there).

    Raises:
      ValueError: an argument has the wrong shape.
    """
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"rasterize: vertices must be [V, 3] (column, row, depth); got {vertices.shape}.")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"rasterize: faces must be [M, 3]; got {faces.shape}.")
    depths = vertices[faces, 2]
    front = np.flatnonzero((depths[:, 0] > 0) & (depths[:, 1] > 0) & (depths[:, 2] > 0))
    which, pixel, weights = cover(vertices[faces[front], :2], height, width)
    weights /= depths[front][which]
    inverse = weights[:, 0] + weights[:, 1] + weights[:, 2]
    nearest = np.zeros(height * width)
    np.maximum.at(nearest, pixel, inverse)
    won = inverse == nearest[pixel]
    triangle = np.full(height * width, -1, np.int32)
    corner_weights = np.zeros((height * width, 3), np.float32)
    triangle[pixel[won]] = front[which[won]]
    corner_weights[pixel[won]] = weights[won] / inverse[won, None]
    return triangle.reshape(height, width), corner_weights.reshape(height, width, 3)


def cover(corners: np.ndarray, height: int, width: int, tolerance: float = 1e-9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pixel centres that each triangle covers, edges included. Degenerate and non-finite triangles cover none.

    Args:
      corners: f64 [M, 3, 2]: column and row of each corner.
      tolerance: how far outside an edge (as a barycentric weight) a centre still counts, against cracks from rounding.

    Returns:
      For each of P covered centres, in the order of the triangles: triangle [P], pixel (row * width + column) [P],
      barycentric weights f64 [P, 3].
    """
    origin = corners[:, 0]
    (ax, ay), (bx, by) = (corners[:, 1] - origin).T, (corners[:, 2] - origin).T
    area = ax * by - ay * bx
    usable = np.isfinite(area) & (np.abs(area) > 1e-12)
    # Clip before the conversion to integers: coordinates far outside the image would overflow it.
    limit = np.array([width, height])
    with np.errstate(invalid="ignore"):
        low = np.ceil(np.clip(_least(corners) - 1e-6, 0, limit))
        high = np.floor(np.clip(-_least(-corners) + 1e-6, -1, limit - 1))
    low, high = (np.where(usable[:, None], bound, -1).astype(np.int64) for bound in (low, high))
    size = np.maximum(high - low + 1, 0)
    count = np.where(usable, size[:, 0] * size[:, 1], 0)

    triangle = np.repeat(np.arange(len(corners)), count)
    within = np.arange(len(triangle)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(within, size[triangle, 0])
    row, column = row + low[triangle, 1], column + low[triangle, 0]
    x, y = column - origin[triangle, 0], row - origin[triangle, 1]
    scale = 1.0 / area[triangle]
    second = (x * by[triangle] - y * bx[triangle]) * scale
    third = (y * ax[triangle] - x * ay[triangle]) * scale
    first_weight = 1.0 - second - third
    inside = np.flatnonzero((second >= -tolerance) & (third >= -tolerance) & (first_weight >= -tolerance))
    weights = np.stack([first_weight[inside], second[inside], third[inside]], axis=1)
    return triangle[inside], (row[inside] * width + column[inside]), np.maximum(weights, 0.0)


def _least(corners: np.ndarray) -> np.ndarray:
    """Smallest corner [M, 2]; quicker than a reduction over so short an axis."""
    return np.minimum(np.minimum(corners[:, 0], corners[:, 1]), corners[:, 2])
