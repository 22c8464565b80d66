"""Zip files whose members are named by number (`cam400029/001003.avif`), read at random from many threads."""

import pathlib
import zipfile
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_LOCAL_HEADER = 30  # bytes, before the member's name
_EXTRA_FIELDS = 256  # read ahead: a member's local extra fields are rarely longer


class Directory(NamedTuple):
    """A zip's members, sorted by number. 24 bytes a member: a full data set has 10^8 of them."""

    number: np.ndarray  # int32 [M]
    offset: np.ndarray  # int64 [M], of the local header
    size: np.ndarray  # int32 [M], as stored
    crc: np.ndarray  # uint32 [M]
    header: np.ndarray  # uint16 [M], bytes of the local header's fixed part and name
    deflated: np.ndarray  # bool [M]


class Archives:
    """Reads members of many zips. Each zip's directory is read once, when it is first asked for.

    A file is open only during a read, so that at most one is open a thread, however many zips there are.
    """

    def __init__(self) -> None:
        # Threads may read the same directory at the same time; both then store the same thing.
        self._directories: dict[pathlib.Path, Directory] = {}

    def directory(self, path: pathlib.Path) -> Directory:
        """Members of the zip at `path`.

        Raises:
          ValueError: there is no such file, it is not a whole zip, or a member's name is not a number.
        """
        if path not in self._directories:
            self._directories[path] = _read_directory(path)
        return self._directories[path]

    def has(self, path: pathlib.Path, number: int) -> bool:
        return _find(self.directory(path), number) is not None

    def read(self, path: pathlib.Path, number: int) -> bytes | None:
        """Content of a member, or None where the zip has none of that number.

        Raises:
          ValueError: as `directory`, or the content is damaged.
        """
        directory = self.directory(path)
        at = _find(directory, number)
        if at is None:
            return None
        size, header = int(directory.size[at]), int(directory.header[at])
        with open(path, "rb", buffering=0) as file:
            file.seek(int(directory.offset[at]))
            block = _read_exactly(file, header + size + _EXTRA_FIELDS)
            extra = int.from_bytes(block[28:30], "little")
            if extra > _EXTRA_FIELDS:
                block += _read_exactly(file, extra)
        content = block[header + extra : header + extra + size]
        if directory.deflated[at]:
            content = _inflate(content)
        if content is None or zlib.crc32(content) != directory.crc[at]:
            raise ValueError(f"{path}: member {number} is damaged (checksum); fetch the file again.")
        return content


def check_whole(paths: Iterable[pathlib.Path]) -> None:
    """Raises ValueError for the first that is no file or lacks a zip's end record, as truncated downloads do. Quick: reads tails only."""
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: no such file.")
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path}: not a whole zip (truncated?); fetch it again.")


def write(path: pathlib.Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a stored zip. The same members give the same bytes: their time stamps are fixed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)


def _find(directory: Directory, number: int) -> int | None:
    at = int(np.searchsorted(directory.number, number))
    return at if at < len(directory.number) and directory.number[at] == number else None


def _read_directory(path: pathlib.Path) -> Directory:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
    except FileNotFoundError as e:
        raise ValueError(f"{path}: no such file.") from e
    except zipfile.BadZipFile as e:
        raise ValueError(f"{path}: not a whole zip (truncated?); fetch it again.") from e
    try:
        numbers = [int(pathlib.PurePosixPath(m.filename).stem) for m in members]
    except ValueError as e:
        raise ValueError(f"{path}: members must be named by number, as in 001003.png ({e}).") from e
    order = np.argsort(np.array(numbers, np.int32), kind="stable")

    def column(values: Iterable[int], dtype: type) -> np.ndarray:
        return np.fromiter(values, dtype, len(members))[order]

    return Directory(
        number=column(numbers, np.int32),
        offset=column((m.header_offset for m in members), np.int64),
        size=column((m.compress_size for m in members), np.int32),
        crc=column((m.CRC for m in members), np.uint32),
        header=column((_LOCAL_HEADER + len(m.orig_filename.encode()) for m in members), np.uint16),
        deflated=column((m.compress_type == zipfile.ZIP_DEFLATED for m in members), np.bool_),
    )


def _read_exactly(file, count: int) -> bytes:
    """`count` bytes, fewer at the end of the file: one unbuffered read may return less than is there."""
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _inflate(content: bytes) -> bytes | None:
    try:
        return zlib.decompress(content, -zlib.MAX_WBITS)
    except zlib.error:
        return None
