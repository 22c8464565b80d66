"""`ava-train --check`: everything that a run needs, tried once before it is begun."""

import pathlib
import resource
import shutil
import tempfile
import time

import jax
import ml_collections
import numpy as np

from ava_jax.core import amounts
from ava_jax.tasks.base import load_task
from ava_jax.train import calls, plan, summary
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.feed import Feed
from ava_jax.train.logging import clock
from ava_jax.train.plan import Run, Start
from ava_jax.train.state import TrainState


def check(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Builds the run, takes two steps, saves, restores and compares; prints sizes, times, memory and disk.

    What it writes, it writes on the disk of `workdir` and removes again, but for pictures of the data, which the task draws into `workdir`.

    Raises:
      ValueError: something does not fit, a loss is not finite, what was restored differs or the disk is too small.
      FileNotFoundError: the data are not there.
      OSError: the disk cannot be written to.
    """
    workdir = pathlib.Path(workdir).resolve()
    plan.validate(config)
    with Checkpoints(workdir) as saved:
        latest = saved.find() if saved.steps() else None
        if latest is not None:
            plan.check_resumable(saved.about(latest).config, config, workdir)
        pictures = load_task(config).draw_check(workdir)
        for path in pictures:
            _say("picture", str(path))
        began = time.perf_counter()
        run, start = plan.build(plan.open_data(config, saved, latest), saved, latest)
    print(summary.summary(run, start), flush=True)
    _say("building", f"{time.perf_counter() - began:.1f} s")
    disk = next(folder for folder in (workdir, *workdir.parents) if folder.is_dir())
    folder = pathlib.Path(tempfile.mkdtemp(prefix=".ava-train-check-", dir=disk))
    try:
        with plan.feed(run, start) as feed:
            state, position = _two_steps(run, start, feed)
        size = _save_and_restore(run, state, position, folder)
    finally:
        shutil.rmtree(folder)
    _check_disk(config, disk, size)
    left = "nothing but the picture" if pictures else "nothing"
    print(f"check passed: one step, one save, one restore; {left} was left behind")


def _say(what: str, text: str) -> None:
    print(f"{what + ':':<9} {text}", flush=True)


def _two_steps(run: Run, start: Start, feed: Feed) -> tuple[TrainState, object]:
    """The state after two steps, the second of which is timed: the first also touches memory for the first time."""
    began = time.perf_counter()
    fed = feed.take()
    if fed is None:
        raise ValueError(f"the data end before the first batch of {run.sampling.batch_size} samples.")
    used = amounts.size(sum(array.nbytes for array in jax.tree.leaves(run.batch(fed.read[0]))))
    _say("batch", f"{time.perf_counter() - began:.1f} s to the first, {used}")
    began = time.perf_counter()
    if run.validation is not None:
        run.validation.check(start.state)
    compiled = run.compile(start.state, fed)
    _say("compiling", f"{time.perf_counter() - began:.1f} s")
    state, seconds, position = start.state, 0.0, fed.positions[-1]
    for _ in range(2):
        began = time.perf_counter()
        state, metrics = compiled(state, fed.arrays)
        metrics = calls.by_step(jax.device_get(metrics), fed.steps)
        seconds = (time.perf_counter() - began) / fed.steps
        worst = int(np.argmin(metrics["applied"]))  # the first that was not applied
        metrics = jax.tree.map(lambda values, i=worst: values[i], metrics)
        if not metrics["applied"]:
            terms = ", ".join(f"{name} {float(value):.4g}" for name, value in metrics["losses"].items())
            raise ValueError(f"the first step's loss cannot be learned from: {terms}.")
    _say("step", f"{seconds:.3g} s, loss {float(metrics['loss']):.4g}; {clock(seconds * run.steps)} for all, without the rest")
    used = [stats["peak_bytes_in_use"] for d in jax.local_devices() if (stats := d.memory_stats()) and "peak_bytes_in_use" in stats]
    host = amounts.size(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    _say("memory", f"{host} of the host at most" + (f", {amounts.size(max(used))} of a device" if used else ""))
    return state, position


def _save_and_restore(run: Run, state: TrainState, position: object, folder: pathlib.Path) -> int:
    """Bytes of a checkpoint on disk."""
    with Checkpoints(folder, write=True) as checkpoints:
        began = time.perf_counter()
        checkpoints.save(state, position, run.assets, run.config)
        blocked = time.perf_counter() - began
        checkpoints.wait()
        saving = time.perf_counter() - began
        began = time.perf_counter()
        step = checkpoints.find()
        verifying = time.perf_counter() - began
        restored, back = checkpoints.restore_training(step, state)
        restoring = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    _say("save", f"{amounts.size(size)} in {saving:.2f} s, of which training waits {blocked:.2f} s")
    _say("restore", f"{restoring:.2f} s, of which {verifying:.2f} s to verify")
    if back != position or not _same(state, restored):
        raise ValueError(f"what was restored from {folder} differs from what was saved: disk or memory is not to be trusted.")
    return size


def _same(a: TrainState, b: TrainState) -> bool:
    pairs = zip(jax.tree.leaves(a._replace(key=jax.random.key_data(a.key))), jax.tree.leaves(b._replace(key=jax.random.key_data(b.key))))
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def _check_disk(config: ml_collections.ConfigDict, disk: pathlib.Path, size: int) -> None:
    """Room for the checkpoints that are kept, and the one being written.

    Raises:
      ValueError: there is not.
    """
    count = config.train.keep_checkpoints + config.train.keep_best + 1
    free, need = shutil.disk_usage(disk).free, count * size
    _say("disk", f"{amounts.size(need)} for {count} checkpoints, {amounts.size(free)} free at {disk}")
    if free < need:
        raise ValueError(
            f"{disk}: {count} checkpoints need {amounts.size(need)}, and {amounts.size(free)} are free. Free space, or keep fewer."
        )
