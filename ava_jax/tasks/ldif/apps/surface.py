"""Surfaces of shapes as meshes: marching cubes on a grid of the function's values."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ava_jax.ops.implicit.evaluate import SURFACE
from ava_jax.tasks.ldif.apps import shape as shapes
from ava_jax.tasks.ldif.apps import sparse
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data.example_files import Grid

SPHERE_RADIUS = 0.5  # of what stands for a shape whose function nowhere crosses its surface's value


class Surface(NamedTuple):
    """A mesh.

    Attributes:
      vertices: f32 [V, 3].
      faces: int32 [F, 3]; seen from outside their corners go against the clock.
      crosses: whether the function has a surface; else the mesh is a sphere, as in the published tools.
    """

    vertices: np.ndarray
    faces: np.ndarray
    crosses: bool


def extract(shape: Shape, resolution: int = 256, *, progress: Callable[[int], object] = lambda count: None) -> Surface:
    """The surface on a grid of `resolution` points per side over +-0.75.

    Blocks of the grid of which bounds prove that the surface does not pass are passed over: the mesh is the one of the whole grid.

    Raises:
      ValueError: the resolution is under 2 or over 2048.
    """
    if not 2 <= resolution <= 2048:
        raise ValueError(f"extract: the resolution must be within 2..2048; got {resolution}.")
    places = shapes.centers(resolution)
    return mesh_of(sparse.sample(shape, places, SURFACE, progress=progress), places)


def mesh_of(grid: np.ndarray, places: np.ndarray) -> Surface:
    """The surface of values f32 [R, R, R] (z, y, x) at evenly spaced places [R] per axis."""
    if not grid.min() < SURFACE < grid.max():
        return _sphere()
    from skimage import measure  # takes half a second to import

    vertices, faces, _, _ = measure.marching_cubes(grid, SURFACE)
    spacing = (float(places[-1]) - float(places[0])) / (len(places) - 1)
    # Array axes z, y, x to x, y, z: a reflection, which turns faces around.
    return Surface((vertices[:, ::-1] * spacing + places[0]).astype(np.float32), np.ascontiguousarray(faces[:, ::-1], np.int32), True)


def of_grid(grid: Grid, level: float = 0.0) -> Surface | None:
    """The surface of a grid's values [Z, Y, X], in the world's coordinates; None where they do not cross `level`."""
    values = np.asarray(grid.values, np.float32)
    if min(values.shape) < 2 or not values.min() < level < values.max():
        return None
    from skimage import measure

    vertices, faces, _, _ = measure.marching_cubes(values, level)
    to_world = np.linalg.inv(np.asarray(grid.world_to_grid, np.float64))
    vertices = vertices[:, ::-1] @ to_world[:3, :3].T + to_world[:3, 3]
    faces = faces[:, ::-1] if np.linalg.det(to_world[:3, :3]) > 0 else faces
    return Surface(vertices.astype(np.float32), np.ascontiguousarray(faces, np.int32), True)


def _sphere() -> Surface:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=4, radius=SPHERE_RADIUS)
    return Surface(np.asarray(sphere.vertices, np.float32), np.asarray(sphere.faces, np.int32), False)
