"""Directories of zips whose members are named by number, read from the zip's end.

Of members of one name the last one counts, as for all that read zips: that is how a zip is changed without being written anew. What
systems add of their own is passed over: `__MACOSX/`, `.DS_Store`, `._001003.avif`, `Thumbs.db`, `desktop.ini`, folders' entries.
"""

import pathlib
import re
import struct
import zipfile
from typing import BinaryIO, NamedTuple

import numpy as np

from ava_jax.data.remote.location import RemotePath

ABSENT = np.uint64(2**64 - 1)  # the offset of a member that the zip lacks

_END = struct.Struct("<4s4HIIH")  # end of central directory: signature, disks, entries twice, size, offset, length of the comment
_ENTRY = 46  # bytes of an entry, before the member's name
_FIELDS = {  # of an entry: name -> (type, offset)
    "signature": ("<u4", 0), "flags": ("<u2", 8), "method": ("<u2", 10), "crc": ("<u4", 16), "size": ("<u4", 20), "name": ("<u2", 28),
    "extra": ("<u2", 30), "comment": ("<u2", 32), "offset": ("<u4", 42),
}  # fmt: skip
STORED, DEFLATED = 0, 8
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_ENCRYPTED = 1  # a bit of the flags
_OF_SYSTEMS = re.compile(r"(^|/)(__MACOSX/|\.|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)
_MOST_TAIL = 65_535 + 22 + 20 + 56  # the longest comment, and ends of directories before it
_MOST_DIRECTORY = 1 << 24  # of zips that zipfile reads, which takes 15 times as much; 10,000 frames take 1 MB
_MOST_NUMBER = 2**31 - 1
_LARGE = 2**32 - 1  # stands where a 64-bit field elsewhere holds the value


class Directory(NamedTuple):
    """Members by number: M of them.

    Attributes:
      number: int32 [M], sorted.
      offset: u64 [M], of the local header; ABSENT where the zip has no such member.
      size: u32 [M], as stored; crc: u32 [M], of the content.
    """

    number: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    crc: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take."""
        return sum(column.nbytes for column in self)


def read(path: pathlib.Path) -> Directory:
    """All members of the zip at `path`.

    Raises:
      ValueError: there is no such file, it is not a whole zip, a member's name is not a number or that of another member, or a member is
        encrypted or compressed in another way than by deflation.
    """
    try:
        with path.open_end() if isinstance(path, RemotePath) else open(path, "rb") as file:
            columns = _read_uniform(file)
            if columns is None:
                columns = _read_general(path, file)
    except FileNotFoundError as e:
        raise ValueError(f"{path}: no such file.") from e
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    order = np.argsort(columns.number, kind="stable")
    number = columns.number[order]
    last = order[np.append(number[1:] != number[:-1], True)] if len(number) else order
    return Directory(*(column[last] for column in columns))


def align(directory: Directory, numbers: np.ndarray) -> Directory:
    """The entries of `numbers` (int32 [N], sorted), in that order; ABSENT where the zip has none."""
    at = np.searchsorted(directory.number, numbers)
    inside = np.minimum(at, max(len(directory.number) - 1, 0))
    if len(directory.number):
        found = directory.number[inside] == numbers
        offset, size, crc = directory.offset[inside], directory.size[inside], directory.crc[inside]
    else:
        found = np.zeros(len(numbers), bool)
        offset, size, crc = np.zeros(len(numbers), np.uint64), *np.zeros((2, len(numbers)), np.uint32)
    return Directory(numbers, np.where(found, offset, ABSENT), np.where(found, size, 0).astype(np.uint32), crc)


def _read_uniform(file: BinaryIO) -> Directory | None:
    """The members of a zip whose entries all have one length, as those of numbered frames do; None for any other.

    40 times as quick as zipfile: a full data set has 20,000 zips of 10,000 members.
    """
    end = file.seek(0, 2)
    if end < _END.size:
        return None
    file.seek(end - _END.size)
    signature, _, _, _, count, size, offset, _ = _END.unpack(file.read(_END.size))
    # Comments, several disks, bytes before the zip and 64-bit ends are zipfile's.
    if signature != b"PK\x05\x06" or not count or count == 0xFFFF or offset + size + _END.size != end or size % count:
        return None
    file.seek(offset)
    data = file.read(size)
    stride = size // count
    if stride <= _ENTRY or len(data) != size:
        return None
    names, (formats, offsets) = list(_FIELDS), zip(*_FIELDS.values(), strict=True)
    table = np.frombuffer(data, np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": stride}))
    length = int(table["name"][0])
    rest = stride - _ENTRY - length
    lengths_fit = (table["name"] == length) & (table["extra"] + table["comment"].astype(np.uint32) == rest)
    plain = (table["signature"] == 0x02014B50) & lengths_fit & (table["size"] != _LARGE) & (table["offset"] != _LARGE)
    as_usual = (table["flags"] & _ENCRYPTED == 0) & ((table["method"] == STORED) | (table["method"] == DEFLATED))
    if not (plain & as_usual).all():
        return None
    number = _uniform_numbers(np.frombuffer(data, np.uint8).reshape(count, stride)[:, _ENTRY : _ENTRY + length])
    if number is None:
        return None
    return Directory(number, table["offset"].astype(np.uint64), table["size"].astype(np.uint32), table["crc"].astype(np.uint32))


def _uniform_numbers(names: np.ndarray) -> np.ndarray | None:
    """Numbers of names u8 [M, L] that differ in the digits of their stems alone; None for any others."""
    first = names[0].tobytes()
    start = first.rfind(b"/") + 1
    stop = first.find(b".", start) if b"." in first[start:] else len(first)
    digits = names[:, start:stop]
    same = (names[:, :start] == names[0, :start]).all() and (names[:, stop:] == names[0, stop:]).all()
    if not same or not 0 < stop - start < 10 or not ((digits >= ord("0")) & (digits <= ord("9"))).all():
        return None
    return ((digits - ord("0")) @ (10 ** np.arange(stop - start - 1, -1, -1))).astype(np.int32)


def _directory_bytes(file: BinaryIO) -> int:
    """How long the directory of a zip says that it is; 0 where there is none to be seen."""
    file.seek(max(file.seek(0, 2) - _MOST_TAIL, 0))
    tail = file.read()
    at, large = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    stated = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    return max(stated % _LARGE, int.from_bytes(tail[large + 40 : large + 48], "little") if large >= 0 else 0)


def _read_general(path: pathlib.Path, file: BinaryIO) -> Directory:
    if (size := _directory_bytes(file)) > _MOST_DIRECTORY:
        raise ValueError(f"{path}: its directory is of {size} bytes, of more members than any capture has; at most {_MOST_DIRECTORY}.")
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
    except OSError:
        raise
    except Exception as e:  # zipfile raises many kinds on nonsense
        why = "" if isinstance(e, zipfile.BadZipFile) else f" ({' '.join(str(e).split())[:100]})"
        raise ValueError(f"{path}: not a whole zip (truncated?{why}); fetch it again.") from e
    names: dict[int, str] = {}
    members = [member for member in listed if not member.filename.endswith("/") and not _OF_SYSTEMS.search(member.filename)]
    for member in members:
        _require_readable(path, member)
        number = _number_of(path, member.filename)
        if names.setdefault(number, member.filename) != member.filename:
            raise ValueError(f"{path}: members {names[number]!r} and {member.filename!r} are both named by {number}; one must go.")
    return Directory(
        np.array([_number_of(path, m.filename) for m in members], np.int32),
        np.array([m.header_offset for m in members], np.uint64),
        np.array([m.compress_size for m in members], np.uint32),
        np.array([m.CRC for m in members], np.uint32),
    )


def _number_of(path: pathlib.Path, name: str) -> int:
    """The number that a member is named by.

    Raises:
      ValueError: it is not named by one.
    """
    stem = pathlib.PurePosixPath(name).stem
    if not (stem.isascii() and stem.isdigit() and int(stem[-4000:]) <= _MOST_NUMBER and len(stem) <= 4000):
        raise ValueError(f"{path}: members must be named by number, as in 001003.png, up to {_MOST_NUMBER}; got {name[:80]!r}.")
    return int(stem)


def _require_readable(path: pathlib.Path, member: zipfile.ZipInfo) -> None:
    """Refuses what `archive` cannot read.

    Raises:
      ValueError: the member is encrypted, compressed in another way than by deflation, or of 4 GiB and more; the message says what to do.
    """
    how = _METHODS.get(member.compress_type, f"method {member.compress_type}")
    if member.flag_bits & _ENCRYPTED:
        fault = "is encrypted"
    elif member.compress_type not in (STORED, DEFLATED):
        fault = f"is compressed with {how}"
    elif not 0 <= member.compress_size < _LARGE or not 0 <= member.header_offset < int(ABSENT):
        fault = f"claims {member.compress_size} bytes at {member.header_offset}, which no picture has"
    else:
        return
    anew = f"unzip {path.name} -d NEW && (cd NEW && zip -r0 ../{path.stem}.new.zip .)"
    raise ValueError(f"{path}: member {member.filename[:80]!r} {fault}; members must be stored or deflated. Write it anew: {anew}")
