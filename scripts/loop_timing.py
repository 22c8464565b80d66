"""How long a step of a run takes, alone and through the loop: what `bench_loop.py` and `bench_scaling.py` measure."""

import contextlib
import io
import pathlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from ava_jax.train import loop, plan
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.feed import DeviceBatch

INTERVALS = 5  # log lines of a run; the first compiles and warms up
_LINE = re.compile(r"([\d.]+) steps/s  devices idle ([\d.]+)%  waiting for data ([\d.]+)%")


def prepare(config: ConfigDict, interval: int) -> None:
    """Makes a config, in place, log every so many steps and do nothing else."""
    never = interval * 10**6
    with config.unlocked():
        config.train.update(steps=interval * INTERVALS, epochs=0, log_every=interval, picture_every=never, checkpoint_every=never)
        config.train.update(validate_every=0, max_recoveries=0, keep_best=0)


@contextlib.contextmanager
def ready(config: ConfigDict) -> Iterator[tuple[Callable, Any, DeviceBatch]]:
    """The run's own compiled program, its first state, and a batch that lies on the devices."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()), Checkpoints(pathlib.Path(folder)) as saved:
            plan.validate(config)
            run, start = plan.build(plan.open_data(config, saved, None), saved, None)
        with plan.feed(run, start) as feed:
            batch = feed.take()
            while batch.steps < run.cuts.longest:
                batch = feed.take()
        yield run.compile(start.state, batch), start.state, batch


def alone(config: ConfigDict, steps: int) -> float:
    """Seconds per step of the run's own program, on a batch that lies on the devices: the median of five rounds of `steps`, 100 at most."""
    with ready(config) as (program, state, batch):
        seconds = []
        for _ in range(1 + 5):  # the first warms up
            calls = max(1, min(steps, 100) // batch.steps)
            began = time.perf_counter()
            for _ in range(calls):
                state, metrics = program(state, batch.arrays)
            jax.block_until_ready(metrics)
            seconds.append((time.perf_counter() - began) / (calls * batch.steps))
    return statistics.median(seconds[1:])


def whole(config: ConfigDict) -> tuple[list[float], list[float], list[float]]:
    """Of each log interval but the first: steps per second, and percent of the time that the devices were idle, and waited for data."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        loop.train(config, folder)
    found = _LINE.findall(said.getvalue())[1:]
    if not found:
        raise RuntimeError(f"the loop logged no rates:\n{said.getvalue()}")
    rates, idle, waiting = ([float(line[i]) for line in found] for i in range(3))
    return rates, idle, waiting
