"""The small files of a multiface capture: `KRT` and `frame_list.txt`."""

import pathlib
from typing import NamedTuple

import numpy as np

from ava_jax.core.cameras import rotation_fault
from ava_jax.data import text_files

_BLOCK = ("K", "K", "K", "the distortion", "[R, t]", "[R, t]", "[R, t]")  # lines after a camera's name
_NUMBERS = (3, 3, 3, 5, 4, 4, 4)


class KrtCamera(NamedTuple):
    """An entry of `KRT`: k f64 [3, 3], pixels of 2048 x 1334 images; extrinsics f64 [3, 4], [R, t], world to camera, mm."""

    name: str
    k: np.ndarray
    extrinsics: np.ndarray


def frame_list(path: pathlib.Path) -> dict[str, list[str]]:
    """Frames by segment, in the order of the file, of lines `SEGMENT FRAME`; frames stay as they are written, six digits.

    Raises:
      ValueError: the file cannot be read, is empty, or a line is not of that form; the message names it.
    """
    found: dict[str, dict[str, None]] = {}
    for number, line in enumerate(text_files.read(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].isdigit():
            raise ValueError(f"{path}, line {number}: must be 'SEGMENT FRAME', as in 'E057_Cheeks_Puffed 021897'; got {line[:80]!r}.")
        found.setdefault(words[0], {})[words[1]] = None
    if not found:
        raise ValueError(f"{path}: must have a line 'SEGMENT FRAME' per frame; it has none.")
    return {segment: list(frames) for segment, frames in found.items()}


def cameras(path: pathlib.Path) -> list[KrtCamera]:
    """Cameras in the order of the file: a line with the name, 3 of K, 1 of the distortion (ignored), 3 of [R, t]; blank lines between.

    Raises:
      ValueError: the file cannot be read, or a line has other numbers; the message names the line.
    """
    lines = [(number, line.split()) for number, line in enumerate(text_files.read(path).splitlines(), 1) if line.split()]
    found: dict[str, KrtCamera] = {}
    if not lines or len(lines) % (1 + len(_BLOCK)):
        raise ValueError(
            f"{path}: must have {1 + len(_BLOCK)} lines per camera, its name first; it has {len(lines)} lines that are not blank."
        )
    for at in range(0, len(lines), 1 + len(_BLOCK)):
        number, words = lines[at]
        if len(words) != 1 or words[0] in found:
            raise ValueError(f"{path}, line {number}: must be a camera's name, once; got {' '.join(words)[:80]!r}.")
        rows = [_row(path, *line, what, count) for line, what, count in zip(lines[at + 1 :], _BLOCK, _NUMBERS)]
        found[words[0]] = KrtCamera(words[0], np.array(rows[:3]), np.array(rows[4:]))
    return list(found.values())


def camera_fault(camera: KrtCamera) -> str:
    """What keeps the numbers from being a pinhole camera's; "" where nothing does."""
    k = camera.k
    if not (np.isfinite(k).all() and np.isfinite(camera.extrinsics).all()):
        return "not all numbers are finite"
    if np.abs(k[(1, 2, 2), (0, 0, 1)]).max() > 1e-6 * np.abs(k).max() or abs(k[2, 2] - 1) > 1e-6:
        return "K must have the rows fx 0 cx, 0 fy cy, 0 0 1: here it is not stored transposed"
    if min(k[0, 0], k[1, 1]) <= 0:
        return f"K's focal lengths must be positive; got {k[0, 0]:g} and {k[1, 1]:g}"
    fault = rotation_fault(camera.extrinsics[:, :3])
    return f"[R, t] must begin with a rotation, world to camera: {fault}" if fault else ""


def _row(path: pathlib.Path, number: int, words: list[str], what: str, count: int) -> list[float]:
    try:
        row = [float(word) for word in words]
    except ValueError:
        row = []
    if len(row) != count:
        raise ValueError(f"{path}, line {number}: must be {count} numbers of {what}; got {' '.join(words)[:80]!r}.")
    return row
