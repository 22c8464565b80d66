"""What a zip holds of the numbers that are wanted of it, kept in a cache folder from run to run: 12 bytes a number (16 past 4 GiB).

One file a zip:

  header    magic, key, count of numbers, bytes an offset, CRCs of the bits and of the columns, CRC of the header so far
  bits      one a number: whether the zip has it; all that the start of a run reads
  columns   offset, size, crc of each number; read when the zip is first read from

The key is a digest of the zip's path, size, time of change and of the numbers, so that a file for another state of any of them does not
fit and is made anew, as is one whose checksums do not hold. Files are written beside their place and moved there whole, so processes may
share the folder. It may be deleted at any time.
"""

import hashlib
import os
import pathlib
import struct
import tempfile
import zlib

import numpy as np

from ava_jax.data.zip_directory import ABSENT, Directory

_HEADER = struct.Struct("<8s16sIB3xII")
_MAGIC = b"ava-idx1"


def default_folder() -> pathlib.Path:
    """`$XDG_CACHE_HOME/ava_jax/index`, or the same in ~/.cache."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ava_jax" / "index"


def location(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Where the index of the zip at `path` is kept."""
    name = hashlib.blake2b(str(path.absolute()).encode(), digest_size=16).hexdigest()
    return folder / name[:2] / name[2:]


def key_of(path: pathlib.Path, numbers_digest: bytes) -> bytes:
    """What the index must be of.

    Raises:
      ValueError: there is no such file.
    """
    try:
        stat = path.stat()
    except OSError as e:
        raise ValueError(f"{path}: no such file.") from e
    state = f"{path.absolute()}\n{stat.st_size}\n{stat.st_mtime_ns}\n".encode()
    return hashlib.blake2b(state + numbers_digest, digest_size=16).digest()


def load_bits(file: pathlib.Path, key: bytes, count: int) -> np.ndarray | None:
    """Which of the `count` numbers the zip has, bool [count]; None where `file` is not there, of another state, or damaged."""
    size = (count + 7) // 8
    data = _read(file, _HEADER.size + 4 + size)
    header = _check(data, key, count)
    if header is None or zlib.crc32(data[_HEADER.size + 4 :]) != header[4]:
        return None
    return np.unpackbits(np.frombuffer(data, np.uint8, size, _HEADER.size + 4), count=count).astype(bool)


def load(file: pathlib.Path, key: bytes, numbers: np.ndarray) -> Directory | None:
    """The zip's entries of `numbers` [N]; None where `file` is not there, of another state, or damaged."""
    data = _read(file)
    header = _check(data, key, len(numbers))
    if header is None:
        return None
    width, start, count = header[3], _HEADER.size + 4 + (len(numbers) + 7) // 8, len(numbers)
    if width not in (4, 8) or len(data) != start + (width + 8) * count or zlib.crc32(data[start:]) != header[5]:
        return None
    offset = np.frombuffer(data, f"<u{width}", count, start)
    size, crc = np.frombuffer(data, "<u4", 2 * count, start + width * count).reshape(2, count)
    has = np.unpackbits(np.frombuffer(data, np.uint8, (count + 7) // 8, _HEADER.size + 4), count=count).astype(bool)
    return Directory(numbers, np.where(has, offset.astype(np.uint64), ABSENT), size, crc)


def save(file: pathlib.Path, key: bytes, entries: Directory) -> None:
    """Writes the index of a zip, whole or not at all.

    Raises:
      OSError: the folder cannot be written to.
    """
    has = entries.offset != ABSENT
    offset = np.where(has, entries.offset, 0)
    width = 4 if offset.max(initial=0) < 2**32 else 8
    bits = np.packbits(has).tobytes()
    columns = offset.astype(f"<u{width}").tobytes() + entries.size.astype("<u4").tobytes() + entries.crc.astype("<u4").tobytes()
    header = _HEADER.pack(_MAGIC, key, len(has), width, zlib.crc32(bits), zlib.crc32(columns))
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(header + zlib.crc32(header).to_bytes(4, "little") + bits + columns)
        os.replace(beside, file)
    except BaseException:
        os.unlink(beside)
        raise


def _read(file: pathlib.Path, count: int = -1) -> bytes:
    try:
        with open(file, "rb", buffering=0) as opened:
            return opened.read(count)
    except OSError:  # not there, or not to be read: it is made anew either way
        return b""


def _check(data: bytes, key: bytes, count: int) -> tuple | None:
    """The header's fields, if it is whole and of this key."""
    if len(data) < _HEADER.size + 4 + (count + 7) // 8:
        return None
    header = _HEADER.unpack_from(data)
    whole = zlib.crc32(data[: _HEADER.size]) == int.from_bytes(data[_HEADER.size : _HEADER.size + 4], "little")
    return header if whole and header[:3] == (_MAGIC, key, count) else None
