"""The manifest of a checkpoint's folder: size and SHA-256 of every file, so that a truncated or altered one is told from a whole one.

It is written into the folder as the last thing before the folder gets its name, after every file has been flushed to the disk.
Orbax's own notes on the folder (commit time) change after that and are left out: nothing is restored from them.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable

from ava_jax.data import text_files
from ava_jax.data.files import replace

NAME = "manifest.json"
_ORBAX_NOTES = ("_CHECKPOINT_METADATA", "commit_success.txt")


class Damaged(ValueError):
    """A checkpoint that is not as it was written; the message names the first file that is not, and how."""


def write(folder: pathlib.Path) -> int:
    """Flushes every file below `folder` to the disk and writes the manifest, whole or not at all; returns the bytes of all files.

    Raises:
      OSError: the disk is full, or fails.
    """
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (*_ORBAX_NOTES, NAME)):
        with path.open("rb") as f:
            files[path.relative_to(folder).as_posix()] = {"size": os.fstat(f.fileno()).st_size, "sha256": _digest(f)}
            os.fsync(f.fileno())
    replace(folder / NAME, json.dumps({"files": files}, indent=1))
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        _flush_folder(path)
    return sum(entry["size"] for entry in files.values())


def exists(folder: pathlib.Path) -> bool:
    """Whether a checkpoint's folder has a manifest."""
    return (folder / NAME).is_file()


def verify(folder: pathlib.Path, items: Iterable[str] | None = None) -> None:
    """Holds the files below `folder` against its manifest.

    Args:
      folder: a checkpoint's.
      items: folders directly below it that count; None: everything counts.

    Raises:
      Damaged: a file is missing, has another size or other content; or the manifest cannot be read.
    """
    try:
        files = text_files.read_json(folder / NAME)["files"]
        entries = [(name, int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()]
        if out := [name for name, *_ in entries if name[:1] == "/" or ".." in name.split("/") or not name.isprintable()]:
            raise ValueError(f"it names {out[0][:80]!r}, which is no file of a checkpoint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        raise Damaged(f"{NAME} cannot be read ({e})") from e
    chosen = None if items is None else set(items)
    entries = [entry for entry in entries if chosen is None or entry[0].split("/")[0] in chosen]
    for name, size, _ in entries:  # what is cheap to tell first
        path = folder / name
        if not path.is_file():
            raise Damaged(f"{name} is missing")
        if path.stat().st_size != size:
            raise Damaged(f"{name} has {path.stat().st_size} bytes, not {size}")
    for name, _, sha256 in entries:
        with (folder / name).open("rb") as f:
            if _digest(f) != sha256:
                raise Damaged(f"{name} is altered: its SHA-256 is not the one that was written")


def _digest(file) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_folder(folder: pathlib.Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
