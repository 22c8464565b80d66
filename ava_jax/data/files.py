"""Files: read at random from many threads, few of them open at a time; written whole or not at all."""

import collections
import contextlib
import itertools
import os
import pathlib
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO


@contextlib.contextmanager
def writing(path: pathlib.Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file that comes to `path` whole or not at all: written under another name beside it, flushed to the disk, then renamed.

    What the block raises is raised, and nothing is written. Several threads and processes may write the same file: the last one stays.

    Args:
      path: in a folder that exists.
      durable: waits until the disk has the content, so that a power cut leaves the old file or the new one. False is for caches of
        thousands of files, whose readers tell damage.

    Raises:
      OSError: the disk is full, or fails; what was at `path` before is still there.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def replace(path: pathlib.Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, as `writing` does; text as UTF-8.

    Raises:
      OSError: the disk is full, or fails; what was at `path` before is still there.
    """
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def new_folder(folder: pathlib.Path, record_name: str, record: str, *, exist_ok: bool = False) -> Iterator[pathlib.Path | None]:
    """A folder that comes to `folder` whole or not at all: the block fills another one beside it, which gets the record and is renamed.

    What the block raises is raised, and nothing is left.

    Args:
      folder: must not exist, or be empty.
      record_name: of a text file in it, which says what it was made from.
      record: that file's content.
      exist_ok: whether a folder with the same record may be there already; it is left as it is, and the block is given None.

    Raises:
      ValueError: the folder holds something else.
      OSError: the disk is full, or the folder cannot be written.
    """
    if folder.exists() and any(folder.iterdir()):
        there = folder / record_name
        if not (exist_ok and there.is_file() and there.read_text() == record):
            raise ValueError(f"{folder}: not empty, and not to be overwritten; choose another --out, or remove it first.")
        yield None
        return
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        yield partial
        (partial / record_name).write_text(record)
        if folder.exists():
            folder.rmdir()  # empty
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already when all went well


def cache_folder() -> pathlib.Path | None:
    """`$XDG_CACHE_HOME/ava_jax`, or the same in ~/.cache; None where there is no home, as in a container of a user without an entry."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return pathlib.Path(named or pathlib.Path.home() / ".cache") / "ava_jax"
    except RuntimeError:
        return None


class OpenFiles:
    """Reads at any offset of many files; keeps at most `limit` open, and one more for each thread that is reading just then."""

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        # path -> [descriptor, readers, size]
        self._open: collections.OrderedDict[pathlib.Path | str, list[int]] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # bound here: at the interpreter's end the module's names are gone
        for descriptor, *_ in self._open.values():
            close(descriptor)

    def read(self, path: pathlib.Path | str, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; fewer where the file ends.

        Raises:
          OSError: the file cannot be opened or read.
        """
        descriptor, _, size = self._acquire(path)
        try:
            parts, count = [], min(count, max(size - offset, 0))
            while count and (part := os.pread(descriptor, count, offset)):  # one call may return less than is there
                parts.append(part)
                offset, count = offset + len(part), count - len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            with self._lock:
                self._open[path][1] -= 1

    def _acquire(self, path: pathlib.Path | str) -> list[int]:
        with self._lock:
            entry = self._open.get(path)
            if entry is None:
                idle = (p for p, (_, readers, _) in self._open.items() if not readers)
                for old in list(itertools.islice(idle, max(len(self._open) - self.limit + 1, 0))):
                    os.close(self._open.pop(old)[0])
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                entry = self._open[path] = [descriptor, 0, os.fstat(descriptor).st_size]
            self._open.move_to_end(path)
            entry[1] += 1
            return entry
