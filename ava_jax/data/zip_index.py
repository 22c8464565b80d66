"""What a zip holds of the numbers that are looked for in it, kept in a cache folder from run to run: 16 bytes per number.

One file per zip:

  header    magic, key, count of numbers, CRC of the bits, CRC of the header so far
  bits      one per number: whether the zip has it; all that the start of a run reads
  entries   offset, size and CRC of each member: `ENTRY`; read one at a time

The key is a digest of the zip's path, size, time of change and of the numbers, so that a file for another state of any of them does not
fit and is made anew, as is one whose header or bits are damaged. A damaged entry is found out by the member's own checksum. Files
appear whole (`files.writing`), so several processes may use the folder. It may be deleted at any time.
"""

import hashlib
import pathlib
import struct
import zlib

import numpy as np

from ava_jax.data import files
from ava_jax.data.files import OpenFiles
from ava_jax.data.remote.location import RemotePath
from ava_jax.data.zip_directory import ABSENT, Directory

ENTRY = np.dtype([("offset", "<u8"), ("size", "<u4"), ("crc", "<u4")])  # as the columns of `Directory`

_ENTRY = struct.Struct("<QII")  # the same, one of them
_HEADER = struct.Struct("<8s16sII")
_MAGIC = b"ava-idx3"  # of members of one name the last


def default_folder() -> pathlib.Path | None:
    """`index` in the cache folder (`files.cache_folder`); None where there is none."""
    folder = files.cache_folder()
    return None if folder is None else folder / "index"


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
    except FileNotFoundError as e:
        raise ValueError(f"{path}: no such file.") from e
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    changed = stat.word if isinstance(path, RemotePath) else stat.st_mtime_ns
    state = f"{path.absolute()}\n{stat.st_size}\n{changed}\n".encode()
    return hashlib.blake2b(state + numbers_digest, digest_size=16).digest()


def load_bits(file: pathlib.Path, key: bytes, count: int) -> np.ndarray | None:
    """Which of the `count` numbers the zip has, bool [count]; None where `file` is not there, of another state, or damaged."""
    try:
        with open(file, "rb", buffering=0) as opened:
            data = opened.read(_entries_start(count))
    except OSError:  # not there, or not to be read: it is made anew either way
        return None
    if len(data) < _entries_start(count):
        return None
    header, bits = data[: _HEADER.size], data[_HEADER.size + 4 :]
    magic, found, length, crc = _HEADER.unpack(header)
    whole = zlib.crc32(header) == int.from_bytes(data[_HEADER.size : _HEADER.size + 4], "little") and zlib.crc32(bits) == crc
    if not whole or (magic, found, length) != (_MAGIC, key, count):
        return None
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=count).astype(bool)


def load_entry(opened: OpenFiles, file: pathlib.Path | str, count: int, index: int) -> tuple[int, int, int] | None:
    """Offset, size and CRC of the member of the `index`-th of `count` numbers; None where `file` cannot be read.

    What it says is not checked.
    """
    try:
        data = opened.read(file, _entries_start(count) + index * ENTRY.itemsize, ENTRY.itemsize)
    except OSError:
        return None
    return _ENTRY.unpack(data) if len(data) == ENTRY.itemsize else None


def save(file: pathlib.Path, key: bytes, directory: Directory) -> None:
    """Writes the index of a zip, whole or not at all.

    Raises:
      OSError: the folder cannot be written to.
    """
    bits = np.packbits(directory.offset != ABSENT).tobytes()
    entries = np.empty(len(directory.offset), ENTRY)
    entries["offset"], entries["size"], entries["crc"] = directory.offset, directory.size, directory.crc
    header = _HEADER.pack(_MAGIC, key, len(entries), zlib.crc32(bits))
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(file, durable=False) as out:
        out.write(header + zlib.crc32(header).to_bytes(4, "little") + bits + entries.tobytes())


def _entries_start(count: int) -> int:
    """Where the entries of `count` numbers begin."""
    return _HEADER.size + 4 + (count + 7) // 8
