"""Ellipsoids as one mesh with a colour per vertex."""

import functools

import numpy as np

_SUBDIVISIONS = 3


@functools.cache
def sphere(subdivisions: int = _SUBDIVISIONS) -> tuple[np.ndarray, np.ndarray]:
    """Vertices f32 [V, 3] and faces int32 [F, 3] of a sphere of radius 1. Needs trimesh."""
    import trimesh

    made = trimesh.creation.icosphere(subdivisions=subdivisions)
    return np.asarray(made.vertices, np.float32), np.asarray(made.faces, np.int32)


def mesh(
    centers: np.ndarray, axes: np.ndarray, radii: np.ndarray, colours: np.ndarray, *, subdivisions: int = _SUBDIVISIONS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ellipsoids side by side in one mesh.

    Args:
      centers: [N, 3].
      axes: [N, 3, 3], each ellipsoid's own, in columns; rotations.
      radii: [N, 3], along these.
      colours: u8 [N, 3].
      subdivisions: of the sphere: 20 * 4^s triangles each.

    Returns:
      Vertices f32 [V, 3], faces int32 [F, 3], colours u8 [V, 3].
    """
    corners, faces = sphere(subdivisions)
    count = len(centers)
    vertices = np.einsum("nij,nj,vj->nvi", axes, radii, corners) + np.asarray(centers)[:, None]
    every = faces[None] + len(corners) * np.arange(count)[:, None, None]
    return vertices.reshape(-1, 3).astype(np.float32), every.reshape(-1, 3).astype(np.int32), np.repeat(colours, len(corners), axis=0)
