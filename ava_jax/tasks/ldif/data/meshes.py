"""Meshes that shapes are learned from: read, checked, brought to one size, and their signed distances.

trimesh reads the files. Distances and signs are libigl's: its fast winding numbers (Barill et al., Fast Winding Numbers for Soups and
Clouds, 2018) say what is inside for meshes with holes and crossing sheets too, where counting hits of rays fails.
"""

import importlib.util
import pathlib
import re
from typing import NamedTuple

import numpy as np

from ava_jax.tasks.ldif.data.example_files import Grid

HALF_SIDE = 0.7  # of the box that grids and samples lie in
SUFFIXES = (".ply", ".obj", ".off", ".glb", ".stl")
_RADIUS = 0.25  # of a normalised mesh: the root of the largest second moment of its surface
_FLAT = 1e-4  # of the largest extent: a mesh that is thinner encloses nothing
MOST_FACES = 2_000_000
_LONGEST_FACE = 300  # bytes of a file, its vertices and normals among them


class Mesh(NamedTuple):
    """A triangle mesh.

    Attributes:
      vertices: f64 [V, 3].
      faces: int64 [F, 3].
      is_open: an edge has not two faces: signs are then those of winding numbers.
    """

    vertices: np.ndarray
    faces: np.ndarray
    is_open: bool


def require() -> None:
    """Raises ValueError where the packages are not installed that meshes are read and measured with."""
    packages = {"igl": "libigl", "trimesh": "trimesh", "embreex": "embreex", "manifold3d": "manifold3d"}
    if missing := [package for name, package in packages.items() if importlib.util.find_spec(name) is None]:
        raise ValueError(f"meshes need {' and '.join(missing)}: pip install 'ava-jax[ldif]'.")


def read(path: pathlib.Path, most_faces: int = MOST_FACES) -> Mesh:
    """The triangles of a file, all its parts together, vertices of one place joined.

    Args:
      path: the file.
      most_faces: of a file of more only the header is read, so that neither memory nor time is without bounds.

    Raises:
      ValueError: it cannot be read, or is no surface that encloses anything: empty, one triangle, flat, with numbers that are not finite.
    """
    import trimesh

    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: meshes are read from {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    size, promised = path.stat().st_size, _faces_promised(path)
    if promised > most_faces or size > most_faces * _LONGEST_FACE:
        what = f"{promised:,} faces" if promised > most_faces else f"a file of {size:,} bytes"
        raise ValueError(f"{path}: {what}; at most {most_faces:,} faces are used (--max_faces). Decimate it.")
    try:
        found = trimesh.load(path, force="mesh", process=False)
    except Exception as e:  # trimesh raises many kinds on nonsense
        raise ValueError(f"{path}: cannot be read as a mesh ({type(e).__name__}: {str(e)[:80]}).") from e
    faces = np.asarray(getattr(found, "faces", ()), np.int64).reshape(-1, 3)
    if len(faces) > most_faces:
        raise ValueError(f"{path}: {len(faces):,} faces; at most {most_faces:,} faces are used (--max_faces). Decimate it.")
    if len(faces) < 4:
        raise ValueError(f"{path}: {len(faces)} triangles enclose nothing.")
    vertices = np.asarray(found.vertices, np.float64)
    used = np.unique(faces)
    if not np.isfinite(vertices[used]).all():
        raise ValueError(f"{path}: vertex {int(used[~np.isfinite(vertices[used]).all(1)][0])} (from 0) is not finite.")
    found.remove_unreferenced_vertices()
    found.merge_vertices(merge_tex=True, merge_norm=True)
    vertices, faces = np.asarray(found.vertices, np.float64), np.asarray(found.faces, np.int64)
    extent = np.ptp(vertices, axis=0)
    if not extent.min() > _FLAT * extent.max():
        raise ValueError(f"{path}: it is flat ({extent.min():.3g} thin, {extent.max():.3g} long) and encloses nothing.")
    return Mesh(vertices, faces, not found.is_watertight)


def _faces_promised(path: pathlib.Path) -> int:
    """How many faces the header of a PLY or OFF file says there are; 0 of others."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if path.suffix.lower() == ".ply":
        found = re.search(rb"element face (\d{1,18})\s", head)
        return int(found[1]) if found else 0
    if path.suffix.lower() == ".off":
        numbers = re.sub(rb"#[^\n]*", b"", head).removeprefix(b"OFF").split()[:3]
        return int(numbers[1]) if len(numbers) == 3 and numbers[1].isdigit() and len(numbers[1]) < 19 else 0
    return 0


def normalization(mesh: Mesh) -> np.ndarray:
    """The matrix [4, 4] that brings a mesh to the published place and size.

    The centroid of its surface to the origin, the root of the largest second moment of its faces' centroids, weighted by area, to 0.25.
    Nothing is turned.

    Raises:
      ValueError: its faces have no area.
    """
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    if not area.sum() > 0:
        raise ValueError("normalization: the mesh's faces have no area.")
    centers = corners.mean(1)
    share = area / area.sum()
    center = share @ centers
    offsets = centers - center
    moments = np.einsum("f,fi,fj->ij", share, offsets, offsets)
    scale = _RADIUS / np.sqrt(np.linalg.eigvalsh(moments)[-1])
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[:3, 3] = -scale * center
    return matrix


def moved(mesh: Mesh, matrix: np.ndarray) -> Mesh:
    """The mesh with its vertices moved by a matrix [4, 4]."""
    return mesh._replace(vertices=mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3])


def signed_distances(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Distances of points [P, 3] from the surface, f32 [P]; negative inside."""
    import igl

    points = np.ascontiguousarray(points, np.float64)
    faces = np.ascontiguousarray(outward(mesh).faces)  # those that look inwards give winding numbers of -1
    distance = np.sqrt(igl.point_mesh_squared_distance(points, mesh.vertices, faces)[0])
    used = mesh.vertices[faces.reshape(-1)]
    near = ((points >= used.min(0)) & (points <= used.max(0))).all(1)  # beyond the mesh's own box all is outside
    inside = np.zeros(len(points), bool)
    if near.any():
        inside[near] = igl.fast_winding_number(mesh.vertices, faces, np.ascontiguousarray(points[near])) > 0.5
    return np.where(inside, -distance, distance).astype(np.float32)


def outward(mesh: Mesh) -> Mesh:
    """The mesh with its faces turned around where they enclose a negative volume."""
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces] - mesh.vertices.mean(0), 1, 0)
    return mesh if np.einsum("fi,fi->", a, np.cross(b, c)) >= 0 else mesh._replace(faces=mesh.faces[:, ::-1])


def distance_grid(mesh: Mesh, spacing: float = 0.044) -> Grid:
    """Signed distances at nodes over the box of +-0.7, its corners among them, `spacing` apart or a little more, as published.

    The published default, 0.044, gives 32 nodes per side, 0.0452 apart.

    Raises:
      ValueError: the spacing gives fewer than 2 nodes per side, or more than 512.
    """
    nodes = int(2 * HALF_SIDE / spacing + 1e-9) + 1 if spacing > 0 else 0
    if not 2 <= nodes <= 512:
        raise ValueError(f"distance_grid: a spacing of {spacing} gives {nodes} nodes per side over 1.4; from 2 to 512 can be.")
    axis = np.linspace(-HALF_SIDE, HALF_SIDE, nodes)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    values = signed_distances(mesh, np.stack([x, y, z], axis=-1).reshape(-1, 3)).reshape(3 * (nodes,))
    scale = (nodes - 1) / (2 * HALF_SIDE)
    transform = np.diag([scale, scale, scale, 1.0])
    transform[:3, 3] = HALF_SIDE * scale
    return Grid(values, transform.astype(np.float32))
