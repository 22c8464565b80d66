"""Surfaces of shapes as meshes: marching cubes on a grid of the function's values."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops import implicit, marching
from ava_jax.ops.implicit.evaluate import SURFACE
from ava_jax.tasks.ldif.apps import shape as shapes
from ava_jax.tasks.ldif.apps import sparse
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data.example_files import Grid

_ON_DEVICE = 1024
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

    The mesh is the one of the whole grid, though plain JAX passes over blocks of which bounds prove that the surface does not pass. On a
    GPU the grid stays there, up to 1024 points per side.

    Raises:
      ValueError: the resolution is under 2 or over 2048; or the function is not finite somewhere.
    """
    if not 2 <= resolution <= 2048:
        raise ValueError(f"extract: the resolution must be within 2..2048; got {resolution}.")
    places = shapes.centers(resolution)
    if implicit.is_compiled(shape.decoder):
        if resolution <= _ON_DEVICE and jax.default_backend() != "cpu":
            found = mesh_of(shapes.sample_on_device(shape, places), places)
            progress(resolution**3)
            return found
        return mesh_of(shapes.sample(shape, places, near=SURFACE, progress=progress), places)
    return mesh_of(sparse.sample(shape, places, SURFACE, progress=progress), places)


def mesh_of(grid: Array, places: np.ndarray) -> Surface:
    """The surface of values f32 [R, R, R] (z, y, x), on the host or a device, at evenly spaced places [R] per axis.

    Raises:
      ValueError: a value is not finite.
    """
    found = marching.extract(grid, SURFACE)
    if not len(found.faces):
        return _sphere()
    spacing = (float(places[-1]) - float(places[0])) / (len(places) - 1)
    return Surface(found.vertices * np.float32(spacing) + np.float32(places[0]), found.faces, True)


def of_grid(grid: Grid, level: float = 0.0) -> Surface | None:
    """The surface of a grid's values [Z, Y, X], in the world's coordinates; None where they do not cross `level`.

    Raises:
      ValueError: a value is not finite.
    """
    found = marching.extract(grid.values, level)
    if not len(found.faces):
        return None
    to_world = np.linalg.inv(np.asarray(grid.world_to_grid, np.float64))
    vertices = found.vertices @ to_world[:3, :3].T + to_world[:3, 3]
    faces = found.faces if np.linalg.det(to_world[:3, :3]) > 0 else found.faces[:, ::-1]
    return Surface(vertices.astype(np.float32), np.ascontiguousarray(faces, np.int32), True)


def _sphere() -> Surface:
    import trimesh

    sphere = trimesh.creation.icosphere(subdivisions=4, radius=SPHERE_RADIUS)
    return Surface(np.asarray(sphere.vertices, np.float32), np.asarray(sphere.faces, np.int32), False)
