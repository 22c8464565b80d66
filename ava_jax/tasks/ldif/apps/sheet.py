"""Shapes drawn side by side: the true mesh, the elements, the surface that they make."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.data import files
from ava_jax.tasks.ldif.apps import surface, tints
from ava_jax.tasks.ldif.apps.field import Field
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data import meshes
from ava_jax.tasks.ldif.data.meshes import Mesh
from ava_jax.tasks.ldif.evaluation import scoring
from ava_jax.viz import ellipsoids, shaded
from ava_jax.viz.sheet import SHEET_BYTES, Strip, compose, jpeg

SIZE = 240  # pixels of a picture
RESOLUTION = 96  # points per side of the surfaces' grid
_ROOM = 1.18  # of what a picture shows to every side, over the farthest point
_GREY = (190, 196, 206)


class Drawn(NamedTuple):
    """What is drawn in a row.

    Attributes:
      title: above it.
      mesh: the true one, vertices [V, 3] and faces [F, 3] in the published place and size; None where it is not at hand.
      shape: what was found.
    """

    title: str
    mesh: tuple[np.ndarray, np.ndarray] | None
    shape: Shape


def strip(one: Drawn, *, size: int = SIZE, resolution: int = RESOLUTION, azimuth: float = 35.0) -> Strip:
    """Three pictures: the mesh with its edges sharp, ellipsoids one radius large, the surface by elements' colours."""
    extent = one.mesh[0] if one.mesh is not None else elements_mesh(one.shape)[0]
    view = {"azimuth": azimuth, "reach": _ROOM * float(np.linalg.norm(extent, axis=1).max())}
    panels = []
    if one.mesh is not None:
        vertices, faces = flat(*one.mesh)
        panels.append(("mesh", shaded.draw(vertices, faces, np.broadcast_to(np.array(_GREY, np.uint8), vertices.shape), size, **view)))
    panels.append(("elements", shaded.draw(*elements_mesh(one.shape), size, **view)))
    field = Field(resolution)
    field.update(one.shape)
    found = surface.mesh_of(field.values.astype(np.float32), field.places)
    if found.crosses:
        colours = tints.of_vertices(one.shape, tints.ELEMENT, found.vertices)
        panels.append(("surface", shaded.draw(found.vertices, found.faces, colours, size, **view)))
    else:
        none = np.zeros((0, 3))
        panels.append(("the function has no surface", shaded.draw(none, none.astype(np.int32), none, size, **view)))
    return Strip(one.title, tuple(panels))


def elements_mesh(shape: Shape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ellipsoids of one radius, reflected ones too: vertices f32 [V, 3], faces int32 [F, 3], colours u8 [V, 3]."""
    e, count = shape.elements, len(shape.elements.constant)
    which = np.r_[:count, : shape.symmetric]
    centers, axes = np.array(e.center, np.float64)[which], np.array(tints.axes_of(e, shape.rotated))[which]
    centers[count:, 2] *= -1
    axes[count:, 2] *= -1
    return ellipsoids.mesh(
        centers, axes, np.sqrt(np.asarray(e.variance, np.float64))[which], tints.of_elements(shape, tints.ELEMENT)[which]
    )


def flat(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mesh whose faces share no vertices, [3 F, 3] and [F, 3], so that edges stay sharp."""
    return np.asarray(vertices)[faces].reshape(-1, 3), np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3)


def write(strips: Sequence[Strip], path: pathlib.Path, columns: int) -> None:
    """Writes a JPEG of 500 kB at most, whole or not at all; the folder is made.

    Raises:
      ValueError: it does not fit.
    """
    found = jpeg(compose(strips, columns, SIZE), SHEET_BYTES)
    if found is None:
        raise ValueError(f"{path}: {len(strips)} shapes do not fit into {SHEET_BYTES} bytes; draw fewer.")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, found)


def normalized(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and faces [F, 3] of a mesh, in the published place and size."""
    moved = meshes.moved(mesh, meshes.normalization(mesh))
    return moved.vertices, moved.faces


def true_mesh(folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The mesh that an example was made of, as `Drawn.mesh`, [V, 3] and [F, 3]; None where it is not there any more.

    Raises:
      ValueError: it, or its matrix, cannot be read.
    """
    path = scoring.mesh_of(folder)
    if path is None:
        return None
    moved = meshes.moved(meshes.read(path), scoring.matrix_of(folder))
    return moved.vertices, moved.faces
