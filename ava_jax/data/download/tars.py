"""Tars unpacked safely, and a record of what came out of each: a second run knows from it what need not be fetched again.

A record is a text beside nothing else, `<out>/ava_unpacked/<path of the tar>.txt`: a line of JSON (the tar's MD5, or what the server says
of its state; which members were taken), then a line `SIZE CRC32 PATH` per file.
"""

import dataclasses
import json
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Iterator

from ava_jax.data import files
from ava_jax.data.download import paths

RECORDS = "ava_unpacked"
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Record:
    """What came out of a tar.

    Attributes:
      state: of the tar, as `Item.md5` or `Facts.validator`.
      only: folders whose files alone were taken, sorted; (): all.
      files: (bytes, CRC32, path below the target folder).
    """

    state: str
    only: tuple[str, ...]
    files: tuple[tuple[int, int, str], ...]

    def covers(self, only: tuple[str, ...]) -> bool:
        """Whether all that `only` takes was taken."""
        return not self.only or (bool(only) and set(self.only) >= set(only))

    def is_there(self, out: pathlib.Path, *, verify: bool) -> bool:
        """Whether each file is there with its bytes; `verify`: and with its CRC32."""
        for size, crc, path in self.files:
            try:
                if (out / path).stat().st_size != size or (verify and _crc(out / path) != crc):
                    return False
            except OSError:
                return False
        return True


def load(out: pathlib.Path, tar: str) -> Record | None:
    """The record of a tar, by its path below `out`; None where there is none that can be read."""
    try:
        head, *lines = _file(out, tar).read_text().splitlines()
        tree = json.loads(head)
        rows = (line.split(" ", 2) for line in lines)
        listed = tuple((int(size), int(crc), path) for size, crc, path in rows)
        if len(listed) != tree["files"] or any(paths.fault(path) for _, _, path in listed):
            return None
        return Record(str(tree["state"]), tuple(map(str, tree["only"])), listed)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(out: pathlib.Path, tar: str, record: Record) -> None:
    """Writes the record of a tar.

    Raises:
      OSError: the disk is full, or fails.
    """
    path = _file(out, tar)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({"state": record.state, "only": list(record.only), "files": len(record.files)})
    files.replace(path, "\n".join([head, *(f"{size} {crc} {name}" for size, crc, name in record.files)]) + "\n")


def _file(out: pathlib.Path, tar: str) -> pathlib.Path:
    return out / RECORDS / f"{tar}.txt"


def unpack(tar: pathlib.Path, out: pathlib.Path, place: Callable[[str], str | None]) -> list[tuple[int, int, str]]:
    """Unpacks a tar. All names are looked at before the first file is written; each file comes whole or not at all.

    Args:
      tar: not compressed.
      out: the target folder.
      place: a member's name to a path below `out`, None: it is left out.

    Returns:
      (bytes, CRC32, path below `out`) of each file.

    Raises:
      ValueError: it is no whole tar, or a member is no plain file or folder, or would lie outside of `out`; the message is a clause.
      OSError: the disk is full, or fails.
    """
    for member in _members(tar):
        name = member.name.removeprefix("./").rstrip("/")
        if name in ("", "."):
            continue
        if not (member.isdir() or member.isreg()) or member.issparse():
            raise ValueError(f"has a member {member.name[:80]!r} that is no plain file or folder")
        if why := paths.fault(name) or ("is of two lines" if "\n" in name else ""):
            raise ValueError(f"has a member {member.name[:80]!r}, whose name {why}")
    found = []
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            target = place(member.name.removeprefix("./")) if member.isreg() else None
            if target is None:
                continue
            path, size, crc = paths.inside(out, target), 0, 0
            path.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            with files.writing(path, durable=False) as file:
                while piece := content.read(_BLOCK):
                    file.write(piece)
                    size, crc = size + len(piece), zlib.crc32(piece, crc)
                if size != member.size:
                    raise ValueError(f"ends within the member {member.name[:80]!r}")
            found.append((size, crc, target))
    return found


def _members(tar: pathlib.Path) -> Iterator[tarfile.TarInfo]:
    """All members, of which the headers alone are read.

    Raises:
      ValueError: it is no whole tar.
    """
    length = tar.stat().st_size
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if member.offset_data + member.size > length:
                    raise ValueError(f"ends within the member {member.name[:80]!r}")
                yield member
            if archive.offset < length and not _is_zero(tar, archive.offset):
                raise ValueError(f"has a damaged header at byte {archive.offset}")
    except tarfile.TarError as e:
        raise ValueError(f"is no whole tar ({' '.join(str(e).split())[:80]})") from e


def _is_zero(tar: pathlib.Path, at: int) -> bool:
    """Whether the block there is of zeros, as at the end of a tar."""
    with open(tar, "rb") as file:
        file.seek(at)
        return not any(file.read(tarfile.BLOCKSIZE))


def _crc(path: pathlib.Path) -> int:
    crc = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_BLOCK):
            crc = zlib.crc32(piece, crc)
    return crc
