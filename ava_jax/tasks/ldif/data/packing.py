"""Packs prepared examples, or the published tools' records, into a set of shards; gone on with where it was stopped."""

import concurrent.futures
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from ava_jax.core.sampling import thin
from ava_jax.data import files
from ava_jax.data.workers import Workers
from ava_jax.tasks.ldif.data import compact, packed, reading, tfrecords


class Report(NamedTuple):
    """What was packed: examples, bytes, and a line for each that could not be read."""

    examples: int
    size: int
    faults: tuple[str, ...]


class _Work(NamedTuple):
    """A shard to be written: of prepared examples, folders below `root`, or of a file of the published records."""

    path: pathlib.Path
    root: pathlib.Path
    lines: tuple[str, ...] = ()
    records: pathlib.Path | None = None


def pack(data: pathlib.Path, out: pathlib.Path, *, jobs: int) -> Report:
    """Packs every split that a folder lists. Shards that are whole are kept.

    Args:
      data: a folder of `ava ldif prepare`; or one with SPLIT/SPLIT-00000-of-00009.tfrecords, as published.
      out: the set; is made.
      jobs: processes.

    Raises:
      ValueError: there is nothing to be packed, examples differ in their sizes, or `out` holds a set of something else.
      OSError: the disk is full, or something cannot be read.
    """
    works = _prepared(data, out) or _published(data, out)
    if not works:
        raise ValueError(f"{data}: holds neither SPLIT.txt of prepared examples nor SPLIT/SPLIT-00000-of-00009.tfrecords.")
    source = "" if works[0][1].records else str(data.absolute())
    before = packed.read(out)
    if before is not None and before.examples != source:
        raise ValueError(f"{out}: a set packed from {before.examples or 'published records'}; choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    faults = []
    with tqdm.tqdm(total=len(works), desc="ldif pack", unit="shard") as bar:
        for found in _all([work for _, work in works], jobs):
            faults += found
            for line in found:
                bar.write(line, file=sys.stderr)
            bar.update()
    return _finish(out, works, source, tuple(faults))


def _prepared(data: pathlib.Path, out: pathlib.Path) -> list[tuple[str, _Work]]:
    works = []
    for split, lines in reading.lists(data).items():
        count = -(-len(lines) // packed.SHARD)
        for number in range(count):
            own = tuple(lines[number * packed.SHARD : (number + 1) * packed.SHARD])
            works.append((split, _Work(packed.shard_path(out, split, number, count), data, own)))
    return works


def _published(data: pathlib.Path, out: pathlib.Path) -> list[tuple[str, _Work]]:
    works = []
    for folder in sorted(path for path in data.glob("*") if path.is_dir()):
        found = sorted(folder.glob(f"{folder.name}-*-of-*.tfrecords"))
        for number, path in enumerate(found):
            works.append((folder.name, _Work(packed.shard_path(out, folder.name, number, len(found)), data, (), path)))
    return works


def _all(works: Sequence[_Work], jobs: int) -> Iterator[list[str]]:
    if min(jobs, len(works)) == 1:
        yield from map(_pack, works)
        return
    with Workers(min(jobs, len(works))) as pool:
        for future in concurrent.futures.as_completed([pool.submit(_pack, work) for work in works]):
            yield future.result()


def _pack(work: _Work) -> list[str]:
    """Writes a shard; a line for each example that could not be read."""
    wanted = [str(work.records)] if work.records else list(work.lines)
    if work.path.is_file() and packed.Shard(work.path).wanted == wanted:
        return []
    rows, names, faults = [], [], []
    for name, read in _examples(work):
        try:
            rows.append(read())
            names.append(name)
        except ValueError as e:
            faults.append(str(e))
    if not rows:
        raise ValueError(
            f"{wanted[0]}: of this shard's {len(faults)} examples none can be read. The first: {faults[0] if faults else 'none'}"
        )
    packed.write_shard(work.path, rows, names, wanted)
    return faults


def _examples(work: _Work) -> Iterator[tuple[str, Callable[[], dict[str, np.ndarray]]]]:
    """(CLASS/NAME, what reads its tensors)."""
    if work.records is None:
        for line in work.lines:
            folder = work.root / line
            yield "/".join(line.strip("/").split("/")[-2:]), lambda folder=folder: tensors(reading.read(folder, image=True))
        return
    for one in tfrecords.read(work.records):
        yield one.name, lambda one=one: tensors(one.sample)


def tensors(sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A sample of `reading.read` as `packed` has it: name -> array of any shape."""
    near, uniform, points = sample["near"], sample["uniform"], sample["points"]
    far = compact.reach(near[:, :3], uniform[:, :3], points[:, :3])
    inside = np.concatenate([uniform[uniform[:, 3] < 0, :3], np.zeros((1, 3), np.float32)])
    out = {
        "depth": compact.pack_depth(sample["depth"]),
        "near": compact.pack_samples(near, far),
        "uniform": compact.pack_samples(uniform, far),
        "points": compact.pack_points(points[thin(len(points), reading.POINTS)], far),
        "grid": sample["grid"],
        "world_to_grid": sample["world_to_grid"],
        "reach": far,
        "inside_box": np.stack([inside.min(0), inside.max(0)]),
    }
    return {**out, "image": sample["image"]} if "image" in sample else out


def _finish(out: pathlib.Path, works: Sequence[tuple[str, _Work]], source: str, faults: tuple[str, ...]) -> Report:
    """Writes the lists and packed.json."""
    counts: dict[str, list[int]] = {}
    lines: dict[str, list[str]] = {}
    samples = set()
    for split, work in works:
        shard = packed.Shard(work.path)
        counts.setdefault(split, []).append(len(shard.names))
        lines.setdefault(split, []).extend(f"{split}/{name}/\n" for name in shard.names)
        samples.add(min(shard.tensors[name].shape[1] for name in ("near", "uniform")))
    if len(samples) > 1:
        raise ValueError(f"{out}: shards have {' and '.join(map(str, sorted(samples)))} samples per example; they must have as many.")
    for split, own in lines.items():
        files.replace(out / f"{split}.txt", "".join(own))
    packed.write_record(out, packed.PackedSet(source, samples.pop(), counts))
    return Report(sum(map(sum, counts.values())), sum(work.path.stat().st_size for _, work in works), faults)
