"""Verifies captures: finds them below folders, looks at their structure, then at their contents, and repairs them if asked to."""

import concurrent.futures
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import tqdm

from ava_jax.captures.ava256 import TOPOLOGY
from ava_jax.captures.multiface import packed_copy
from ava_jax.captures.packed import index
from ava_jax.captures.verify import chosen, contents, zips
from ava_jax.captures.verify.contents import Depth
from ava_jax.captures.verify.decoder import Decoder
from ava_jax.captures.verify.findings import Book
from ava_jax.captures.verify.headset import Headset
from ava_jax.captures.verify.multiface import Multiface
from ava_jax.core.mesh import Topology
from ava_jax.data import mesh_files, obj_files

Part = Decoder | Headset | Multiface

_DEEP = 3  # levels below a folder that captures are looked for in


def find(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Folders of captures at or below paths, each once, sorted within each path.

    Raises:
      ValueError: a path is no folder, or has no capture.
    """
    found: dict[pathlib.Path, pathlib.Path] = {}  # by where they really are
    for path in paths:
        if not path.is_dir():
            why = "is a file" if path.exists() else "there is no such folder"
            raise ValueError(f"{path}: {why}; give a capture or a folder of captures.")
        # `decoder/` or `encoder/` itself is its capture's.
        here = [path.parent] if path.name in ("decoder", "encoder") else _below(path, _DEEP)
        if not here:
            raise ValueError(
                f"{path}: no capture there (a folder with decoder/ or encoder/ inside, or one of multiface with KRT and tracked_mesh/)."
            )
        begun = index.begun(path) if (path / index.FILE).is_file() and here != [path] else set()
        for capture in [*here, *(path / name for name in sorted(begun - {one.name for one in here}))]:
            found.setdefault(capture.resolve(), capture)
    return list(found.values())


def _below(folder: pathlib.Path, levels: int) -> list[pathlib.Path]:
    if is_ava256(folder) or is_multiface(folder):
        return [folder]
    if not levels:
        return []
    return [capture for child in sorted(folder.iterdir()) if child.is_dir() for capture in _below(child, levels - 1)]


def is_ava256(folder: pathlib.Path) -> bool:
    """Whether a folder is laid out as a capture of ava-256, of the dome or of the headset."""
    return (folder / "decoder").is_dir() or (folder / "encoder").is_dir()


def is_multiface(folder: pathlib.Path) -> bool:
    """Whether a folder is laid out as a capture of multiface."""
    return (folder / "tracked_mesh").is_dir() or ((folder / "KRT").is_file() and (folder / "frame_list.txt").is_file())


def verify(folders: Sequence[pathlib.Path], depth: Depth, *, topology: pathlib.Path | None = None, threads: int = 2) -> list[Book]:
    """Looks at captures, with a progress bar on stderr for the structure and one for the contents.

    Args:
      folders: of captures, as `find` gives them.
      depth: how much of the contents.
      topology: OBJ that the meshes of ava-256's captures have the faces of; None: `face_topology.obj` beside each capture.
      threads: that read.

    Returns:
      A book of findings per folder, in order.

    Raises:
      ValueError: `topology` is given and cannot be read.
    """
    books = [_book(folder) for folder in folders]
    known: dict[pathlib.Path, _Known] = {}
    parts: list[Part] = []
    for book in books:
        parts += _parts(book, topology, known)
    planned = _structure(parts, depth, threads)
    with _bar(planned, "contents", "file") as bar:
        for part in parts:
            contents.run(list(part.jobs(depth)), threads, bar.update)
            part.forget()
    return books


def _book(folder: pathlib.Path) -> Book:
    """An empty one, with what a download's manifest says of the capture."""
    book = Book(folder, "multiface" if is_multiface(folder) else "ava-256")
    try:
        book.chosen = chosen.of(folder)
    except (ValueError, OSError) as e:
        book.add("doubt", "manifest", "of the download cannot be read; what was chosen is not known", detail=str(e))
    if not folder.is_dir():
        text = "is listed in packed.json, and was not packed"
        book.add("fault", "packed", text, action="run the same ava pack again, which goes on")
    return book


class _Known(NamedTuple):
    """A topology, the vertices of its meshes, or what is wrong with it."""

    topology: Topology | None
    vertices: int | None
    fault: str = ""


def _parts(book: Book, topology: pathlib.Path | None, known: dict[pathlib.Path, _Known]) -> list[Part]:
    folder = book.folder
    if book.layout == "multiface" and packed_copy.is_one(folder):
        text = "is a packed copy, of ava multiface pack, which is not looked into"
        book.add("doubt", "packed", text, action="verify the capture that it was packed from")
        return []
    if book.layout == "multiface":
        return [Multiface(folder, book)]
    parts: list[Part] = []
    if (folder / "decoder").is_dir():
        path = topology or folder.parent / TOPOLOGY
        if path not in known:
            known[path] = _topology(path, required=topology is not None)
        found = known[path]
        if found.fault:
            action = "put the OBJ of the meshes there, or name it (--topology=FILE)"
            book.add("doubt", "topology", found.fault, action=action)
        parts.append(Decoder(folder, book, found.topology, found.vertices))
    return parts + ([Headset(folder, book)] if (folder / "encoder").is_dir() else [])


def _topology(path: pathlib.Path, *, required: bool) -> _Known:
    if not path.is_file() and not required:
        return _Known(None, None, f"there is no {TOPOLOGY} beside the capture, which training needs")
    try:
        vertices = len(obj_files.read(path).vertices)
        return _Known(mesh_files.read_topology(path, vertices), vertices)
    except (ValueError, OSError) as e:
        if required:
            raise ValueError(f"--topology: {e}") from e
        return _Known(None, None, str(e))


def _structure(parts: Sequence[Part], depth: Depth, threads: int) -> int:
    """Looks at the structure of each, zips by several threads; how many frames are to be decoded."""
    total = sum(1 if isinstance(part, Multiface) else len(part.paths()) for part in parts)
    planned = 0
    with _bar(total, "structure", "zip") as bar, concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def look(paths: Sequence[tuple[str, pathlib.Path]]) -> list[zips.Zip]:
            found = []
            for one in pool.map(lambda one: zips.look(*one), paths):
                found.append(one)
                bar.update()
            return found

        for part in parts:
            if isinstance(part, Multiface):
                part.structure()
                bar.update()
            else:
                part.structure(look)
            planned += part.planned(depth)
            part.forget()
    return planned


def _bar(total: int, what: str, unit: str) -> tqdm.tqdm:
    """Shows the rate and the time left, on stderr."""
    return tqdm.tqdm(total=total, desc=what, unit=unit, dynamic_ncols=True, leave=False, disable=not total)


def repair(books: Sequence[Book], depth: Depth, *, topology: pathlib.Path | None = None, threads: int = 2) -> list[Book]:
    """Fetches the files again that have faults, and verifies their captures anew.

    Returns:
      The books, those of repaired captures made anew; what could not be fetched is a fault in them.
    """
    result = []
    for book in books:
        names = book.to_refetch
        if not names:
            result.append(book)
            continue
        from ava_jax.captures.published import refetch  # what downloads need is imported where something is fetched

        print(f"repair: {book.folder.name}: fetching {len(names)} file{'' if len(names) == 1 else 's'} again", file=sys.stderr, flush=True)
        try:
            failed, why = refetch(book.folder, names, jobs=max(threads, 1)), "could not be fetched"
        except (ValueError, OSError) as e:  # no manifest, as it was not downloaded by this package; no server
            failed, why = list(names), str(e)
        (again,) = verify([book.folder], depth, topology=topology, threads=threads) if len(failed) < len(names) else (book,)
        for name in failed:
            again.add("fault", "repair", "was not repaired", name, detail=why, action="fetch it by hand, or take the capture out")
        result.append(again)
    return result
