"""Zip files whose members are named by number (`cam400029/001003.avif`), read at random from many threads.

Where captures are folders of files instead, `FrameFiles` stands for a zip in all that is asked here.
"""

import bisect
import concurrent.futures
import hashlib
import pathlib
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm
from absl import logging

from ava_jax.data import files, zip_directory, zip_index
from ava_jax.data.cache import Cache
from ava_jax.data.files import OpenFiles
from ava_jax.data.frame_files import FrameFiles
from ava_jax.data.remote.location import RemotePath
from ava_jax.data.zip_directory import ABSENT, Directory

_LOCAL_HEADER = 30  # bytes, before the member's name
_AHEAD = 256  # bytes read beyond a member's size: its name and local extra fields are rarely longer
_FETCHES = 3  # of a member from afar whose checksum is wrong, after the first
_MOST_BYTES = 1 << 27  # of a member; a picture of a whole sensor, 16 bits and not compressed, has 66 MB
_REMOTE_THREADS = 32  # that read directories from afar: they wait for answers
_SLOW_START = 2.0  # seconds of reading directories after which a bar shows the progress


class _Index(NamedTuple):
    """What was looked for in a zip: int32 [N] numbers, sorted; the key of its kept index; one bit per number, packed: it is there.

    `kept` is where the index is, None where none is kept.
    """

    numbers: np.ndarray
    key: bytes
    bits: np.ndarray
    kept: str | None = None

    def unpacked(self) -> np.ndarray:
        """Bool [N]."""
        return np.unpackbits(self.bits, count=len(self.numbers)).astype(bool)

    def find(self, number: int) -> int | None:
        """Its index; None where the zip lacks it."""
        at = bisect.bisect_left(self.numbers, number)  # np.searchsorted would copy them all as int64 first
        known = at < len(self.numbers) and self.numbers[at] == number
        return at if known and self.bits[at // 8] & (128 >> at % 8) else None


class Archives:
    """Reads members of many zips, with a bounded number of open files and a bound on the memory for their directories.

    Safe from several threads. One serves all that reads the same zips: what was looked up once is not read again.
    """

    def __init__(self, folder: pathlib.Path | None = None, *, open_files: int = 64, directory_bytes: int = 1 << 28) -> None:
        """Opens nothing yet.

        Args:
          folder: where the zips' indexes are kept from run to run; None keeps them in memory alone.
          open_files: descriptors to hold.
          directory_bytes: of directories to hold where no index is kept, those used last; others are read again.
        """
        self._folder, self._bounds = folder, (open_files, directory_bytes)
        self._files = OpenFiles(open_files)
        self._directories = Cache(directory_bytes, lambda entries: entries.nbytes)
        self._indexed: dict[pathlib.Path, _Index] = {}
        self._pools: dict[int, concurrent.futures.ThreadPoolExecutor] = {}  # by their number of threads
        self._warned = threading.Lock()  # taken by the first thread that cannot write to the folder, and kept

    def __getstate__(self) -> dict[str, Any]:
        """What was looked up; files are opened anew."""
        return {"folder": self._folder, "bounds": self._bounds, "indexed": dict(self._indexed)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        open_files, directory_bytes = state["bounds"]
        self.__init__(state["folder"], open_files=open_files, directory_bytes=directory_bytes)
        self._indexed = state["indexed"]

    def index(self, paths: Sequence[pathlib.Path], numbers: np.ndarray, *, threads: int = 8) -> np.ndarray:
        """Says which members there are, from the kept index or, where that doesn't fit the file as it is, from the zip's directory.

        From here on the zips have these members alone. Looked up again, a zip that has not changed costs no reading.

        Args:
          numbers: int32 [N], sorted, without doubles.
          threads: that read directories.

        Returns:
          bool [len(paths), N].

        Raises:
          ValueError: there is no such file, it is not a whole zip, or a member's name is not a number.
        """
        digest = hashlib.blake2b(np.ascontiguousarray(numbers, "<i4").tobytes(), digest_size=16).digest()

        def bits(path: pathlib.Path) -> np.ndarray:
            if isinstance(path, FrameFiles):
                return path.there(numbers.tolist())
            key = zip_index.key_of(path, digest)
            held = self._indexed.get(path)
            if held is not None and held.key == key:
                return held.unpacked()
            file = zip_index.location(self._folder, path) if self._folder else None
            known = zip_index.load_bits(file, key, len(numbers)) if file else None
            if known is None:
                known = self._build(path, numbers, key).offset != ABSENT
            self._indexed[path] = _Index(numbers, key, np.packbits(known), str(file) if file else None)
            return known

        if any(isinstance(path, RemotePath) for path in paths):
            threads = max(threads, _REMOTE_THREADS)
        found = np.zeros((len(paths), len(numbers)), bool)
        with tqdm.tqdm(total=len(paths), desc="directories", unit="zip", delay=_SLOW_START, leave=False) as bar:
            # Each thread takes a part of the paths: handing over one at a time takes longer than reading its kept index.
            def part(start: int) -> None:
                for i in range(start, len(paths), threads):
                    found[i] = bits(paths[i])
                    bar.update()

            list(self._threads(threads).map(part, range(min(threads, len(paths)))))
        return found

    def _threads(self, count: int) -> concurrent.futures.ThreadPoolExecutor:
        """So many threads, which stay from call to call: a full data set has a thousand calls before its first batch."""
        if count not in self._pools:
            self._pools[count] = concurrent.futures.ThreadPoolExecutor(count)
        return self._pools[count]

    def has(self, path: pathlib.Path, number: int) -> bool:
        """Whether the zip has a member of that number. Raises as `read`."""
        if isinstance(path, FrameFiles):
            return path.has(number)
        indexed = self._indexed.get(path)
        return (_find(self._directory(path), number) if indexed is None else indexed.find(number)) is not None

    def read(self, path: pathlib.Path, number: int) -> bytes | None:
        """Content of a member, or None where the zip has none of that number.

        Raises:
          ValueError: there is no such file, it is not a whole zip, or the content is damaged.
        """
        if isinstance(path, FrameFiles):
            return path.read(number)
        entry = self._entry(path, number)
        content = self._content(path, number, entry) if entry else None
        for _ in range(_FETCHES if entry and isinstance(path, RemotePath) else 0):
            if content is not None:
                break
            path.forget(entry[0], _LOCAL_HEADER + entry[1] + _AHEAD)  # damaged on its way perhaps; what is kept of it would stay damaged
            content = self._content(path, number, entry)
        if content is None and path in self._indexed and (fresh := _find(self._directory(path), number)) != entry:
            # It was the index that is damaged, and it has been made anew.
            entry, content = fresh, self._content(path, number, fresh) if fresh else None
        if entry and content is None:
            if entry[1] > _MOST_BYTES:
                raise ValueError(f"{path}: member {number} has {entry[1]} bytes, more than any picture or mesh; at most {_MOST_BYTES}.")
            raise ValueError(f"{path}: member {number} is damaged (checksum); fetch the file again.")
        return content

    def _entry(self, path: pathlib.Path, number: int) -> tuple[int, int, int] | None:
        """Offset, size and CRC of a member."""
        indexed = self._indexed.get(path)
        if indexed is None or indexed.kept is None:
            return _find(self._directory(path), number)
        at = indexed.find(number)
        if at is None:
            return None
        kept = zip_index.load_entry(self._files, indexed.kept, len(indexed.numbers), at)
        if kept is None:
            return _find(self._directory(path), number)
        return kept if kept[0] != ABSENT else None

    def _content(self, path: pathlib.Path, number: int, entry: tuple[int, int, int]) -> bytes | None:
        """A member's content, inflated; None where there is none of that checksum, or it is too large.

        Raises:
          ValueError: the file cannot be read, or the content is too large once it is inflated.
        """
        offset, size, crc = entry
        if size > _MOST_BYTES:
            return None
        try:
            block = self._bytes(path, offset, _LOCAL_HEADER + size + _AHEAD)
            start = _LOCAL_HEADER + int.from_bytes(block[26:28], "little") + int.from_bytes(block[28:30], "little")
            if start + size > len(block):
                block += self._bytes(path, offset + len(block), start + size - len(block))
        except OSError as e:
            raise ValueError(f"{path}: member {number} cannot be read ({e}).") from e
        method = int.from_bytes(block[8:10], "little")
        content = block[start : start + size]
        if method == zip_directory.DEFLATED:
            content = _inflate(content)
            if content is not None and len(content) > _MOST_BYTES:
                raise ValueError(f"{path}: member {number} inflates to more than {_MOST_BYTES} bytes, which no picture or mesh has.")
        elif method != zip_directory.STORED:
            return None
        whole = content is not None and block[:4] == b"PK\x03\x04" and zlib.crc32(content) == crc
        return content if whole else None

    def _bytes(self, path: pathlib.Path | RemotePath, offset: int, count: int) -> bytes:
        return path.read_at(offset, count) if isinstance(path, RemotePath) else self._files.read(path, offset, count)

    def _directory(self, path: pathlib.Path) -> Directory:
        return self._directories.get(path, lambda: self._load(path))

    def _load(self, path: pathlib.Path) -> Directory:
        indexed = self._indexed.get(path)
        return zip_directory.read(path) if indexed is None else self._build(path, indexed.numbers, indexed.key)

    def _build(self, path: pathlib.Path, numbers: np.ndarray, key: bytes) -> Directory:
        entries = zip_directory.align(zip_directory.read(path), numbers)
        if self._folder:
            try:
                zip_index.save(zip_index.location(self._folder, path), key, entries)
            except OSError as e:
                if self._warned.acquire(blocking=False):
                    logging.warning("%s: indexes of zips cannot be kept there, the next start reads them all again (%s)", self._folder, e)
        return entries


def write(path: pathlib.Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a stored zip, whole or not at all. The same members give the same bytes: their time stamps are fixed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)


def _find(entries: Directory, number: int) -> tuple[int, int, int] | None:
    """Offset, size and CRC of a member."""
    at = bisect.bisect_left(entries.number, number)
    if at == len(entries.number) or entries.number[at] != number or entries.offset[at] == ABSENT:
        return None
    return int(entries.offset[at]), int(entries.size[at]), int(entries.crc[at])


def _inflate(content: bytes) -> bytes | None:
    """Up to `_MOST_BYTES` + 1 bytes; None where it is damaged."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(content, _MOST_BYTES + 1)
    except zlib.error:
        return None
    return inflated if stream.eof or len(inflated) > _MOST_BYTES else None
