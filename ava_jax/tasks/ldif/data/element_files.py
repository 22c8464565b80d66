"""Elements as text, `.txt`, as the published tools read and write them.

SIF; then three whole numbers, as in 32 0 32: elements, 0, features of each; then a row per element,
c x y z r1 r2 r3 roll pitch yaw s z1 ...: constant, centre, radii (not squared), angles in radians, whether it is symmetric (0 or 1;
symmetric ones come first), features. Written with %.9g, which keeps a float32.
"""

import pathlib

import numpy as np

from ava_jax.data import files, text_files
from ava_jax.ops.implicit.elements import Elements

_NUMBERS = 11  # of a row, before its features
_MOST = 100_000  # numbers of a file's elements


def find(path: pathlib.Path) -> list[pathlib.Path]:
    """A file, or all files `.txt` of a folder in the order of their names.

    Raises:
      ValueError: there is none.
    """
    if path.is_dir():
        found = sorted(path.glob("*.txt"))
        if not found:
            raise ValueError(f"--shapes: no file .txt lies in {path}.")
        return found
    if not path.is_file():
        raise ValueError(f"--shapes: there is no {path}.")
    return [path]


def read(path: pathlib.Path) -> tuple[Elements, int]:
    """Elements, NumPy float32 [N, ...], and how many of the first are symmetric.

    Raises:
      ValueError: it is no such file; a line says where.
    """
    return parse(text_files.read(path), str(path))


def parse(text: str, name: str = "elements") -> tuple[Elements, int]:
    """As `read`, of a file's text; `name` is for messages."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != ["SIF"]:
        raise ValueError(f"{name}: line 1 must be SIF, which files of elements begin with.")
    try:
        count, version, features = map(int, lines[1])
    except (IndexError, ValueError):
        raise ValueError(f"{name}: line 2 must be three whole numbers: elements, 0, features of each.") from None
    if version != 0 or not (count > 0 and features >= 0) or count * (_NUMBERS + features) > _MOST:
        raise ValueError(f"{name}: line 2 must be a number of elements, 0, and a number of features; got {' '.join(lines[1])}.")
    if len(lines) != 2 + count:
        raise ValueError(f"{name}: line 2 promises {count} elements, and {len(lines) - 2} follow.")
    rows = np.empty((count, _NUMBERS + features), np.float32)
    for at, line in enumerate(lines[2:]):
        try:
            rows[at] = line
        except ValueError:
            raise ValueError(f"{name}: element {at + 1} must be {rows.shape[1]} numbers; got {len(line)} words.") from None
    if not np.isfinite(rows).all():
        raise ValueError(f"{name}: element {int(np.flatnonzero(~np.isfinite(rows).all(1))[0]) + 1} has a number that is not finite.")
    flags = rows[:, _NUMBERS - 1]
    symmetric = int((flags == 1).sum())
    if not np.isin(flags, (0, 1)).all() or (flags[:symmetric] != 1).any():
        raise ValueError(f"{name}: the 11th number of an element must be 1 or 0, symmetric or not, and symmetric elements come first.")
    return Elements(rows[:, 0], rows[:, 1:4], np.square(rows[:, 4:7]), rows[:, 7:10], rows[:, _NUMBERS:]), symmetric


def render(elements: Elements, symmetric: int = 0) -> str:
    """The text of N elements [N, ...]. Reading it gives them again, to a unit in the last place of the variances.

    Raises:
      ValueError: a number is not finite, a variance is negative, or more are symmetric than there are.
    """
    parts = [np.asarray(part, np.float32) for part in elements]
    count, features = parts[4].shape
    if not all(np.isfinite(part).all() for part in parts) or (parts[2] < 0).any():
        raise ValueError("elements: all numbers must be finite, and variances not negative.")
    if not 0 <= symmetric <= count:
        raise ValueError(f"elements: symmetric must be within 0..{count}; got {symmetric}.")
    flags = (np.arange(count) < symmetric).astype(np.float32)[:, None]
    rows = np.concatenate([parts[0][:, None], parts[1], np.sqrt(parts[2]), parts[3], flags, parts[4]], axis=1)
    return "\n".join(["SIF", f"{count} 0 {features}", *(" ".join(f"{number:.9g}" for number in row) for row in rows)]) + "\n"


def write(path: pathlib.Path, elements: Elements, symmetric: int = 0) -> None:
    """Writes what `render` gives, whole or not at all. Raises as `render`, and OSError."""
    files.replace(path, render(elements, symmetric))
