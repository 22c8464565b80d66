"""Inference over a data set as an Apache Beam pipeline: the same function per mesh, on machines that all see the run and the folders."""

import json
import os
import pathlib
import secrets
from collections.abc import Sequence
from typing import Any

from ava_jax.data import beam as beams
from ava_jax.tasks.ldif.apps.reconstruct import Output, Run, Work

_networks: dict[Run, Any] = {}  # of this process: a worker restores a run once


def write(run: Run, works: Sequence[Work], output: Output, *, runner: str, options: Sequence[str] = ()) -> list[str]:
    """Writes the surface of each.

    Args:
      run: whose network looks at them; workers restore it from its folder.
      works: their files are on a file system that all workers see by these paths.
      output: how surfaces are written.
      runner: as Beam names it: DirectRunner, FlinkRunner, SparkRunner, DataflowRunner, ...
      options: of the pipeline, as in "--flink_master=host:8081".

    Returns:
      A line for each that could not be used, sorted.

    Raises:
      ValueError: Beam is not installed or knows no such runner.
      OSError: a file cannot be written.
    """
    beam = beams.module()
    if not works:
        return []
    out = pathlib.Path(_common([work.target.parent for work in works]))
    out.mkdir(parents=True, exist_ok=True)
    told = f".faults-{secrets.token_hex(4)}"
    items = [(str(work.given.absolute()), str(work.target.absolute())) for work in works]
    try:
        with beams.pipeline(runner, options) as p:
            outcomes = p | beam.Create(items, reshuffle=False) | beam.Reshuffle() | beam.Map(_one, run, output)
            lines = outcomes | beam.Filter(bool) | beam.Map(json.dumps)
            _ = lines | beam.io.WriteToText(str(out.absolute() / told), num_shards=1)
        return sorted(json.loads(line) for path in out.glob(f"{told}*") for line in path.read_text().splitlines())
    finally:
        for path in out.glob(f"{told}*"):
            path.unlink()


def _one(item: tuple[str, str], run: Run, output: Output) -> str:
    """Its fault; "" where it was written."""
    if run not in _networks:
        _networks[run] = run.open()
    outcome = _networks[run].write(Work(*map(pathlib.Path, item)), output)
    return outcome.line if outcome.fault else ""


def _common(folders: Sequence[pathlib.Path]) -> str:
    return os.path.commonpath([folder.absolute() for folder in folders])
