"""One whole file, collected in a part beside its path: a kill, a drop or a restart goes on where the part ends."""

import hashlib
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import NamedTuple

from ava_jax.data.download.client import Attempts, Changed, Client, Facts, Temporary

_BLOCK = 1 << 20


class Sums(NamedTuple):
    """Of a file's content: bytes, CRC32, and MD5, hexadecimal, or "" where it was not asked for."""

    size: int
    crc: int
    md5: str


class Summing:
    """Sums of content that comes in pieces."""

    def __init__(self, md5: bool) -> None:
        self._size, self._crc = 0, 0
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self._size += len(piece)
        self._crc = zlib.crc32(piece, self._crc)
        if self._md5:
            self._md5.update(piece)

    def sums(self) -> Sums:
        """Of all pieces so far."""
        return Sums(self._size, self._crc, self._md5.hexdigest() if self._md5 else "")


def sums(path: pathlib.Path, *, md5: bool = False) -> Sums:
    """Reads a file, and sums it.

    Raises:
      OSError: it cannot be read.
    """
    summing = Summing(md5)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_BLOCK):
            summing.add(piece)
    return summing.sums()


def fetch(client: Client, url: str, part: pathlib.Path, facts: Facts, report: Callable[[int], None], *, md5: bool = False) -> Sums:
    """Fetches a file to `part`, from where it ends.

    Args:
      client: asks.
      url: of the file.
      part: to be begun, or gone on with; it must be of the same state as `facts`.
      facts: what the server says of the file.
      report: is called with the number of bytes that came; negative where some are thrown away.
      md5: whether to sum so too.

    Returns:
      The sums of the whole file.

    Raises:
      Changed: the file is another than `facts` says.
      Missing, OSError: it could not be fetched; the part stays.
    """
    with open(part, "ab", buffering=0) as file:
        done = file.tell()
        if facts.size is None or done > facts.size or not facts.validator:  # nothing says that what is there is of the same file
            file.truncate(0)
            done = 0
        summing = _summed(part, md5)
        attempts = Attempts(client)
        while facts.size is None or done < facts.size:
            try:
                with client.stream(url, done, None, facts) as body:
                    if body.start != done:  # the server ignores ranges
                        report(-done)
                        file.truncate(0)
                        done, summing = 0, Summing(md5)
                    for piece in body:
                        if facts.size is not None and done + len(piece) > facts.size:
                            raise Changed(f"longer than the {facts.size} bytes that the server says")
                        _write(file.fileno(), piece)
                        summing.add(piece)
                        done += len(piece)
                        report(len(piece))
                        attempts.progress(len(piece))
                    expected = body.facts.size if facts.size is None else facts.size
                if expected is None or done == expected:
                    break
                raise Temporary(f"the response ended after {done} of {expected} bytes")
            except Temporary as e:
                attempts.wait(e)
        os.fsync(file.fileno())
    return summing.sums()


def _summed(part: pathlib.Path, md5: bool) -> Summing:
    summing = Summing(md5)
    with open(part, "rb", buffering=0) as file:
        while piece := file.read(_BLOCK):
            summing.add(piece)
    return summing


def _write(descriptor: int, piece: bytes) -> None:
    """All of it: one call may write less, where the disk is nearly full."""
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]
