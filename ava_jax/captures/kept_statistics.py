"""Statistics of a set of captures, kept in a cache folder from run to run: a full data set's are made of 256 textures of 3 MB.

One file per set of captures and size of texture:

  header    magic, key, T, V, CRC of the arrays
  arrays    f32: texture_mean [T, T, 3], texture_std [], vertices_mean [V, 3], vertices_std []

The key is a digest of path, size and time of change of every file that they are made of, as `data.zip_index` has it for zips. A file of
another state of any of them does not fit and is made anew, as is a damaged one. It may be deleted at any time.
"""

import hashlib
import pathlib
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from ava_jax.data import files, zip_index
from ava_jax.data.remote.location import RemotePath

_HEADER = struct.Struct("<8s32sIII")
_MAGIC = b"ava-sta1"


def default_folder() -> pathlib.Path | None:
    """`statistics` in the cache folder (`files.cache_folder`); None where there is none."""
    folder = files.cache_folder()
    return None if folder is None else folder / "statistics"


def key_of(paths: Sequence[pathlib.Path], texture_size: int) -> bytes | None:
    """What the file must be of: 16 bytes that name the set, and 16 of the state of its files.

    None where nothing can be kept: a file is missing, or on a server, whose small files have a cache of their own.
    """
    if any(isinstance(path, RemotePath) for path in paths):
        return None
    name = hashlib.blake2b("\n".join([str(texture_size), *(str(path.absolute()) for path in paths)]).encode(), digest_size=16).digest()
    try:
        states = b"".join(zip_index.key_of(path, name) for path in paths)
    except ValueError:  # the reader of the file says so in its own words
        return None
    return name + hashlib.blake2b(states, digest_size=16).digest()


def load(folder: pathlib.Path, key: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """The arrays kept under a key: f32 [T, T, 3], [], [V, 3], []; None where there are none, of another state or damaged."""
    try:
        data = _file(folder, key).read_bytes()
    except OSError:
        return None
    if len(data) < _HEADER.size:
        return None
    magic, found, texels, vertices, crc = _HEADER.unpack_from(data)
    body = memoryview(data)[_HEADER.size :]
    shapes = ((texels, texels, 3), (), (vertices, 3), ())
    counts = [int(np.prod(shape)) for shape in shapes]
    if (magic, found) != (_MAGIC, key) or len(body) != 4 * sum(counts) or zlib.crc32(body) != crc:
        return None
    parts = np.split(np.frombuffer(body, "<f4").copy(), np.cumsum(counts)[:-1])
    return tuple(part.reshape(shape)[()] for part, shape in zip(parts, shapes, strict=True))


def save(folder: pathlib.Path, key: bytes, arrays: Sequence[np.ndarray]) -> None:
    """Keeps them, f32 [T, T, 3], [], [V, 3], []; a folder that cannot be written to costs time alone, and is told of."""
    body = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
    header = _HEADER.pack(_MAGIC, key, len(arrays[0]), len(arrays[2]), zlib.crc32(body))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with files.writing(_file(folder, key), durable=False) as out:
            out.write(header + body)
    except OSError as e:
        logging.warning("%s: statistics cannot be kept there, the next start makes them again (%s)", folder, e)


def _file(folder: pathlib.Path, key: bytes) -> pathlib.Path:
    """Named by the set, so that another state of it takes its file."""
    return folder / key[:16].hex()
