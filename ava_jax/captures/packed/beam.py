"""The same packing as an Apache Beam pipeline, for clusters whose machines all see the two folders: Flink, Spark, Dataflow, one machine.

Beam is an extra, `pip install "ava-jax[beam]"`; nothing else of the package needs it. The shards are those of `pack.pack`, byte for byte:
each is made by the same function from the same plan, which this machine writes before the pipeline starts.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from ava_jax.captures.packed import crop, shards
from ava_jax.captures.packed import pack as packing
from ava_jax.captures.packed.pack import SHARD_BYTES, Report
from ava_jax.captures.packed.plan import Settings
from ava_jax.data import beam as beams


def pack(
    data: str,
    out: pathlib.Path,
    settings: Settings,
    *,
    runner: str,
    options: Sequence[str] = (),
    ids: str = "",
    shard_bytes: int = SHARD_BYTES,
) -> Report:
    """As `pack.pack`, by a runner of Beam.

    Args:
      data, out, settings, ids, shard_bytes: as there; the folders are on a file system that all workers see by these paths.
      runner: as Beam names it: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, ...
      options: of the pipeline, as in "--flink_master=host:8081".

    Raises:
      ValueError: Beam is not installed or knows no such runner; or as `pack.pack`.
    """
    beam = beams.module()
    job = packing.prepare(data, out.absolute(), settings, ids=ids, shard_bytes=shard_bytes)
    if settings.crop:
        sources = {job.folder(source): source for source in job.sources}
        items = [(str(folder), str(sources[folder])) for folder in packing.unfinished(job)]
        with beams.pipeline(runner, options) as p:
            _ = p | beam.Create(items, reshuffle=False) | beam.Reshuffle() | beam.Map(_measure)
    packing.decide(job)
    packing.require_space(job)
    todo = [(str(folder), kind, number) for folder, kind, number in packing.work(job)]
    whole = [str(folder) for folder in packing.unfinished(job)]
    with beams.pipeline(runner, options) as p:
        written = p | "shards" >> beam.Create(todo, reshuffle=False) | "spread" >> beam.Reshuffle() | "pack" >> beam.Map(_pack_shard)
        begun = p | "captures" >> beam.Create([(folder, 0) for folder in whole], reshuffle=False)
        _ = (written, begun) | beam.Flatten() | "by capture" >> beam.GroupByKey() | "finish" >> beam.Map(_finish)
    return packing.report(job)


def _measure(item: tuple[str, str]) -> None:
    crop.measure(pathlib.Path(item[0]), pathlib.Path(item[1]))


def _pack_shard(item: tuple[str, str, int]) -> tuple[str, int]:
    """Packs it; its capture's folder, by which shards are gathered."""
    folder, kind, number = item
    shards.pack_shard(pathlib.Path(folder), kind, number)
    return folder, 1


def _finish(item: tuple[str, Any]) -> str:
    """A capture whose shards have all come."""
    shards.finish(pathlib.Path(item[0]))
    return item[0]
