"""KRT text as multiface has it: a block per camera, of its name, K (3 rows), distortion (5 numbers), [R, t] (3 rows), and an empty line.

Integer pixel centres; world to camera, OpenCV's axes; mm, as in multiface.
"""

import pathlib

import numpy as np

from ava_jax.captures.rigs import building, values
from ava_jax.captures.rigs.types import Distortion, Rig, RigCamera
from ava_jax.data import text_files

_NAMES = ("KRT", "KRT.txt", "krt.txt")
_ROWS = (3, 3, 3, 5, 4, 4, 4)  # numbers in each line after the name


def looks_like(path: pathlib.Path) -> bool:
    """Whether a text file begins as KRT does: a word, then a row of three numbers."""
    if path.suffix.lower() not in ("", ".txt", ".krt") or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            lines = file.read(4000).decode("utf-8", "replace").strip().splitlines()[:5]
        return len(lines) == 5 and [len(line.split()) for line in lines] == [1, *_ROWS[:4]] and _row(lines[1], 3).size == 3
    except (OSError, ValueError):
        return False


def file_of(path: pathlib.Path) -> pathlib.Path | None:
    """The file at a path: itself, where it looks like one, or a folder's KRT, KRT.txt; None where there is none."""
    if path.is_file():
        return path if path.name in _NAMES or looks_like(path) else None
    return next((path / name for name in _NAMES if (path / name).is_file()), None)


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of a file.

    Args:
      path: the file, or a folder with KRT.
      images: folder of the pictures, camera/frame or segment/camera/frame; None is `images` beside the file, or its folder.

    Raises:
      ValueError: the file is missing or wrong; the message names file and line.
    """
    file = path if path.is_file() else file_of(path)
    if file is None:
        raise ValueError(f"{path}: must hold KRT or KRT.txt, blocks of a name, 3 rows of K, 5 numbers, 3 rows of [R, t].")
    lines = [(number, text.strip()) for number, text in enumerate(text_files.read(file).splitlines(), 1)]
    lines = [(number, text) for number, text in lines if text]
    cameras = []
    step = 1 + len(_ROWS)
    for start in range(0, len(lines), step):
        block = lines[start : start + step]
        name = block[0][1]
        if len(block) < step:
            raise ValueError(f"{file}, line {block[-1][0]}: camera {name[:40]!r} must have {step} lines; the file ends after {len(block)}.")
        if any(camera.name == name for camera in cameras):
            raise ValueError(f"{file}, line {block[0][0]}: camera {name[:40]!r} is there twice.")
        cameras.append(_camera(file, name, block[1:]))
    folders = [images] if images else [file.parent / "images", file.parent]
    notes = ["KRT text (multiface's form), mm; it does not give image sizes, which are those of the pictures"]
    return building.of_cameras(file, cameras, folders, notes, mm_per_unit=1.0)


def _row(text: str, count: int) -> np.ndarray:
    words = text.split()
    if len(words) != count:
        raise ValueError(f"must be {count} numbers; got {text[:60]!r}")
    return np.array([values.number(word, "each") for word in words])


def _camera(file: pathlib.Path, name: str, block: list[tuple[int, str]]) -> RigCamera:
    """The camera of the lines after its name, each with its number."""
    rows, line = [], block[0][0]
    try:
        for (number, text), count in zip(block, _ROWS, strict=True):
            line = number
            rows.append(_row(text, count))
        line = block[0][0]
        k = values.require_pinhole(np.stack(rows[:3]))
        line = block[4][0]
        extrinsics = np.stack(rows[4:])
        pose = values.pose(extrinsics[:, :3], extrinsics[:, 3])
    except ValueError as e:
        raise ValueError(f"{file}, line {line}: camera {name[:40]!r}: {e}.") from e
    k1, k2, p1, p2, k3 = rows[3].tolist()
    distortion = Distortion("opencv", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)) if rows[3].any() else Distortion()
    return RigCamera(name, (0, 0), k, pose, distortion)
