"""A rig of any format, told by its files.

A path may be a file or a folder. A folder that holds several formats is refused, so that none is taken by accident.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ava_jax.captures.rigs import colmap, krt, metashape, nersemble, opencv, realitycapture, transforms, vhap
from ava_jax.captures.rigs.types import Rig
from ava_jax.data import text_files


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


def _json_keys(path: pathlib.Path) -> tuple[bool, bool]:
    """Whether a JSON file is a transforms.json, and whether it is VHAP's; neither where it is something else or damaged."""
    tree = text_files.read_json(path)
    frames = tree.get("frames") if isinstance(tree, dict) else None
    sound = isinstance(frames, list) and bool(frames) and isinstance(frames[0], dict)
    return sound, sound and vhap.is_export(frames)


def _transforms(path: pathlib.Path, *, of_vhap: bool = False) -> list[pathlib.Path]:
    found = transforms.files(path) if path.is_dir() or path.suffix.lower() == ".json" else []
    if not found:
        return []
    is_one, is_vhap = _json_keys(found[0])
    if path.is_file() and not is_one:
        return []
    return [path] if is_vhap == of_vhap else []  # a folder's transforms.json that is none is refused by its reader


def _vhap(path: pathlib.Path) -> list[pathlib.Path]:
    return _transforms(path, of_vhap=True)


def _metashape(path: pathlib.Path) -> list[pathlib.Path]:
    candidates = [path] if path.is_file() else sorted(path.glob("*.xml"))
    return [p for p in candidates if p.suffix.lower() == ".xml" and _begins(p, b"<document")]


def _begins(path: pathlib.Path, mark: bytes) -> bool:
    """Whether a mark stands in the first bytes of a file."""
    try:
        with open(path, "rb") as file:
            return mark in file.read(4096)
    except OSError:
        return False


def _realitycapture(path: pathlib.Path) -> list[pathlib.Path]:
    listed = realitycapture.csv_files(path)
    return listed + ([path] if any(_begins(p, b"xcr") for p in realitycapture.xmp_files(path)[:20]) else [])


def _opencv(path: pathlib.Path) -> list[pathlib.Path]:
    return [path] if opencv.easymocap_folder(path) or opencv.files(path) else []


def _krt(path: pathlib.Path) -> list[pathlib.Path]:
    found = krt.file_of(path)
    return [found] if found else []


def _nersemble(path: pathlib.Path) -> list[pathlib.Path]:
    return [path] if nersemble.file_of(path) else []


def _never(path: pathlib.Path) -> list[pathlib.Path]:
    del path  # only where it is named
    return []


FORMATS: Mapping[str, Format] = {
    "colmap": Format("cameras and images as .txt or .bin, in the folder or in sparse/0", _colmap, colmap.read),
    "transforms": Format("nerfstudio's or Blender's transforms.json, or transforms_train.json and its like", _transforms, transforms.read),
    "vhap": Format("VHAP's or GaussianAvatars' transforms.json, with timesteps and cameras", _vhap, vhap.read),
    "metashape": Format("one XML of Metashape, <document><chunk>", _metashape, metashape.read),
    "metashape-local": Format("the same, meshes in the chunk's local coordinates; only where it is named", _never, metashape.read_local),
    "realitycapture": Format("XMP files beside pictures, or a CSV that begins #name,x,y,alt", _realitycapture, realitycapture.read),
    "opencv": Format("YAML or XML of OpenCV or ROS, a file per camera; EasyMocap's intri.yml and extri.yml", _opencv, opencv.read),
    "krt": Format("KRT or KRT.txt, as multiface has it", _krt, krt.read),
    "nersemble": Format("NeRSemble's calibration/camera_params.json", _nersemble, nersemble.read),
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
        raise ValueError(f"{path}: there is no such file or folder; give the rig's calibration, or the folder that holds it.")
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
