"""Zips of a capture: whether they are whole, and which frames they have."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.packed import index
from ava_jax.captures.verify.findings import FETCH, Book
from ava_jax.data import zip_directory

MOST_LACKING = 0.1  # of the frames that its neighbours have; published zips lack one in a thousand
_FEW = 5  # frames that lack anywhere without being many
_LOCAL_HEADER = 30  # bytes before a member's name and content


class Zip(NamedTuple):
    """A zip's members by number, int32 [M], sorted; `fault` says why it cannot be read, "" where it can.

    A packed capture's stream is one too, of the path that its zip had, and of size 0.
    """

    path: pathlib.Path
    kind: str
    numbers: np.ndarray
    size: int
    fault: str = ""

    def without_members(self) -> "Zip":
        """The same with M = 0: the members of a full data set's zips would take a gigabyte."""
        return self._replace(numbers=np.zeros(0, np.int32))


def look(kind: str, path: pathlib.Path) -> Zip:
    """Reads a zip's directory, and whether all members lie inside the file; their content is not read.

    Of a packed capture's stream, its frames.
    """
    none = np.zeros(0, np.int32)
    try:
        packed = index.find(index.capture_of(path)) if path.parents[1].name == "decoder" else None
        if packed is not None and (stream := index.stream_of(path)) in packed:
            frames = packed.frames[packed.there(stream, packed.frames)]
            return Zip(path, kind, frames, 0, "" if len(frames) else "it has no records")
        size = path.stat().st_size
        directory = zip_directory.read(path)
    except (ValueError, OSError) as e:
        return Zip(path, kind, none, 0, str(e).removeprefix(f"{path}: ").removesuffix("; fetch it again."))
    ends = directory.offset + directory.size.astype(np.uint64) + np.uint64(_LOCAL_HEADER)
    if len(ends) and int(ends.max()) > size:
        return Zip(path, kind, none, size, f"{int((ends > size).sum())} members lie beyond the end of the file: it is cut or patched")
    return Zip(path, kind, directory.number, size, "" if len(ends) else "it has no members")


def tell_broken(book: Book, zips: Sequence[Zip]) -> None:
    """Findings of the zips that cannot be read, and the counts of all."""
    if not book.packed:
        book.count("zips", len(zips))
    book.count("bytes", sum(one.size for one in zips))
    for one in zips:
        if one.fault:
            book.add("fault", one.kind, "the zip cannot be read", one.path, detail=one.fault, action=FETCH, refetch=True)


def many(lacking: int, count: int) -> bool:
    """Whether so many of a number of frames are more than published captures lack."""
    return lacking > max(MOST_LACKING * count, _FEW) or lacking == count > 0


def tell_lacking(book: Book, zips: Sequence[Zip], listed: np.ndarray, expected: np.ndarray, *, strict: bool = True) -> None:
    """Holds the members of zips against the frames that they should have.

    Args:
      zips: that can be read.
      listed: int32 [N], frames of the frame list, sorted.
      expected: int32 [E], those of them that the zips should have, sorted.
      strict: a zip that lacks `many` of them is a fault; False: a doubt.
    """
    for one in zips:
        lacking, asked = np.setdiff1d(expected, one.numbers, assume_unique=True), expected
        file, sure = book.relative(one.path), strict
        if book.chosen is not None:
            sure = strict and not book.chosen.by_name(file)
            if (chosen := book.chosen.frames(file)) is not None:
                if len(left := np.setdiff1d(lacking, chosen, assume_unique=True)):
                    what = "frames that its download left out, and the capture's other zips have; they are passed over"
                    book.add("note", one.kind, what, one.path, frames=left.tolist())
                lacking, asked = (np.intersect1d(frames, chosen, assume_unique=True) for frames in (lacking, expected))
        lacking = lacking.tolist()
        if many(len(lacking), len(asked)):
            detail = f"{len(lacking)} of {len(asked)}"
            what, level = "lacks many frames that the capture's other zips have", "fault" if sure else "doubt"
            book.add(level, one.kind, what, one.path, detail=detail, action=FETCH, frames=lacking, refetch=sure)
        elif lacking:
            what = "listed frames are missing; published captures lack some too, and they are passed over"
            book.add("note", one.kind, what, one.path, frames=lacking)
        if len(extra := np.setdiff1d(one.numbers, listed, assume_unique=True)):
            book.add("note", one.kind, "has frames that frame_list.csv does not list; they are not used", one.path, frames=extra.tolist())
