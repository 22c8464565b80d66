"""Some members of a remote zip, fetched by ranges and written as a smaller zip with the same names.

Where each byte of the smaller zip goes follows from the directory alone. So a part of it, cut anywhere by a kill, is gone on with from
the member that it ends in, and the same choice gives the same bytes.
"""

import os
import pathlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from ava_jax.data.download import verify, zip_listing
from ava_jax.data.download.client import Attempts, Body, Client, Damaged, Facts, Refused, Temporary
from ava_jax.data.download.zip_listing import DESCRIPTOR, END, END64, ENTRY, LARGE, LOCAL, LOCATOR, Member

_GAP = 1 << 16  # bytes between members that are fetched rather than asked around
_MOST_DAMAGED = 3  # times that one member may come with another CRC32
_BLOCK = 1 << 18


def members(client: Client, url: str, facts: Facts) -> list[Member]:
    """The directory of a remote zip, read from its end.

    Raises:
      ValueError: it is not a whole zip; the message is a clause, without its URL.
      OSError: as `Client.read`; the server does not say how long the file is.
    """
    if facts.size is None:
        raise Refused("the server does not say how long the file is: parts of it cannot be fetched")
    return zip_listing.read(lambda offset, count: client.read(url, offset, count, facts), facts.size)


def positions(chosen: Sequence[Member]) -> list[int]:
    """Where each member begins in the smaller zip, and where its directory does."""
    found = [0]
    for member in chosen:
        found.append(found[-1] + len(_local(member)) + member.packed)
    return found


def size(chosen: Sequence[Member]) -> int:
    """Bytes of the smaller zip."""
    starts = positions(chosen)
    return starts[-1] + len(_directory(chosen, starts))


def run(chosen: Sequence[Member], at: int, here: Callable[[Member], bool] = lambda member: False) -> Sequence[Member]:
    """The members from index `at` on that one request fetches: neighbours with gaps of less than 64 kB, up to one that is `here` already.

    Args:
      chosen: in the order of the file.
      at: of the first one.
      here: says of a member whether it need not be fetched.
    """
    stop = at + 1
    while stop < len(chosen) and chosen[stop].offset - chosen[stop - 1].limit < _GAP and not here(chosen[stop]):
        stop += 1
    return chosen[at:stop]


def fetch(
    client: Client,
    url: str,
    part: pathlib.Path,
    facts: Facts,
    chosen: Sequence[Member],
    report: Callable[[int], None],
    *,
    local: pathlib.Path | None = None,
) -> None:
    """Writes the smaller zip to `part`, from where it ends.

    Args:
      client: asks.
      url: of the zip.
      part: to be begun, or gone on with; it must be of the same state as `facts`, and of the same choice.
      facts: what the server says of the zip.
      chosen: in the order of the file; `zip_listing.require_plain` has passed them.
      report: is called with the number of bytes that were written.
      local: a zip whose members of the same name and CRC32 are copied instead; they are checked.

    Raises:
      Changed: the zip is another than `facts` says.
      Damaged: a member came three times with another CRC32.
      ValueError: members are not where the directory says.
      OSError: it could not be fetched; the part stays.
    """
    starts = positions(chosen)
    with open(part, "r+b" if part.exists() else "w+b") as file, _Local(local) as here:
        done = file.seek(0, 2)
        first = max((at for at, start in enumerate(starts) if start <= done), default=0)
        file.truncate(starts[first])  # the last member may be cut; those before it were checked as they were written
        _Writer(client, url, facts, chosen, starts, file, report).run(first, here)
        file.seek(starts[-1])
        file.write(_directory(chosen, starts))
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


class _Writer:
    """Fetches members and writes them one after the other; `at` is the next one."""

    def __init__(self, client, url, facts, chosen, starts, file: BinaryIO, report: Callable[[int], None]) -> None:
        self._client, self._url, self._facts = client, url, facts
        self._chosen, self._starts, self._file, self._report = chosen, starts, file, report
        self._damaged = 0
        self._at = 0

    def run(self, at: int, here: "_Local") -> None:
        """From index `at` on, all members."""
        self._at = at
        attempts = Attempts(self._client)
        while self._at < len(self._chosen):
            if here.has(self._chosen[self._at]):
                self._copy(here)
                continue
            members_ = run(self._chosen, self._at, here.has)
            try:
                with self._client.stream(self._url, members_[0].offset, members_[-1].limit, self._facts) as body:
                    self._client.reach(body, members_[0].offset)
                    self._take(body, members_, attempts)
            except Temporary as e:
                attempts.wait(e)

    def _copy(self, here: "_Local") -> None:
        """The next member from the local zip; where it is damaged there, it is fetched after all."""
        member = self._chosen[self._at]
        self._file.seek(self._starts[self._at])
        self._file.write(_local(member))
        if here.copy(member, self._file):
            self._report(self._starts[self._at + 1] - self._starts[self._at])
            self._at += 1

    def _take(self, body: Body, members_: Sequence[Member], attempts: Attempts) -> None:
        position = members_[0].offset
        for member in members_:
            body.skip(member.offset - position)
            position = member.offset + self._member(body, member)
            self._at += 1
            self._damaged = 0
            attempts.progress(member.packed)
        body.skip(members_[-1].limit - position)  # so that the connection can be used again

    def _member(self, body: Body, member: Member) -> int:
        """Writes one; how many bytes of the body it took."""
        start = zip_listing.content_start(body.exactly, member)
        self._file.seek(self._starts[self._at])
        self._file.write(_local(member))
        check, left = verify.Check(member), member.packed
        while left:
            piece = body.piece(min(left, _BLOCK))
            if not piece:
                raise Temporary(f"the response ended in member {member.text[:80]!r}")
            self._file.write(piece)
            check.add(piece)
            left -= len(piece)
        if not check.whole:
            self._damaged += 1
            message = f"member {member.text[:80]!r} does not have its CRC32"
            raise (Temporary if self._damaged < _MOST_DAMAGED else Damaged)(message)
        self._report(self._starts[self._at + 1] - self._starts[self._at])
        self._file.flush()
        return start + member.packed


class _Local:
    """A local zip that may have some of the members. A context manager; one that is not there, or no zip, has none."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._known: dict[tuple[bytes, int, int], Member] = {}
        self._file: BinaryIO | None = None
        try:
            if path is not None and path.is_file():
                self._known = {_identity(member): member for member in verify.listing(path)}
                self._file = open(path, "rb")
        except (OSError, ValueError):  # then all is fetched
            self._known = {}

    def __enter__(self) -> "_Local":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, member: Member) -> bool:
        """Whether it has one of that name, CRC32 and size."""
        return _identity(member) in self._known

    def copy(self, member: Member, to: BinaryIO) -> bool:
        """Writes its content; False where it is damaged, and from then on not there."""
        mine = self._known.pop(_identity(member))
        try:
            self._file.seek(mine.offset)
            zip_listing.content_start(self._file.read, mine)
            check, left = verify.Check(mine), mine.packed
            while left and (piece := self._file.read(min(left, _BLOCK))):
                to.write(piece)
                check.add(piece)
                left -= len(piece)
        except ValueError:  # no header there
            return False
        return check.whole


def _identity(member: Member) -> tuple[bytes, int, int]:
    return member.name, member.crc, member.packed


def _local(member: Member) -> bytes:
    """A member's local header in the smaller zip: sizes and CRC are in it, not after the content."""
    large = max(member.packed, member.size) >= LARGE
    extra = struct.pack("<2H2Q", 1, 16, member.size, member.packed) if large else b""
    sizes = (LARGE, LARGE) if large else (member.packed, member.size)
    flags, stamp = member.flags & ~DESCRIPTOR, (member.stamp & 0xFFFF, member.stamp >> 16)
    fields = (b"PK\x03\x04", 45 if large else 20, flags, member.method, *stamp, member.crc, *sizes, len(member.name), len(extra))
    return LOCAL.pack(*fields) + member.name + extra


def _directory(chosen: Sequence[Member], starts: Sequence[int]) -> bytes:
    """The directory and its end, 64-bit where it must be."""
    entries = b"".join(_entries(chosen, starts))
    count, at = len(chosen), starts[-1]
    end64 = b""
    if count >= 0xFFFF or at >= LARGE or len(entries) >= LARGE:
        end64 = END64.pack(b"PK\x06\x06", END64.size - 12, 45, 45, 0, 0, count, count, len(entries), at)
        end64 += LOCATOR.pack(b"PK\x06\x07", 0, at + len(entries), 1)
    short = min(count, 0xFFFF)
    return entries + end64 + END.pack(b"PK\x05\x06", 0, 0, short, short, min(len(entries), LARGE), min(at, LARGE), 0)


def _entries(chosen: Sequence[Member], starts: Sequence[int]) -> Iterator[bytes]:
    for member, start in zip(chosen, starts):
        values = [member.size, member.packed, start]
        if large := max(member.size, member.packed) >= LARGE:  # as in the local header: both, or none
            numbers = values[:2] + ([start] if start >= LARGE else [])
        else:
            numbers = [start] if start >= LARGE else []
        extra = struct.pack(f"<2H{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""
        size, packed = (LARGE, LARGE) if large else values[:2]
        version, flags = 45 if numbers else 20, member.flags & ~DESCRIPTOR
        lengths = (len(member.name), len(extra), 0, 0, 0)
        stamp = (member.stamp & 0xFFFF, member.stamp >> 16)
        fields = (b"PK\x01\x02", version, version, flags, member.method, *stamp, member.crc, packed, size, *lengths)
        yield ENTRY.pack(*fields, member.attributes, min(start, LARGE)) + member.name + extra
