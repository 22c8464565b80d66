"""A rig of any format, told by its files.

A path may be a file or a folder. A folder that holds several formats is refused, so that none is taken by accident.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ava_jax.captures.rigs import colmap, transforms
from ava_jax.captures.rigs.types import Rig


class Format(NamedTuple):
    """A format: what it looks like, in words; where its files lie at a path ([] = it is not this format's); its reader."""

    looks: str
    find: Callable[[pathlib.Path], list[pathlib.Path]]
    read: Callable[[pathlib.Path, pathlib.Path | None], Rig]


def _colmap(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_file():
        return [path] if path.name in ("cameras.txt", "cameras.bin", "images.txt", "images.bin") else []
    folders = [path, *sorted(p for p in [*path.glob("sparse"), *path.glob("sparse/*"), *path.glob("colmap/sparse/*")] if p.is_dir())]
    return [f for f in folders if any((f / f"cameras{s}").is_file() and (f / f"images{s}").is_file() for s in (".bin", ".txt"))]


def _transforms(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" else []
    return [path] if transforms.files(path) else []


FORMATS: Mapping[str, Format] = {
    "colmap": Format("cameras and images as .txt or .bin, in the folder or in sparse/0", _colmap, colmap.read),
    "transforms": Format("transforms.json, or transforms_train.json and its like", _transforms, transforms.read),
}


def find(path: pathlib.Path) -> list[tuple[str, pathlib.Path]]:
    """Formats whose files a path holds, each with where."""
    return [(name, place) for name, form in FORMATS.items() for place in form.find(path)]


def recognised() -> str:
    """All formats and what they look like, in one line."""
    return "; ".join(f"{name}: {form.looks}" for name, form in FORMATS.items())


def read(path: pathlib.Path, format: str = "", images: pathlib.Path | None = None) -> Rig:  # noqa: A002 the command's own word
    """The rig at a path.

    Args:
      path: file or folder.
      format: one of FORMATS; "" tells it by the files.
      images: folder of the pictures, where it is not where the format has it.

    Returns:
      The rig; its notes say which format it was and how it was read.

    Raises:
      ValueError: nothing there is recognised, several formats are, or the files are wrong; one line.
    """
    if not path.exists():
        raise ValueError(f"{path}: is not there.")
    if format and format not in FORMATS:
        raise ValueError(f"{path}: a rig's format must be one of {', '.join(FORMATS)}; got {format!r}.")
    found = [(name, place) for name, place in find(path) if format in ("", name)]
    if not found and format:
        found = [(format, path)]
    if not found:
        raise ValueError(f"{path}: holds no calibration that is recognised. Recognised are {recognised()}.")
    if len(found) > 1:
        listed = ", ".join(f"{name} ({place})" for name, place in found[:6])
        raise ValueError(f"{path}: holds several calibrations: {listed}; name one's path or its format.")
    name, place = found[0]
    rig = FORMATS[name].read(place, images)
    return dataclasses.replace(rig, notes=(f"format: {name} of {place}", *rig.notes))
