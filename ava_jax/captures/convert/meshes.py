"""Tracked meshes of a rig: OBJ, PLY or npz, a file per frame or one npz of all, in world coordinates and the rig's unit."""

import pathlib
import re
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from ava_jax.core.mesh import Topology
from ava_jax.data import mesh_files, npy_files, obj_files

SUFFIXES = (".obj", ".ply", ".npz")
_MOST_FRAME = 2**31 - 1


class Meshes(Protocol):
    """Meshes by frame."""

    frames: tuple[int, ...]

    def read(self, frame: int) -> np.ndarray:
        """Vertices of a frame, f64 [V, 3], world, the rig's unit.

        Raises:
          ValueError: the file cannot be read; the message names it.
        """


class MeshFiles:
    """A file per frame."""

    def __init__(self, paths: Mapping[int, pathlib.Path]) -> None:
        """Reads none yet.

        Args:
          paths: by frame.
        """
        self.paths = dict(paths)
        self.frames = tuple(sorted(paths))

    def read(self, frame: int) -> np.ndarray:
        """As `Meshes`, f64 [V, 3]."""
        return read(self.paths[frame])


class MeshTable:
    """All frames in one npz: `vertices` [F, V, 3] and `frames` [F], or frames from 0."""

    def __init__(self, path: pathlib.Path) -> None:
        """Reads the numbers of the frames.

        Args:
          path: of the npz.

        Raises:
          ValueError: it is none, or lacks them.
        """
        self.path = path
        arrays = npz(path, ("vertices",), ("frames",))
        if arrays["vertices"].ndim != 3 or arrays["vertices"].shape[2] != 3:
            raise ValueError(f"{path}: vertices must be [F, V, 3]; got {list(arrays['vertices'].shape)}.")
        numbers = np.asarray(arrays.get("frames", np.arange(len(arrays["vertices"])))).ravel()
        if len(numbers) != len(arrays["vertices"]) or len(np.unique(numbers)) != len(numbers):
            raise ValueError(f"{path}: frames must be {len(arrays['vertices'])} different numbers, one per mesh; got {len(numbers)}.")
        self._rows = {int(number): row for row, number in enumerate(numbers)}
        self.frames = tuple(sorted(self._rows))
        self._vertices = arrays["vertices"]

    def read(self, frame: int) -> np.ndarray:
        """As `Meshes`, f64 [V, 3]."""
        return self._vertices[self._rows[frame]].astype(np.float64)


def find(path: pathlib.Path) -> Meshes:
    """Meshes of a folder, whose files' names end in the frame's number, or of one npz.

    Raises:
      ValueError: there is none, a name has no number, or two have one.
    """
    if path.is_file() and path.suffix.lower() == ".npz":
        return MeshTable(path)
    if not path.is_dir():
        raise ValueError(f"--meshes={path}: must be a folder of OBJ, PLY or npz files, one per frame, or one npz of all frames.")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    found: dict[int, pathlib.Path] = {}
    for file in files:
        number = frame_of(file)
        if number is None:
            raise ValueError(f"{file}: the names of meshes must end in the frame's number, as in 000123.obj; move others elsewhere.")
        if number in found:
            raise ValueError(f"{file}: {found[number].name} is of frame {number} already; one must go.")
        found[number] = file
    if not found:
        raise ValueError(f"--meshes={path}: no file there ends in {', '.join(SUFFIXES)}.")
    return MeshFiles(found)


def frame_of(path: pathlib.Path) -> int | None:
    """The last number in a file's name; None where there is none."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers and int(numbers[-1]) <= _MOST_FRAME else None


def read(path: pathlib.Path) -> np.ndarray:
    """Vertices of one mesh, f64 [V, 3].

    Raises:
      ValueError: the file cannot be read, or has no vertices, or one is not finite; the message names it.
    """
    try:
        if path.suffix.lower() == ".obj":
            vertices = obj_files.read(path).vertices
        elif path.suffix.lower() == ".ply":
            vertices = mesh_files.read_vertices(path.read_bytes())
        else:
            vertices = npz(path, ("vertices",))["vertices"]
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except ValueError as e:
        raise ValueError(str(e) if str(e).startswith(str(path)) else f"{path}: {e}.") from e
    vertices = np.asarray(vertices, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices) or not np.isfinite(vertices).all():
        raise ValueError(f"{path}: must hold vertices [V, 3], all finite; got {list(vertices.shape)}.")
    return vertices


def npz(path: pathlib.Path, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Arrays of an npz, of any shape, of numbers alone: nothing in the file is run.

    Args:
      path: of the file.
      needed: names that must be there.
      optional: names that may be.

    Raises:
      ValueError: the file cannot be read, or lacks one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in needed if name not in file.files]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}; it has {', '.join(file.files[:8]) or 'nothing'}")
            arrays = {name: file[name] for name in (*needed, *(name for name in optional if name in file.files))}
    except Exception as e:  # numpy and zipfile raise many kinds for damaged files
        raise ValueError(f"{path}: no npz that can be read ({' '.join(str(e).split())[:200]}).") from e
    if wrong := [name for name, array in arrays.items() if array.dtype.kind not in "fiu"]:
        raise ValueError(f"{path}: {wrong[0]} must hold numbers; got {arrays[wrong[0]].dtype}.")
    return arrays


def topology(path: pathlib.Path | None, meshes: Meshes, count: int) -> tuple[Topology, np.ndarray]:
    """Faces and UV chart, and the vertices f64 [V, 3] of the file that has them.

    Args:
      path: of an OBJ with UVs; None: the first mesh, which must be one.
      meshes: of the rig.
      count: V.

    Raises:
      ValueError: there is none, or it is not of these meshes.
    """
    if path is None:
        first = meshes.paths[meshes.frames[0]] if isinstance(meshes, MeshFiles) else None
        if first is None or first.suffix.lower() != ".obj" or obj_files.read(first).face_uvs is None:
            raise ValueError("the meshes have no UVs of their own: --topology=FILE.obj must give their faces with UVs.")
        path = first
    found = mesh_files.read_topology(path, count)
    low, high = found.uvs.min(), found.uvs.max()
    if low < -1e-4 or high > 1 + 1e-4:
        raise ValueError(f"topology {path}: UVs must lie in 0..1; they reach from {low:.3f} to {high:.3f} (several tiles?).")
    return found, obj_files.read(path).vertices.astype(np.float64)


def indices(path: pathlib.Path, count: int) -> np.ndarray:
    """Numbers of vertices, int [S], from a text file (any separators) or .npy.

    Args:
      path: of the file.
      count: V; numbers are from 0 to V - 1.

    Raises:
      ValueError: the file cannot be read, or a number names no vertex.
    """
    try:
        values = npy_files.read(path) if path.suffix == ".npy" else np.array(re.split(r"[\s,;]+", path.read_text().strip()), float)
        chosen = np.unique(np.asarray(values, np.float64).ravel())
    except (OSError, ValueError) as e:
        raise ValueError(f"{path}: must hold numbers of vertices ({' '.join(str(e).split())[:200]}).") from e
    if len(chosen) < 4 or chosen[0] < 0 or chosen[-1] >= count or (chosen != np.floor(chosen)).any():
        raise ValueError(f"{path}: must hold 4 numbers of vertices or more, whole, from 0 to {count - 1}; got {len(chosen)}.")
    return chosen.astype(np.int64)
