"""Captures' zips and packed captures through one door: asked by the path of a zip, answered from the zip or from records."""

import collections
import pathlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from ava_jax.captures.packed import index, records
from ava_jax.captures.packed.index import CaptureIndex
from ava_jax.data.archive import Archives

_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # one record at a time, read in the caller's thread
_OPEN_SHARDS = 128  # one of 5,000 records takes 0.35 ms to open, and 0.4 MB once it was read from


class RecordArchives(Archives):
    """`Archives` of zips that answers for packed captures as well. Safe from several threads.

    Nothing of packed captures is pickled: another process reads their indexes, some 100 KB each, from their files.
    """

    def __init__(self, *args: Any, open_shards: int = _OPEN_SHARDS, **kwargs: Any) -> None:
        """Opens nothing yet.

        Args:
          args, kwargs: of `Archives`.
          open_shards: shards to hold open.
        """
        super().__init__(*args, **kwargs)
        self._packed: dict[pathlib.Path, tuple[CaptureIndex, str] | None] = {}  # by the path of a zip
        self._captures: dict[pathlib.Path, CaptureIndex | None] = {}  # by a zip's folder
        self._shards = _OpenShards(open_shards)

    def index(self, paths: Sequence[pathlib.Path], numbers: np.ndarray, *, threads: int = 8) -> np.ndarray:
        """As `Archives.index`: bool [len(paths), N] of int32 [N] numbers.

        Raises:
          ValueError: as there; or a packed capture lacks a stream, or its index is damaged.
        """
        found = np.zeros((len(paths), len(numbers)), bool)
        zips = []
        for i, path in enumerate(paths):
            packed = self._stream(path)
            if packed is None:
                zips.append(i)
            else:
                found[i] = packed[0].there(packed[1], numbers)
        if zips:
            found[zips] = super().index([paths[i] for i in zips], numbers, threads=threads)
        return found

    def has(self, path: pathlib.Path, number: int) -> bool:
        """Whether the zip, or the packed stream in its stead, has a member of that number. Raises as `read`."""
        packed = self._stream(path)
        return super().has(path, number) if packed is None else packed[0].find(packed[1], number) is not None

    def read(self, path: pathlib.Path, number: int) -> bytes | None:
        """Content of a member, or None where there is none of that number.

        Raises:
          ValueError: as `Archives.read`; or a record is damaged.
        """
        packed = self._stream(path)
        if packed is None:
            return super().read(path, number)
        found, stream = packed
        at = found.find(stream, number)
        if at is None:
            return None
        shard, position = at
        try:
            record = records.decode(self._shards.read(shard, position))
        except ValueError as e:
            raise ValueError(f"{shard}, record {position} ({stream}, frame {number}): {e}") from e
        if (record.stream, record.frame) != (stream, number):
            raise ValueError(
                f"{shard}: record {position} is of {record.stream}, frame {record.frame}, where the index has {stream}, frame {number}; "
                "pack the capture again."
            )
        return record.data

    def _stream(self, path: pathlib.Path) -> tuple[CaptureIndex, str] | None:
        """A packed capture and the stream of it that a path names; None of a zip."""
        if path not in self._packed:
            found = self._capture(path) if isinstance(path, pathlib.Path) else None
            stream = index.stream_of(path) if found is not None else ""
            if found is not None and stream not in found:
                raise ValueError(f"{found.folder}: {stream} was not packed.")
            self._packed[path] = None if found is None else (found, stream)
        return self._packed[path]

    def _capture(self, path: pathlib.Path) -> CaptureIndex | None:
        """Of the capture that a zip is of, looked for once per folder of zips: there are 160 zips and more. Raises as `index.find`."""
        folder = path.parent
        if folder not in self._captures:
            self._captures[folder] = index.find(index.capture_of(path)) if len(path.parts) > 3 else None
        return self._captures[folder]


class _OpenShards:
    """Readers of shards, at most `limit` of them open and one more for each thread that is reading just then."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: collections.OrderedDict[pathlib.Path, list[Any]] = collections.OrderedDict()  # path -> [reader, threads that read]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def read(self, path: pathlib.Path, position: int) -> bytes:
        """A record of the shard at `path`.

        Raises:
          ValueError: the shard cannot be read, or is damaged there.
        """
        entry = self._acquire(path)
        try:
            (record,) = entry[0].read(position, position + 1)
            return record
        except (RuntimeError, ValueError, IndexError) as e:  # what array_record raises, of damage and of numbers beyond the end
            raise ValueError(f"cannot be read ({' '.join(str(e).split())[:160]}); pack the capture again.") from e
        finally:
            with self._lock:
                entry[1] -= 1

    def _acquire(self, path: pathlib.Path) -> list[Any]:
        with self._lock:
            entry = self._open.get(path)
            if entry is None:
                idle = [p for p, (_, readers) in self._open.items() if not readers] if len(self._open) >= self._limit else []
                for old in idle[: len(self._open) - self._limit + 1]:
                    self._open.pop(old)[0].close()
                entry = self._open[path] = [_open(path), 0]
            self._open.move_to_end(path)
            entry[1] += 1
            return entry


def _open(path: pathlib.Path) -> ArrayRecordReader:
    """A reader of a shard.

    Raises:
      ValueError: it is not there, or not whole.
    """
    if not path.is_file():  # array_record would say nothing of it
        raise ValueError("no such file; pack the capture again.")
    reader = ArrayRecordReader(str(path), _OPTIONS)
    if not reader.ok():
        raise ValueError("not a whole ArrayRecord file; pack the capture again.")
    return reader
