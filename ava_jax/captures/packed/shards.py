"""The work of packing: one shard written, one capture finished. Each is given a folder, and finds its plan there.

A shard comes whole or not at all, and a note beside the plan, written after it, says that it is whole and what is in it. So a run that
was killed goes on with the shards that lack a note, and any number of processes, or machines that see the folder, may work at once.
"""

import functools
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from ava_jax.captures import ava256, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.packed import index, plan, records
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.packed.plan import Plan
from ava_jax.captures.packed.records import Record
from ava_jax.data import files, images

SPEED = 8  # of the encoder; at 1024 x 667 a fifth of the time of Pillow's own choice, 6, for 11% more bytes and 0.3 dB less
QUALITY = 85  # of images that are cropped or resized, where none is asked for
_OPTIONS = "group_size:1,uncompressed"  # one record is read at a time, of pictures that are compressed already
_OPEN_FILES = 400  # the zips of a capture's cameras, read frame by frame


def note(folder: pathlib.Path, kind: str, number: int) -> dict[str, Any] | None:
    """What is in a shard; None where it is not written yet, or is not as it was written."""
    path = folder / index.PACKING / f"{kind}-{number:05d}.json"
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    shard = folder / index.RECORDS / found["file"]
    return found if shard.is_file() and shard.stat().st_size == found["bytes"] else None


def pack_shard(folder: pathlib.Path, kind: str, number: int) -> None:
    """Writes a shard and its note; one that is there stays as it is.

    Args:
      folder: of the capture that is packed, with its plan.
      kind: of streams.
      number: of the shard.

    Raises:
      ValueError: a zip of the source is missing or not whole.
      OSError: the disk is full, or fails.
    """
    if note(folder, kind, number) is not None:
        return
    how = _plan(folder)
    first, last = how.shards[kind][number]
    there, numbers, archives, paths = _members(folder, kind)
    there = there[:, first:last].copy()
    name = index.shard_name(kind, number, len(how.shards[kind]))
    (folder / index.RECORDS).mkdir(exist_ok=True)
    beside = folder / index.RECORDS / f".{name}.{secrets.token_hex(4)}"
    unreadable = []
    try:
        writer = ArrayRecordWriter(str(beside), _OPTIONS)
        for at, frame in enumerate(numbers[first:last].tolist()):
            for which in np.flatnonzero(there[:, at]).tolist():
                stream = how.streams[kind][which]
                try:
                    data = _content(archives, paths[which], frame, stream, how)
                except reading.Unreadable as e:
                    unreadable.append(str(e))
                    there[which, at] = False
                else:
                    writer.write(records.encode(Record(folder.name, stream, frame, data)))
        writer.close()
        _to_disk(beside)
        size = beside.stat().st_size
        os.replace(beside, folder / index.RECORDS / name)
    finally:
        beside.unlink(missing_ok=True)
    found = {"file": name, "bytes": size, "records": int(there.sum()), "unreadable": unreadable, "bits": _bits(there).tobytes().hex()}
    files.replace(folder / index.PACKING / f"{kind}-{number:05d}.json", json.dumps(found))


def finish(folder: pathlib.Path) -> list[str]:
    """Writes the small files and the index of a capture whose shards are all there, then takes the plan away.

    Returns:
      What could not be read, a line each.

    Raises:
      ValueError: a shard is not there.
    """
    if (folder / index.FILE).is_file():
        return json.loads((folder / index.FILE).read_text())["unreadable"]
    how = _plan(folder)
    source = ava256.load(pathlib.Path(how.source))
    numbers, bits, shards, unreadable = np.unique(source.frames), {}, {}, []
    for kind in plan.KINDS:
        notes = [note(folder, kind, number) for number in range(len(how.shards[kind]))]
        if None in notes:
            raise ValueError(f"{folder}: shard {notes.index(None)} of {kind} is not there; run ava pack again.")
        columns = -(-len(how.streams[kind]) // 8)
        bits[kind] = np.frombuffer(bytes.fromhex("".join(n["bits"] for n in notes)), np.uint8).reshape(len(numbers), columns)
        edges = zip(how.shards[kind], notes)
        shards[kind] = [{"first": edge[0], **{key: n[key] for key in ("file", "bytes", "records")}} for edge, n in edges]
        unreadable += [line for n in notes for line in n["unreadable"]]
    left_out = _copy_small_files(source, folder, how)
    sensor = [side * how.scale for side in how.crop_size] if how.crops else list(source.sensor)
    with files.writing(folder / index.BITS) as file:
        np.savez(file, frames=numbers.astype(np.int32), **bits)
    manifest = {
        "format": index.FORMAT, "sensor": sensor, "cropped": bool(how.crops) or source.cropped, "crops": how.crops,
        "streams": how.streams, "shards": shards,
        "source": how.source, "fingerprint": how.fingerprint, "unreadable": unreadable, "left_out": left_out,
    }  # fmt: skip
    files.replace(folder / index.FILE, json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(folder / index.PACKING)
    return unreadable


def encoded(data: bytes, stream: str, how: Plan) -> bytes:
    """What a record holds of a file's content: the same, or an image cut and encoded anew.

    Raises:
      ValueError: it cannot be decoded.
    """
    camera = Record("", stream, 0, b"").camera
    labels = not stream.startswith("image/")
    if not camera or not how.settings.encodes or (labels and not how.scale):
        return data
    decode = images.decode_labels if labels else images.decode
    picture = decode(data, how.size if how.scale else None, whole=_capture(how.source).sensor)
    if how.crops:
        left, top = how.crops[camera]
        picture = picture[top : top + how.crop_size[0], left : left + how.crop_size[1]]
    picture = np.ascontiguousarray(picture)
    return images.encode(picture, "png") if labels else images.encode(picture, "avif", quality=how.settings.quality or QUALITY, speed=SPEED)


def _content(archives: RecordArchives, path: pathlib.Path, frame: int, stream: str, how: Plan) -> bytes:
    """What a record holds of a frame's file.

    Raises:
      Unreadable: it is damaged, or cannot be decoded where that is needed; the message names it.
    """
    return reading.decoded(archives, path, frame, lambda data: encoded(data, stream, how))


def _copy_small_files(source: Capture, folder: pathlib.Path, how: Plan) -> list[str]:
    """Calibration, frame list, statistics and what else is in decoder/; names of what was left out, as it would not fit the images."""
    decoder, left_out = source.decoder, []
    streams = {index.path_of(decoder.parent, name) for names in how.streams.values() for name in names}
    for path in sorted(decoder.rglob("*")):
        relative = path.relative_to(decoder)
        if not path.is_file() or path in streams or _is_stream(relative) or path.name.startswith("."):
            continue
        if path.suffix == ".zip" and how.crops:
            left_out.append(relative.as_posix())
            continue
        target = folder / "decoder" / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if path == source.calibration and how.crops:
            files.replace(target, _cropped_calibration(path, how))
        else:
            with open(path, "rb") as file, files.writing(target) as out:
                shutil.copyfileobj(file, out, 1 << 20)
    return left_out


def _is_stream(relative: pathlib.PurePath) -> bool:
    """Whether it is a zip of a camera that is not packed."""
    return relative.suffix == ".zip" and relative.parts[0] in ("image", "segmentation_parts")


def _cropped_calibration(path: pathlib.Path, how: Plan) -> str:
    """The calibration with principal points of the crops, of the cameras that have one."""
    tree = json.loads(path.read_text())
    tree["KRT"] = [entry for entry in tree["KRT"] if str(entry["cameraId"]).strip() in how.crops]
    for entry in tree["KRT"]:
        left, top = how.crops[str(entry["cameraId"]).strip()]
        entry["K"][2][0] -= left * how.scale  # K is stored transposed
        entry["K"][2][1] -= top * how.scale
    return json.dumps(tree, indent=1) + "\n"


def _members(folder: pathlib.Path, kind: str) -> tuple[np.ndarray, np.ndarray, RecordArchives, Sequence[pathlib.Path]]:
    """Of a kind: which frames each stream has, bool [S, N]; frames int32 [N]; what reads them; paths [S]."""
    how = _plan(folder)
    return _looked_up(pathlib.Path(how.source), how.streams[kind], (folder / index.PACKING / "plan.json").stat().st_mtime_ns)


@functools.lru_cache(2)
def _looked_up(
    source: pathlib.Path, streams: tuple[str, ...], changed: int
) -> tuple[np.ndarray, np.ndarray, RecordArchives, Sequence[pathlib.Path]]:
    """See `_members`; a process packs one capture's shards after another's."""
    del changed
    capture = ava256.load(source)
    numbers = np.unique(capture.frames)
    paths = [index.path_of(source, stream) for stream in streams]
    archives = RecordArchives(open_files=_OPEN_FILES)
    there = archives.index(paths, numbers, threads=2) if paths else np.zeros((0, len(numbers)), bool)
    return there, numbers, archives, paths


def _plan(folder: pathlib.Path) -> Plan:
    return _loaded(folder, (folder / index.PACKING / "plan.json").stat().st_mtime_ns)


@functools.lru_cache(8)
def _loaded(folder: pathlib.Path, changed: int) -> Plan:
    del changed
    return plan.load(folder)


@functools.lru_cache(8)
def _capture(source: str) -> Capture:
    return ava256.load(pathlib.Path(source))


def _bits(there: np.ndarray) -> np.ndarray:
    """Bool [S, frames] as bits, u8 [frames, ceil(S / 8)]."""
    return np.packbits(there.T, axis=1) if len(there) else np.zeros((there.shape[1], 0), np.uint8)


def _to_disk(path: pathlib.Path) -> None:
    """Waits until the disk has it."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
