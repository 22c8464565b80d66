"""Meshes of shapes as files, through trimesh."""

import importlib.util
import pathlib

from ava_jax.data import files
from ava_jax.tasks.ldif.apps.surface import Surface


def require() -> None:
    """Raises ValueError where the package is not installed that meshes are written with."""
    if importlib.util.find_spec("trimesh") is None:
        raise ValueError("extracting meshes needs trimesh: pip install 'ava-jax[ldif]'.")


def write(path: pathlib.Path, surface: Surface) -> None:
    """Writes PLY, OBJ or GLB, by the name's end, whole or not at all; folders are made.

    Raises:
      ValueError: the name has another end.
      OSError: it cannot be written.
    """
    import trimesh

    kind = path.suffix[1:]
    if kind not in ("ply", "obj", "glb"):
        raise ValueError(f"{path}: meshes are written as .ply, .obj or .glb.")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, trimesh.Trimesh(surface.vertices, surface.faces, process=False).export(file_type=kind))


def described(path: pathlib.Path, surface: Surface) -> str:
    """A line on a mesh that was written."""
    note = "" if surface.crosses else "; its function has no surface: this is a sphere"
    return f"wrote {path}: {len(surface.vertices):,} vertices, {len(surface.faces):,} faces{note}"
