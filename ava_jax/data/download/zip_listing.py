"""The directory of a zip, local or remote, read from its end: what is needed to fetch members by ranges, and to write a smaller zip."""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ava_jax.data.download import paths

STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, UTF8 = 1, 8, 0x800  # bits of the flags
LARGE = 0xFFFFFFFF  # stands where a 64-bit field elsewhere holds the value
LOCAL = struct.Struct("<4s5H3I2H")  # signature, version, flags, method, time, date, crc, packed, size, lengths of name and extra
ENTRY = struct.Struct("<4s6H3I5H2I")  # ..., lengths of name, extra, comment; disk, internal and external attributes, offset
END = struct.Struct("<4s4H2IH")  # signature, disks, entries twice, size and offset of the directory, length of the comment
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR = struct.Struct("<4sIQI")
_TAIL = 1 << 16  # bytes read first: the end, and the directories of small zips
_MOST_TAIL = 65_535 + END.size + LOCATOR.size
_MOST_DIRECTORY = 1 << 27  # 10,000 members take 1 MB
_MOST_LOCAL = 2 * 65_535 + LOCAL.size + 24  # bytes around a member's content


class Member(NamedTuple):
    """An entry of a zip's directory.

    Attributes:
      name: as stored, not decoded.
      flags, method, stamp (time, then date), attributes: as the format has them.
      crc: of the content; size: of the content; packed: of the content as stored.
      offset: of the local header in the file; limit: where the next one, or the directory, begins, at most.
    """

    name: bytes
    flags: int
    method: int
    stamp: int
    crc: int
    packed: int
    size: int
    attributes: int
    offset: int
    limit: int

    @property
    def text(self) -> str:
        """The name, decoded as zips do."""
        return self.name.decode("utf-8" if self.flags & UTF8 else "cp437", "surrogateescape")


def read(read_at: Callable[[int, int], bytes], size: int) -> list[Member]:
    """Members of a zip, in the order of the file; of members of one name the last of the directory.

    Args:
      read_at: gives bytes of the file: offset, count.
      size: of the file.

    Raises:
      ValueError: it is not a whole zip, or one whose parts lie outside of it; the message is a clause, without the file's name.
    """
    tail_at = max(size - _TAIL, 0)
    tail = read_at(tail_at, size - tail_at)
    at = _end(tail)
    if at < 0 and tail_at:
        tail_at = max(size - _MOST_TAIL, 0)
        tail = read_at(tail_at, size - tail_at)
        at = _end(tail)
    if at < 0:
        raise ValueError("is no whole zip: it has no directory at its end")
    _, _, _, _, count, length, offset, _ = END.unpack_from(tail, at)
    end = tail_at + at
    if at >= LOCATOR.size and tail[at - LOCATOR.size :][:4] == b"PK\x06\x07":
        at64 = LOCATOR.unpack_from(tail, at - LOCATOR.size)[2]
        if at64 + END64.size > size:
            raise ValueError("is no whole zip: its 64-bit end lies outside of it")
        block = tail[at64 - tail_at :][: END64.size] if at64 >= tail_at else read_at(at64, END64.size)
        signature, *_, count, length, offset = END64.unpack(block)
        if signature != b"PK\x06\x06":
            raise ValueError("is no whole zip: its 64-bit end is not where it should be")
        end = at64
    shift = end - length - offset  # bytes before the zip
    if shift < 0 or length > _MOST_DIRECTORY or count * ENTRY.size > length:
        raise ValueError(f"is no whole zip: a directory of {count} members in {length} bytes at {offset}, and its end at {end}")
    start = offset + shift
    data = tail[start - tail_at :][:length] if start >= tail_at else read_at(start, length)
    return _limited(_entries(data, count, shift), start)


def _end(tail: bytes) -> int:
    """Where the end of the directory stands; -1 where there is none whose comment reaches the end of the file."""
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and (at + END.size > len(tail) or at + END.size + END.unpack_from(tail, at)[-1] != len(tail)):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    return at


def _entries(data: bytes, count: int, shift: int) -> list[Member]:
    found, at = {}, 0
    for _ in range(count):
        if at + ENTRY.size > len(data):
            raise ValueError(f"is no whole zip: its directory ends before its {count} members")
        fields = ENTRY.unpack_from(data, at)
        signature, _, _, flags, method, time, date, crc, packed, size, name_, extra_, comment_, _, _, attributes, offset = fields
        start = at + ENTRY.size
        name, extra = data[start : start + name_], data[start + name_ : start + name_ + extra_]
        at = start + name_ + extra_ + comment_
        if signature != b"PK\x01\x02" or at > len(data):
            raise ValueError("is no whole zip: its directory is damaged")
        size, packed, offset = _large(extra, [size, packed, offset])
        found[name] = Member(name, flags, method, date << 16 | time, crc, packed, size, attributes, offset + shift, 0)
    return sorted(found.values(), key=lambda member: member.offset)


def _large(extra: bytes, values: list[int]) -> list[int]:
    """Size, packed size, offset: those that do not fit 32 bits from the extra field."""
    if LARGE not in values:
        return values
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            return [next(numbers, value) if value == LARGE else value for value in values]
        extra = extra[4 + length :]
    return values


def _limited(members: list[Member], directory: int) -> list[Member]:
    """With their limits; members may not overlap, nor reach into the directory."""
    nexts = [member.offset for member in members[1:]] + [directory]
    for member, limit in zip(members, nexts):
        if member.offset + LOCAL.size + len(member.name) + member.packed > limit:
            raise ValueError(f"is no whole zip: member {member.text[:80]!r} reaches into what follows it")
    return [member._replace(limit=min(limit, member.offset + member.packed + _MOST_LOCAL)) for member, limit in zip(members, nexts)]


def require_plain(members: Sequence[Member]) -> None:
    """Refuses members that cannot be taken over into another zip, or whose names lead out of a folder.

    Raises:
      ValueError: there is such a one; the message is a clause, without the file's name.
    """
    for member in members:
        if why := paths.fault(member.text.rstrip("/")):
            raise ValueError(f"has a member {member.text[:80]!r}, whose name {why}")
        if member.flags & ENCRYPTED or member.method not in (STORED, DEFLATED):
            raise ValueError(f"has a member {member.text[:80]!r} that is encrypted, or compressed otherwise than by deflation")


def content_start(read: Callable[[int], bytes], member: Member) -> int:
    """Reads a local header; bytes from its start to the content.

    Args:
      read: gives the next bytes; it stands at the header.
      member: whose header it must be.

    Raises:
      ValueError: it is not the header of that member, or the content would reach into what follows.
    """
    header = read(LOCAL.size)
    signature, *_, name_length, extra_length = LOCAL.unpack(header) if len(header) == LOCAL.size else (b"", 0, 0)
    if signature != b"PK\x03\x04" or name_length != len(member.name) or read(name_length) != member.name:
        raise ValueError(f"is no whole zip: no header of member {member.text[:80]!r} where its directory says")
    start = LOCAL.size + name_length + extra_length
    if start + member.packed > member.limit - member.offset:
        raise ValueError(f"is no whole zip: member {member.text[:80]!r} reaches into what follows it")
    read(extra_length)
    return start
