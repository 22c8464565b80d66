"""Sequences of meshes as arrays: OBJ files are read once, into a cache of one `.npy` file per folder, and mapped into memory from then on.

The cache of a folder is `<cache>/NAME_KIND/`: `vertices.npy` f32 [F, V, 3], `faces.npy` int32 [M, 3] and `record.json`, which lists name,
size and time of every OBJ file. A folder whose files differ from that list is read anew. It is written whole or not at all.
"""

import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from ava_jax.data import obj_files, text_files
from ava_jax.data.files import cache_folder
from ava_jax.data.workers import Workers
from ava_jax.tasks.mesh_fit.data import folders
from ava_jax.tasks.mesh_fit.data.folders import JOINTS, SBS, TARGET, Folders

CACHE = ".ava_jax_cache"  # in the data root
_VERSION = 1  # of the cache's layout
_FEW = 64  # files that are read sooner than a process has started


class MeshSequence(NamedTuple):
    """Frames of one motion.

    Attributes:
      name: of the motion.
      frames: names of F frames.
      source: f32 [F, V, 3], metres, mapped into memory.
      target: likewise; None where it is not asked for.
      joints: f32 [F, J, 3]; None where they are not asked for.
    """

    name: str
    frames: tuple[str, ...]
    source: np.ndarray
    target: np.ndarray | None
    joints: np.ndarray | None


class _Folder(NamedTuple):
    """A folder's meshes: vertices f32 [F, V, 3], mapped into memory, and faces int32 [M, 3]."""

    vertices: np.ndarray
    faces: np.ndarray


def load(
    root: pathlib.Path,
    names: Sequence[str] = (),
    *,
    targets: bool,
    joints: int,
    max_frames: int = 0,
    cache: pathlib.Path | None = None,
    jobs: int | None = None,
) -> tuple[list[MeshSequence], np.ndarray]:
    """Sequences of a data root, sorted by name, and the faces that all their meshes have, int32 [M, 3].

    Args:
      root: see `folders`.
      names: of the sequences to take; () = all.
      targets: whether they are needed.
      joints: how many each frame must have; 0: none are needed.
      max_frames: of each sequence, the first ones; 0 = all.
      cache: folder for what was read; None: `CACHE` in the root or, where that cannot be written, in the user's cache folder.
      jobs: processes that read; None: one per core.

    Raises:
      ValueError: files are missing, malformed, or do not fit together; the message names them.
      OSError: the cache cannot be written.
    """
    kinds = [SBS, *([TARGET] if targets else []), *([JOINTS] if joints else [])]
    found = folders.find(root, names, kinds, most=max_frames)
    store = cache or _default_cache(root)
    jobs = jobs or os.cpu_count() or 1
    read = [{kind: _read_folder(root, store, sequence, kind, jobs) for kind in kinds} for sequence in found]
    faces = read[0][SBS].faces
    first = folders.folder(root, found[0].name, SBS)
    for sequence, parts in zip(found, read, strict=True):
        for kind in kinds:
            where = folders.folder(root, sequence.name, kind)
            if kind == JOINTS:
                _require_joints(parts[kind], joints, where)
            else:
                _require_topology(parts[kind], where, read[0][SBS], first, points=kind == TARGET)
    loaded = [
        MeshSequence(
            sequence.name,
            sequence.frames,
            parts[SBS].vertices,
            parts[TARGET].vertices if targets else None,
            parts[JOINTS].vertices if joints else None,
        )
        for sequence, parts in zip(found, read, strict=True)
    ]
    return loaded, faces


def _require_joints(part: _Folder, joints: int, where: pathlib.Path) -> None:
    if part.vertices.shape[1] != joints:
        raise ValueError(f"{where}: must have config.model.joints = {joints} joints per frame; it has {part.vertices.shape[1]}.")


def _require_topology(part: _Folder, where: pathlib.Path, like: _Folder, first: pathlib.Path, *, points: bool) -> None:
    """Same number of vertices and same faces; a cloud of points, of which only the number counts, may lack faces."""
    if part.vertices.shape[1] != like.vertices.shape[1]:
        raise ValueError(f"{where}: must have {like.vertices.shape[1]} vertices as {first}; it has {part.vertices.shape[1]}.")
    if not (points and len(part.faces) == 0) and not np.array_equal(part.faces, like.faces):
        raise ValueError(f"{where}: must have the faces of {first}; they differ, so vertices of one number are not one point of the body.")


def _default_cache(root: pathlib.Path) -> pathlib.Path:
    """In the root, or else in the user's cache folder, under a name of the root's own."""
    if (root / CACHE).is_dir() or os.access(root, os.W_OK):
        return root / CACHE
    home = cache_folder()
    if home is None:
        raise ValueError(f"{root} cannot be written to, and there is no home to keep what is read: give --config.data.cache=FOLDER.")
    own = hashlib.blake2b(str(root.resolve()).encode(), digest_size=6).hexdigest()
    return home / "mesh_fit" / f"{root.name}-{own}"


def _read_folder(root: pathlib.Path, cache: pathlib.Path, sequence: Folders, kind: str, jobs: int) -> _Folder:
    """A folder's meshes, from the cache where that is fresh."""
    files = sequence.files[kind]
    every = _files_of(folders.folder(root, sequence.name, kind), files)
    cached = cache / f"{sequence.name}_{kind}"
    record = {"version": _VERSION, "files": every}
    if not _is_fresh(cached, record):
        _build(cached, record, files, jobs)
    return _Folder(np.load(cached / "vertices.npy", mmap_mode="r")[: len(files)], np.load(cached / "faces.npy"))


def _files_of(location: pathlib.Path, files: Sequence[pathlib.Path]) -> list[list[Any]]:
    """Name, size and time of files of one folder."""
    with os.scandir(location) as entries:
        stats = {entry.name: entry.stat() for entry in entries}
    return [[path.name, stats[path.name].st_size, stats[path.name].st_mtime_ns] for path in files]


def _is_fresh(cached: pathlib.Path, record: dict[str, Any]) -> bool:
    """Whether a folder's cache is of these files; it may hold more frames after them."""
    if not (cached / "record.json").exists():
        return False
    try:
        saved = text_files.read_json(cached / "record.json")
        if not (saved["version"] == record["version"] and saved["files"][: len(record["files"])] == record["files"]):
            return False
    except (ValueError, KeyError, TypeError):  # cut short by a full disk, or altered: as good as none
        return False
    try:
        vertices = np.load(cached / "vertices.npy", mmap_mode="r")
        faces = np.load(cached / "faces.npy", mmap_mode="r")
    except Exception:  # NumPy raises many kinds on nonsense; it is made anew
        return False
    return vertices.ndim == 3 and len(vertices) >= len(record["files"]) and faces.ndim == 2


def _build(cached: pathlib.Path, record: dict[str, Any], files: Sequence[pathlib.Path], jobs: int) -> None:
    """Reads a folder into the cache."""
    partial = cached.with_name(f".{cached.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        first = obj_files.read(files[0])
        shape = (len(files), *first.vertices.shape)
        np.save(partial / "faces.npy", first.faces)
        store = np.lib.format.open_memmap(partial / "vertices.npy", "w+", np.float32, shape)
        store.flush()
        del store
        _read_all(partial / "vertices.npy", files, _Shape.of(first), jobs, cached.name)
        (partial / "record.json").write_text(json.dumps(record))
        if _is_fresh(cached, record):  # another process was quicker
            return
        shutil.rmtree(cached, ignore_errors=True)
        try:
            partial.rename(cached)
        except OSError:
            if not _is_fresh(cached, record):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already when all went well


class _Shape(NamedTuple):
    """What all meshes of a folder agree in."""

    vertices: int
    faces: str

    @classmethod
    def of(cls, mesh: obj_files.Obj) -> "_Shape":
        return cls(len(mesh.vertices), hashlib.blake2b(mesh.faces.tobytes(), digest_size=16).hexdigest())


def _read_all(store: pathlib.Path, files: Sequence[pathlib.Path], like: _Shape, jobs: int, name: str) -> None:
    """Reads files into rows of an array on disk, with a bar that tells rate and time left.

    Raises:
      ValueError: a file is malformed, or other files have another number of vertices or other faces than the first.
    """
    few = jobs == 1 or len(files) < _FEW
    chunks = [(store, start, files[start : start + 8]) for start in range(0, len(files), 8)]
    counts: list[int] = []
    others: list[str] = []
    with tqdm.tqdm(total=len(files), desc=f"reading {name}", unit="mesh", dynamic_ncols=True) as bar:

        def collect(found: list[_Shape]) -> None:
            for path, shape in zip(files[bar.n : bar.n + len(found)], found, strict=True):
                if shape != like:
                    others.append(path.name)
                    counts.append(shape.vertices)
            bar.update(len(found))

        if few:
            for chunk in chunks:
                collect(_read_chunk(*chunk))
        else:
            with Workers(jobs) as pool:
                for found in pool.map(_read_chunk, *zip(*chunks, strict=True)):
                    collect(found)
    if others:
        location, what = files[0].parent, "faces"
        if set(counts) != {like.vertices}:
            what = f"{like.vertices} vertices"
            others = [f"{file} has {count}" for file, count in zip(others, counts, strict=True)]
        raise ValueError(f"{location}: all must have the {what} of {files[0].name}; not so {folders.named(others)}.")


def _read_chunk(store: pathlib.Path, start: int, files: Sequence[pathlib.Path]) -> list[_Shape]:
    """Reads files into rows from `start` on. A mesh that does not fit is left out: the caller looks at the shapes."""
    rows = np.lib.format.open_memmap(store, "r+")
    shapes = []
    for i, path in enumerate(files):
        mesh = obj_files.read(path)
        shapes.append(_Shape.of(mesh))
        if len(mesh.vertices) == rows.shape[1]:
            rows[start + i] = mesh.vertices
    rows.flush()
    return shapes
