"""Blocks of remote files on the local disk, those used last, within a bound. Safe from several processes that may be killed at any time.

A file of the cache holds what is there of a stretch of `GROUP` bytes: a table of (length, CRC) per block of `BLOCK` bytes, then the blocks,
each where it belongs, with holes for those that were not fetched. A block counts when its entry in the table fits its bytes, so a file may
be written to and read at any time, by any process, and one that was cut is no worse than one that is not there.

`held` has the bytes that are held. It is raised, under a lock of all processes, before a block is written; where it would be over the bound
the files used longest ago go, and it is counted anew. A process that dies in between leaves it too high, never too low.
"""

import contextlib
import fcntl
import os
import pathlib
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence

from absl import logging

BLOCK, GROUP = 1 << 16, 1 << 20  # bytes
PER_GROUP = GROUP // BLOCK

_ENTRY = struct.Struct("<II")  # length, CRC
_TABLE = 4096  # bytes before the blocks: a page of the file system, so that holes are whole pages
_PAGE = 4096
_KEPT = 0.9  # of the bound that is left when some must go
_TOUCHED = 10.0  # seconds within which a file is not marked as used again


class BlockCache:
    """Blocks by the name of a file's state, the group, and the index in the group."""

    def __init__(self, folder: pathlib.Path, limit: int) -> None:
        """Makes nothing yet.

        Args:
          folder: of the cache, used for nothing else.
          limit: bytes on the disk.
        """
        self._folder, self.limit = folder, limit
        self._warned = False
        self._threads = threading.Lock()  # a lock of a file does not hold threads of one process apart

    def __getstate__(self):
        return {"folder": self._folder, "limit": self.limit}

    def __setstate__(self, state) -> None:
        self.__init__(**state)

    def get(self, name: str, group: int, indices: Sequence[int]) -> dict[int, bytes]:
        """Those of the `indices` blocks of a group that are there."""
        found: dict[int, bytes] = {}
        try:
            with open(self._file(name, group), "rb", buffering=0) as file:
                if time.time() - os.fstat(file.fileno()).st_mtime > _TOUCHED:
                    with contextlib.suppress(OSError):  # a folder that can only be read serves all the same
                        os.utime(file.fileno())
                table = file.read(PER_GROUP * _ENTRY.size)
                for i in indices:
                    length, crc = _ENTRY.unpack_from(table, i * _ENTRY.size)
                    data = os.pread(file.fileno(), length, _TABLE + i * BLOCK) if 0 < length <= BLOCK else b""
                    if data and len(data) == length and zlib.crc32(data) == crc:
                        found[i] = data
        except (OSError, struct.error):  # not there, or cut
            pass
        return found

    def put(self, name: str, group: int, blocks: Mapping[int, bytes]) -> None:
        """Keeps blocks of a group; where the disk takes none, says so once."""
        file = self._file(name, group)
        most = _PAGE + sum(-(-len(data) // _PAGE) * _PAGE for data in blocks.values())
        if most > self.limit * _KEPT:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._make_room(most)
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                try:
                    for i, data in blocks.items():
                        os.pwrite(descriptor, data, _TABLE + i * BLOCK)
                        os.pwrite(descriptor, _ENTRY.pack(len(data), zlib.crc32(data)), i * _ENTRY.size)
                finally:
                    os.close(descriptor)
        except OSError as e:
            if not self._warned:
                self._warned = True
                logging.warning("%s: what is read from afar cannot be kept there, and is fetched each time (%s)", self._folder, e)

    def drop(self, name: str, group: int) -> None:
        """Forgets a group."""
        self._file(name, group).unlink(missing_ok=True)

    def held(self) -> int:
        """Bytes that the files take on the disk, counted."""
        return sum(size for _, size, _ in self._files())

    def _file(self, name: str, group: int) -> pathlib.Path:
        return self._folder / name[:2] / f"{name[2:]}.{group}"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of all processes; one that dies lets it go."""
        with self._threads, open(self._folder / "lock", "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make_room(self, count: int) -> None:
        """Reserves bytes, under the lock."""
        state = self._folder / "held"
        try:
            held = int(state.read_text())
        except (OSError, ValueError):  # nobody has counted yet, or was cut short
            held = self.limit
        if held + count > self.limit:
            files = sorted(self._files())
            held = sum(size for _, size, _ in files)
            for _, size, path in files:
                if held + count <= self.limit * _KEPT:
                    break
                os.unlink(path)
                held -= size
        state.write_text(str(held + count))

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """(time of use, bytes on the disk, path) of each file."""
        for folder in self._folder.glob("??"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat()
                        yield stat.st_mtime, stat.st_blocks * 512, entry.path
