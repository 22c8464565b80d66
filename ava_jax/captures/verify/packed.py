"""Packed captures: whether shards and index are whole and of one packing. Their records are looked at as members of zips are."""

import json
import pathlib

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from ava_jax.captures import ava256
from ava_jax.captures.packed import index
from ava_jax.captures.packed.index import CaptureIndex
from ava_jax.captures.verify.findings import Book

_KINDS = {
    "image": "image",
    "segmentation_parts": "segmentation",
    "head_pose": "head pose",
    "kinematic_tracking": "mesh",
    "uv_image": "texture",
    "keypoints_3d": "keypoints",
}  # by the first part of a stream's name


def find(book: Book) -> CaptureIndex | None:
    """The index of a packed capture; None of one that is not packed, or whose index cannot be used, which is a fault then."""
    try:
        return index.find(book.folder)
    except ValueError as e:
        book.packed = True
        book.add("fault", "packed", "cannot be read", index.FILE, detail=str(e).removeprefix(f"{book.folder}: "), refetch=True)
        return None


def streams(found: CaptureIndex) -> list[tuple[str, pathlib.Path]]:
    """Kinds of the streams, and the paths of the zips in whose stead they are."""
    names = [name for group in found.streams.values() for name in group]
    return [(_KINDS.get(name.partition("/")[0], "packed"), index.path_of(found.folder, name)) for name in names]


def shards(book: Book, found: CaptureIndex) -> None:
    """Holds shards against the index: there, of their size, whole, with as many records as the index has frames; and nothing else."""
    folder, records = found.folder / index.RECORDS, 0
    manifest = json.loads((found.folder / index.FILE).read_text())
    expected: set[str] = set()
    for kind, listed in manifest["shards"].items():
        firsts = [int(shard["first"]) for shard in listed] + [len(found.frames)]
        counts = found.counts(kind)
        for number, shard in enumerate(listed):
            path = folder / index.shard_name(kind, number, len(listed))
            expected.add(path.name)
            count = int(counts[firsts[number] : firsts[number + 1]].sum())
            records += count
            if fault := _fault(path, int(shard["bytes"]), count):
                book.add("fault", "shard", "cannot be used", path, detail=fault, refetch=True)
            elif path.is_file():
                book.count("bytes", path.stat().st_size)
    book.count("shards", len(expected))
    book.count("records", records)
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    for name in sorted(there - expected):
        book.add("note", "shard", "is not of this packing, and not used", folder / name, action="remove it")
    for line in manifest.get("unreadable", ()):
        text = "could not be read when it was packed, and is left out"
        book.add("note", "packed", text, detail=str(line), action="mend the source and pack it again, if the frame matters")
    _frame_list(book, found)
    beside = [path for path in sorted((found.folder / "decoder").glob("*/*.zip")) if index.stream_of(path) in found]
    if beside:
        text = "zips lie beside the records of the same streams; the records are read"
        book.add("doubt", "packed", text, beside[0], detail=f"{len(beside)} of them", action="remove the zips, or the packed capture")


def _fault(path: pathlib.Path, size: int, records: int) -> str:
    """What is wrong with a shard; "" where nothing is."""
    if not path.is_file():
        return "it is missing"
    if path.stat().st_size != size:
        return f"it has {path.stat().st_size} bytes, and was written with {size}"
    try:
        reader = ArrayRecordReader(str(path))
        if not reader.ok():
            return "it is no whole ArrayRecord file"
        have = reader.num_records()
        reader.close()
    except (RuntimeError, ValueError, IndexError) as e:  # what array_record raises, of damage
        return f"it is no whole ArrayRecord file ({' '.join(str(e).split())[:120]})"
    return "" if have == records else f"it has {have} records, and the index {records}"


def _frame_list(book: Book, found: CaptureIndex) -> None:
    path = found.folder / "decoder" / "frame_list.csv"
    try:
        listed = np.unique(ava256.frame_list(path)[0])
    except ValueError:  # a finding of its own
        return
    if not np.array_equal(listed, found.frames):
        detail = f"{len(np.setxor1d(listed, found.frames))} frames are in one of them alone"
        book.add("fault", "frame list", "is not that of the records", path, detail=detail, refetch=True)
