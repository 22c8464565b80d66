"""Local files held against their own checksums: zips by the CRC32 of each member."""

import pathlib
import zipfile
import zlib
from typing import BinaryIO

from ava_jax.data.download import zip_listing
from ava_jax.data.download.zip_listing import DEFLATED, ENCRYPTED, STORED, Member

_BLOCK = 1 << 20


class Check:
    """CRC32 of a member's content that comes in pieces, inflated where it is deflated."""

    def __init__(self, member: Member) -> None:
        self._member, self._crc, self._size = member, 0, 0
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None

    def add(self, piece: bytes) -> None:
        """The next piece, as stored."""
        if self._stream is None:
            self._take(piece)
            return
        full = True
        try:
            while (piece or full) and not self._stream.eof and self._size <= self._member.size:  # no more than it should have
                content = self._stream.decompress(piece, _BLOCK)
                self._take(content)
                piece, full = self._stream.unconsumed_tail, len(content) == _BLOCK
        except zlib.error:
            self._size = self._member.size + 1

    @property
    def whole(self) -> bool:
        """Whether all of it came, and is right."""
        return self._crc == self._member.crc and self._size == self._member.size

    def _take(self, piece: bytes) -> None:
        self._crc = zlib.crc32(piece, self._crc)
        self._size += len(piece)


def is_zip(path: pathlib.Path, name: str = "") -> bool:
    """Whether a file is a zip, by its name (`name`, or the path's own) or its first bytes."""
    if (name or path.name).endswith(".zip"):
        return True
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def listing(path: pathlib.Path) -> list[Member]:
    """The members of a local zip.

    Raises:
      ValueError: it is not a whole zip.
      OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)

        def read_at(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        return zip_listing.read(read_at, size)


def zip_fault(path: pathlib.Path) -> str:
    """What is wrong with a zip: a clause; "" where its directory is whole and each member has its CRC32.

    Raises:
      OSError: it cannot be read.
    """
    try:
        members = listing(path)
        with open(path, "rb") as file:
            for member in members:
                if member.flags & ENCRYPTED:
                    continue
                if member.method not in (STORED, DEFLATED):
                    _read_otherwise(path, member)
                elif not _is_whole(file, member):
                    return f"member {member.text[:80]!r} does not have its CRC32"
    except ValueError as e:
        return str(e)
    return ""


def _is_whole(file: BinaryIO, member: Member) -> bool:
    file.seek(member.offset)
    zip_listing.content_start(file.read, member)
    check, left = Check(member), member.packed
    while left and (piece := file.read(min(left, _BLOCK))):
        check.add(piece)
        left -= len(piece)
    return not left and check.whole


def _read_otherwise(path: pathlib.Path, member: Member) -> None:
    """Methods that Python's own module knows.

    Raises:
      ValueError: it finds the member damaged, or does not know the method.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member.text) as content:
            while content.read(_BLOCK):
                pass
    except OSError:
        raise
    except Exception as e:  # zipfile raises many kinds on nonsense
        raise ValueError(f"member {member.text[:80]!r} cannot be read ({' '.join(str(e).split())[:80]})") from e
