"""Packs captures into ArrayRecord shards, with processes of this machine; `beam` does the same on a cluster.

What is packed reads as the zips do, through `archives.RecordArchives`: `docs/guide/pack.md`.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing.connection
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import tqdm

from ava_jax.captures import ava256, reading
from ava_jax.captures.multiface import recording as multiface
from ava_jax.captures.packed import crop, index, plan, shards
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.packed.plan import Plan, Settings
from ava_jax.core import amounts
from ava_jax.data import files
from ava_jax.data.workers import Workers

SHARD_BYTES = 1 << 28
_SAMPLED = 4  # images encoded to know about how large all will be
_SPARE = 1.05  # of the disk space that is thought to be needed
_NAMED = 3


class Job(NamedTuple):
    """What is to be done.

    Attributes:
      out: the set's folder.
      settings: of the set.
      sources: folders of the captures, in order.
    """

    out: pathlib.Path
    settings: Settings
    sources: tuple[pathlib.Path, ...]

    def folder(self, source: pathlib.Path) -> pathlib.Path:
        """Where a capture goes."""
        return self.out / source.name


class Report(NamedTuple):
    """What was done.

    Attributes:
      captures: in the set.
      records: in it.
      bytes: of its shards.
      sensor: (height, width), pixels that calibrations refer to; cropped, of the crop.
      unreadable: files of the source that could not be read, a line each; they are not in the set.
      left_out: files beside frames and images that would not fit cropped images, by name.
    """

    captures: int
    records: int
    bytes: int
    sensor: tuple[int, int]
    unreadable: list[str]
    left_out: list[str]


def pack(data: str, out: pathlib.Path, settings: Settings, *, ids: str = "", jobs: int = 1, shard_bytes: int = SHARD_BYTES) -> Report:
    """Packs the captures below a folder; called again, goes on where it was stopped.

    Args:
      data: their folder.
      out: folder to write: new, or one that the same call was at before.
      settings: what is made of images.
      ids: CSV of those to pack, as `config.data.ids`; "" = all.
      jobs: processes.
      shard_bytes: about how large a shard is, of the source's bytes.

    Raises:
      ValueError: a setting, the folders, or a capture's files are not as they must be.
      OSError: the disk is full, or fails.
    """
    job = prepare(data, out, settings, ids=ids, shard_bytes=shard_bytes)
    with _Pool(jobs) as each:
        if settings.crop:
            for _ in each(crop.measure, [(job.folder(source), source) for source in job.sources if _is_open(job, source)]):
                pass
        decide(job)
        require_space(job)
        _pack_all(job, each)
    return report(job)


def downsample_of(height: int, data: str, ids: str = "") -> int:
    """The downsample at which images of captures have a height, pixels.

    Raises:
      ValueError: there is none, or there are no captures.
    """
    return plan.downsample_of(height, ava256.load(_sources(data, ids)[0]).sensor)


def _sources(data: str, ids: str) -> tuple[pathlib.Path, ...]:
    if "://" in data:
        raise ValueError(f"--data={data}: captures on a server cannot be packed; download them first.")
    found = tuple(folder.absolute() for folder in ava256.find(data, ids))
    if others := [folder for folder in found if multiface.is_one(folder)]:
        raise ValueError(
            f"{others[0]}: a capture of multiface: ava multiface pack packs it for the deep appearance model; the universal model reads it "
            "as it is (--ids leaves it out here)."
        )
    return found


def find(data: str, out: pathlib.Path, ids: str = "") -> tuple[pathlib.Path, ...]:
    """Folders of the captures to pack, absolute; writes nothing. Arguments as of `pack`.

    Raises:
      ValueError: there are none, or `out` would be among them.
    """
    sources = _sources(data, ids)
    root = sources[0].parent.resolve()
    if out.resolve() == root or out.resolve().is_relative_to(root) and out.resolve().parent != root:
        raise ValueError(f"--out={out} is inside the captures of --data={data}; take a folder elsewhere.")
    return sources


def prepare(data: str, out: pathlib.Path, settings: Settings, *, ids: str = "", shard_bytes: int = SHARD_BYTES) -> Job:
    """Plans what is not planned yet. Arguments and errors as of `pack`."""
    sources = find(data, out, ids)
    root = sources[0].parent
    known = plan.read_set(out)
    if known is not None and known["settings"] != dataclasses.asdict(settings):
        flags = [f"--{name}={value}" for name, value in known["settings"].items() if value != getattr(settings, name)]
        raise ValueError(f"{out}: was begun with {' '.join(flags)}; give the same, or take another --out.")
    job = Job(out, settings, sources)
    plans = {source: plan.make(ava256.load(source), settings, shard_bytes) for source in sources}
    out.mkdir(parents=True, exist_ok=True)
    names = {source.name for source in sources} | set(known["captures"] if known else [])
    plan.write_set(out, settings, sorted(names), known["crop"] if known else None)
    if (topology := root / ava256.TOPOLOGY).is_file() and not (out / ava256.TOPOLOGY).is_file():
        files.replace(out / ava256.TOPOLOGY, topology.read_bytes())
    for source, how in plans.items():
        folder = job.folder(source)
        before = _fingerprint(folder)
        if before is None:
            (folder / "decoder").mkdir(parents=True, exist_ok=True)
            plan.save(folder, how)
        elif before != how.fingerprint:
            raise ValueError(f"{source}: has changed since {folder} was begun; remove that and pack again.")
        _clean(folder)
    return job


def decide(job: Job) -> None:
    """Decides on sizes and crops of the captures that are still to be packed, and keeps them in their plans.

    Raises:
      ValueError: no image can be read, or a capture that joins the set needs larger crops than it has.
    """
    todo = [source for source in job.sources if _is_open(job, source)]
    settings = job.settings
    if not todo or not (settings.crop or settings.downsample):
        return
    known = plan.read_set(job.out) or {}
    chosen = known.get("crop")
    first = ava256.load(todo[0])
    scale = settings.downsample or (chosen["scale"] if chosen else crop.stored_scale(RecordArchives(), first))
    size = first.image_size(scale)
    if min(size) < 1:
        raise ValueError(f"--downsample={scale} leaves nothing of images of {first.sensor[0]} x {first.sensor[1]} pixels.")
    found = {source: crop.measured(job.folder(source)) for source in todo} if settings.crop else {}
    if settings.crop and not chosen:
        height, width = crop.decide({source.name: boxes for source, boxes in found.items()}, scale, size, settings.margin)
        chosen = {"height": height, "width": width, "scale": scale}
        plan.write_set(job.out, settings, known["captures"], chosen)
    for source in todo:
        folder = job.folder(source)
        how = dataclasses.replace(plan.load(folder), scale=scale, size=size)
        if chosen:
            cut = (chosen["height"], chosen["width"])
            try:
                corners = crop.corners(found[source], list(found[source]), scale, size, cut, settings.margin)
            except ValueError as e:
                raise ValueError(f"{source}: {e}, and {job.out} has crops of {cut[0]} x {cut[1]}; take another --out for all.") from e
            how = dataclasses.replace(how, crops=corners, crop_size=cut)
        if how != plan.load(folder):
            plan.save(folder, how)


def work(job: Job) -> list[tuple[pathlib.Path, str, int]]:
    """Arguments of `shards.pack_shard` for all shards that are not there yet."""
    todo = []
    for source in job.sources:
        if _is_open(job, source):
            folder = job.folder(source)
            how = plan.load(folder)
            todo += [(folder, kind, i) for kind in plan.KINDS for i in range(len(how.shards[kind])) if shards.note(folder, kind, i) is None]
    return todo


def unfinished(job: Job) -> list[pathlib.Path]:
    """Folders of the captures that `shards.finish` is still to be called for."""
    return [job.folder(source) for source in job.sources if _is_open(job, source)]


def require_space(job: Job) -> None:
    """Refuses to begin what the disk has no room for.

    Raises:
      ValueError: see above.
    """
    todo = work(job)
    if not todo:
        return
    plans = {folder: plan.load(folder) for folder, _, _ in todo}
    ratio = _ratio(next(iter(plans.values()))) if job.settings.encodes else 1.0
    needed = sum(plans[folder].nominal(kind, i) * (ratio if kind == "image" else 1.0) for folder, kind, i in todo) * _SPARE
    free = shutil.disk_usage(job.out).free
    if needed > free:
        raise ValueError(
            f"{job.out}: about {amounts.size(needed)} are needed, {amounts.size(free)} are free. --downsample and --crop make it less."
        )


def report(job: Job) -> Report:
    """Of all the captures of a job, which are packed.

    Raises:
      ValueError: one is not.
    """
    count = size = 0
    unreadable, left_out, sensor = [], set(), ava256.SENSOR
    for source in job.sources:
        if index.find(job.folder(source)) is None:
            raise ValueError(f"{job.folder(source)}: is not packed.")
        found = json.loads((job.folder(source) / index.FILE).read_text())
        for parts in found["shards"].values():
            count, size = count + sum(part["records"] for part in parts), size + sum(part["bytes"] for part in parts)
        unreadable += found["unreadable"]
        left_out |= set(found["left_out"])
        sensor = tuple(found["sensor"])
    return Report(len(job.sources), count, size, sensor, unreadable, sorted(left_out))


def _pack_all(job: Job, each: Callable[..., Iterator[Any]]) -> None:
    """Packs all shards that are to be packed, and finishes each capture when its last one is there."""
    todo = work(job)
    plans = {folder: plan.load(folder) for folder in unfinished(job)}
    left = {folder: sum(f == folder for f, _, _ in todo) for folder in plans}
    total = sum(how.nominal(kind, i) for how in plans.values() for kind in plan.KINDS for i in range(len(how.shards[kind])))
    sizes = {item: plans[item[0]].nominal(item[1], item[2]) for item in todo}
    done = total - sum(sizes.values())
    with tqdm.tqdm(total=total, initial=done, desc="ava pack", unit="B", unit_scale=True, dynamic_ncols=True, disable=not todo) as bar:
        for folder in [folder for folder, count in left.items() if not count]:
            shards.finish(folder)
        for item, _ in each(shards.pack_shard, todo):
            bar.update(sizes[item])
            left[item[0]] -= 1
            if not left[item[0]]:
                shards.finish(item[0])


class _Pool:
    """Calls a function with many arguments, in so many processes; gives (arguments, result) as they come."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._workers = jobs, None

    def __enter__(self) -> Callable[[Callable[..., Any], Iterable[Sequence[Any]]], Iterator[tuple[Any, Any]]]:
        if self._jobs > 1:
            self._workers = Workers(self._jobs, initializer=_end_with_parent)
            self._workers.__enter__()
        return self._each

    def __exit__(self, *exc: Any) -> None:
        if self._workers is not None:
            self._workers.__exit__(*exc)

    def _each(self, function: Callable[..., Any], arguments: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, Any]]:
        if self._workers is None:
            yield from ((item, function(*item)) for item in arguments)
            return
        pending = {self._workers.submit(function, *item): item for item in arguments}
        for future in concurrent.futures.as_completed(pending):
            yield pending[future], future.result()


def _end_with_parent() -> None:
    """Ends this process when the one that started it ends, killed or not: it must not write what another run writes by then."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (multiprocessing.connection.wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _is_open(job: Job, source: pathlib.Path) -> bool:
    """Whether a capture is still to be packed, wholly or in part."""
    folder = job.folder(source)
    return not (folder / index.FILE).is_file()


def _clean(folder: pathlib.Path) -> None:
    """Takes away what a process that was killed left in the folder of a capture, and in that above it."""
    if (folder / index.FILE).is_file():
        shutil.rmtree(folder / index.PACKING, ignore_errors=True)
    for rest in (*folder.parent.glob(".*.*"), *folder.rglob(".*")):  # but for the lock, which has one dot
        rest.unlink(missing_ok=True)


def _fingerprint(folder: pathlib.Path) -> dict[str, int] | None:
    """Of the source that a capture was begun with, or was packed from; None where nothing was begun."""
    if (folder / index.FILE).is_file():
        return json.loads((folder / index.FILE).read_text())["fingerprint"]
    return plan.load(folder).fingerprint if (folder / index.PACKING / "plan.json").is_file() else None


def _sample(source: str, streams: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """A few images of a capture: stream, content."""
    capture, archives = ava256.load(pathlib.Path(source)), RecordArchives()
    found = []
    for stream in streams[:: max(len(streams) // _SAMPLED, 1)][:_SAMPLED]:
        path = index.path_of(capture.decoder.parent, stream)
        there = reading.members(archives, capture, [path], threads=1)[0]
        for frame in capture.frames[there][:1].tolist():
            found.append((stream, archives.read(path, frame) or b""))
    return found


def _ratio(how: Plan) -> float:
    """About how large images are when they are encoded anew, of what they are: by a few of them; 1 where none can be read."""
    before = after = 0
    try:
        for stream, data in _sample(how.source, how.streams["image"]):
            after += len(shards.encoded(data, stream, how))
            before += len(data)
    except ValueError:  # packing names it
        pass
    return after / before if before else 1.0
