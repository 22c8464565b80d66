"""Files of an example as the published tools read and write them: grids of signed distances, samples, surface points.

.grd: int32 [3], nodes along x, y, z; float32 [4, 4], world to grid, row by row; float32 values, x the fastest.
.sdf: float32 [P, 4]: place and signed distance (near the surface: 1 outside, -1 inside), without a header.
.pts: float32 [P, 6]: place and normal, without a header.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from ava_jax.data import files

_MOST = 1 << 28  # values of a grid
_HEADER = 12 + 64


class Grid(NamedTuple):
    """Values at the nodes of a grid.

    Attributes:
      values: f32 [Z, Y, X].
      world_to_grid: f32 [4, 4]: a place to node numbers x, y, z.
    """

    values: np.ndarray
    world_to_grid: np.ndarray


def read_grid(path: pathlib.Path) -> Grid:
    """A `.grd`.

    Raises:
      ValueError: it is no such file.
      OSError: it cannot be read.
    """
    data = pathlib.Path(path).read_bytes()
    x, y, z = (int(size) for size in np.frombuffer(data[:12], "<i4")) if len(data) >= _HEADER else (0, 0, 0)
    if min(x, y, z) < 1 or x * y * z > _MOST or len(data) != _HEADER + 4 * x * y * z:
        raise ValueError(f"{path}: no grid as .grd files hold it: {len(data)} bytes, and a header of {x} x {y} x {z} nodes.")
    numbers = np.frombuffer(data[12:], "<f4").astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: a number is not finite.")
    return Grid(numbers[16:].reshape(z, y, x), numbers[:16].reshape(4, 4))


def write_grid(path: pathlib.Path, grid: Grid) -> None:
    """Writes a `.grd`, whole or not at all.

    Raises:
      ValueError: a shape does not fit.
    """
    values, transform = np.asarray(grid.values, "<f4"), np.asarray(grid.world_to_grid, "<f4")
    if values.ndim != 3 or transform.shape != (4, 4):
        raise ValueError(f"write_grid: values must be [Z, Y, X] and world_to_grid [4, 4]; got {values.shape} and {transform.shape}.")
    files.replace(path, np.array(values.shape[::-1], "<i4").tobytes() + transform.tobytes() + values.tobytes())


def read_samples(path: pathlib.Path) -> np.ndarray:
    """A `.sdf`: f32 [P, 4]. Raises ValueError where it is no such file, OSError where it cannot be read."""
    return _read_rows(path, 4)


def read_points(path: pathlib.Path) -> np.ndarray:
    """A `.pts`: f32 [P, 6]. Raises ValueError where it is no such file, OSError where it cannot be read."""
    return _read_rows(path, 6)


def write_rows(path: pathlib.Path, rows: np.ndarray) -> None:
    """Writes samples f32 [P, 4] or points f32 [P, 6], whole or not at all. Raises ValueError where the shape is another."""
    rows = np.asarray(rows, "<f4")
    columns = {".sdf": 4, ".pts": 6}.get(pathlib.Path(path).suffix)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{path}: .sdf holds [P, 4], .pts [P, 6]; got {rows.shape}.")
    files.replace(path, rows.tobytes())


def _read_rows(path: pathlib.Path, columns: int) -> np.ndarray:
    data = pathlib.Path(path).read_bytes()
    if len(data) % (4 * columns):
        raise ValueError(f"{path}: {len(data)} bytes are no rows of {columns} float32 numbers.")
    rows = np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, columns)
    if not np.isfinite(rows).all():
        raise ValueError(f"{path}: row {int(np.flatnonzero(~np.isfinite(rows).all(1))[0])} (from 0) has a number that is not finite.")
    return rows
