"""Paths that servers, lists and archives name, kept inside of a folder."""

import hashlib
import pathlib

_PART = ".part"
_MOST_NAME = 255  # bytes of a file's name, of common file systems


def fault(relative: str) -> str:
    """Why a path could lie outside of the folder that it is relative to, or be no path at all; "" where nothing is wrong."""
    if not relative or "\0" in relative:
        return "is empty, or has a zero byte"
    if "\\" in relative or relative.startswith("/") or ":" in relative.split("/")[0]:
        return "is absolute, or written as on Windows"
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, . or .."
    if any(len(part.encode("utf-8", "surrogateescape")) > _MOST_NAME for part in parts):
        return f"has a name of more than {_MOST_NAME} bytes"
    return ""


def inside(folder: pathlib.Path, relative: str) -> pathlib.Path:
    """`folder / relative`, for a path that only goes down.

    Raises:
      ValueError: it could lie outside of the folder.
    """
    if why := fault(relative):
        raise ValueError(f"{folder}: files are written below it, under paths as in decoder/image/cam1.zip; {relative[:80]!r} {why}.")
    return folder / relative


def part(path: pathlib.Path, state: str) -> pathlib.Path:
    """Where a file is collected until it is whole: beside it, named by a digest of the state of the source that it is a part of.

    A part of another state has another name, so what is found under this one may be gone on with.
    """
    digest = hashlib.blake2b(state.encode(), digest_size=6).hexdigest()
    return path.with_name(f"{path.name}.{digest}{_PART}")


def parts(path: pathlib.Path) -> list[pathlib.Path]:
    """All parts of a file that lie beside it, of whatever state."""
    length = len(path.name) + 1 + 12 + len(_PART)
    try:
        found = [one for one in path.parent.iterdir() if one.name.startswith(f"{path.name}.") and one.name.endswith(_PART)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [one for one in found if len(one.name) == length]
