"""COLMAP's `cameras.bin` and `images.bin`, little endian; points are sought over."""

import os
import pathlib
import struct
from typing import BinaryIO

import numpy as np

from ava_jax.captures.rigs import colmap_models, values

_MOST_NAME = 4096
_POINT = 24  # bytes


def read_cameras(path: pathlib.Path) -> dict[int, colmap_models.Intrinsics]:
    """Cameras of `cameras.bin` by their id.

    Raises:
      ValueError: the file ends early or late, or an entry is wrong; the message has its index.
    """
    found: dict[int, colmap_models.Intrinsics] = {}
    with _Opened(path) as (file, left):
        count = _count(path, file, left, 24)
        for index in range(count):
            try:
                number, model, width, height = _unpack(file, "<iiQQ")
                parameters = _unpack(file, f"<{colmap_models.MODELS[model][1]}d") if model in colmap_models.MODELS else ()
                if number in found:
                    raise ValueError(f"camera {number} is there twice")
                found[number] = colmap_models.intrinsics(model, width, height, parameters)
            except ValueError as e:
                raise ValueError(f"{path}, camera {index} of {count}: {e}.") from e
        _require_end(path, file, count)
    if not found:
        raise ValueError(f"{path}: lists no camera.")
    return found


def read_images(path: pathlib.Path) -> list[tuple[str, str, np.ndarray, int]]:
    """Images of `images.bin`: where in the file, name, world to camera f64 [4, 4], camera's id.

    Raises:
      ValueError: the file ends early or late, or an entry is wrong; the message has its index.
    """
    found, seen = [], set()
    with _Opened(path) as (file, left):
        count = _count(path, file, left, 4 + 32 + 24 + 4 + 1 + 8)
        for index in range(count):
            try:
                number, *pose, camera_id = _unpack(file, "<i7di")
                if number in seen:
                    raise ValueError(f"image {number} is there twice")
                seen.add(number)
                turn = values.quaternion(values.array(pose[:4], (4,), "the quaternion"))
                rigid = values.pose(turn, values.array(pose[4:], (3,), "the translation"))
                name = _name(file)
                (points,) = _unpack(file, "<Q")
                if points * _POINT > left - file.tell():
                    raise ValueError(f"the file ends before its {points} points")
                file.seek(points * _POINT, os.SEEK_CUR)
            except ValueError as e:
                raise ValueError(f"{path}, image {index} of {count}: {e}.") from e
            found.append((f", image {index}", name, rigid, camera_id))
        _require_end(path, file, count)
    if not found:
        raise ValueError(f"{path}: lists no image.")
    return found


class _Opened:
    """A file, and its size in bytes; refusals name it."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def __enter__(self) -> tuple[BinaryIO, int]:
        try:
            self._file = open(self._path, "rb")
            return self._file, os.fstat(self._file.fileno()).st_size
        except OSError as e:
            raise ValueError(f"{self._path}: cannot be read ({e}).") from e

    def __exit__(self, *_) -> None:
        self._file.close()


def _count(path: pathlib.Path, file: BinaryIO, size: int, least: int) -> int:
    """How many entries the file promises, of `least` bytes each at least."""
    try:
        (count,) = _unpack(file, "<Q")
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e
    if count * least > size - 8:
        raise ValueError(f"{path}: promises {count} entries, more than its {size} bytes hold; it is cut off or no such file.")
    return count


def _unpack(file: BinaryIO, form: str) -> tuple:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise ValueError("the file ends too early")
    return struct.unpack(form, data)


def _name(file: BinaryIO) -> str:
    """A name, ended by NUL."""
    start = file.tell()
    data = file.read(_MOST_NAME)
    end = data.find(b"\0")
    if end < 1:
        raise ValueError(f"its name is empty, cut off or longer than {_MOST_NAME} bytes")
    file.seek(start + end + 1)
    try:
        return data[:end].decode()
    except UnicodeDecodeError as e:
        raise ValueError("its name is no text in UTF-8") from e


def _require_end(path: pathlib.Path, file: BinaryIO, count: int) -> None:
    if file.read(1):
        raise ValueError(f"{path}: has bytes after its {count} entries; it is of another version or damaged.")
