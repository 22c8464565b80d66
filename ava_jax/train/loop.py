"""The training loop: prepare or resume, iterate, log, take pictures, save."""

import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import HasCaptions, Task, load_task
from ava_jax.train import config as configs
from ava_jax.train import record
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.feed import Feed
from ava_jax.train.logging import EventLog, Meter, Terminal
from ava_jax.train.state import Split, TrainState

_PICTURE_SAMPLES = 4


@dataclasses.dataclass(frozen=True)
class _Run:
    """What stays the same from the first step to the last."""

    config: ml_collections.ConfigDict
    task: Task
    assets: Assets
    source: Source
    constants: nnx.State
    place: Callable[[Batch], Batch]  # a batch onto the devices
    step: steps.StepFn
    pictures: Callable[[TrainState], dict[str, jax.Array]]


def train(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> int:
    """Trains what the config names, or goes on from the latest checkpoint in `workdir`; returns the steps taken in all.

    On SIGINT or SIGTERM it finishes the step, saves and returns.

    Raises:
      ValueError: the config does not fit the data, the devices or the run in workdir; or a loss became NaN or infinite.
      FileNotFoundError: the data are not there.
    """
    workdir = pathlib.Path(workdir)
    _validate(config)
    with _Interrupt() as interrupt:
        with Checkpoints(workdir) as saved:
            latest = saved.latest()
            if latest is not None:
                _check_resumable(saved.about(latest).config, config, workdir)
                if latest >= config.train.steps:
                    print(f"{workdir}: done already: {latest} of {config.train.steps} steps. --config.train.steps=... trains on.")
                    return latest
            run, state, iterator = _build(config, saved, latest)
        record.write(workdir, config, run.task, run.assets, first=latest or 0)
        with (
            Checkpoints(workdir, write=True, keep=config.train.keep_checkpoints) as checkpoints,
            EventLog(workdir, resumed_at=latest or 0) as events,
            Feed(iterator, run.place) as feed,
        ):
            return _Loop(run, state, checkpoints, events, feed, interrupt).go()


def _validate(config: ml_collections.ConfigDict) -> None:
    for key in ("steps", "batch_size", "log_every", "picture_every", "checkpoint_every", "keep_checkpoints"):
        if config.train[key] < 1:
            raise ValueError(f"config.train.{key} must be at least 1; got {config.train[key]}.")


def _check_resumable(saved: ml_collections.ConfigDict, given: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    different = configs.differences(saved, given)
    if different:
        raise ValueError(
            f"{workdir} holds a run of another config; it differs in {'; '.join(different)}. "
            "Take another --workdir, or the config of that run."
        )


def _build(
    config: ml_collections.ConfigDict, saved: Checkpoints, latest: int | None
) -> tuple[_Run, TrainState, pipeline.BatchIterator]:
    """The run, its state on the devices and the iterator of its data: new, or as they were saved at step `latest`."""
    task = load_task(config)
    assets = task.prepare() if latest is None else saved.assets(latest)
    source, sampling = task.source("train", assets), task.sampling("train")
    iterator = pipeline.iterator(source, sampling, seed=config.seed, threads=config.data.read_threads)
    mesh = steps.device_mesh(sampling.batch_size)
    everywhere, split = steps.replicated(mesh), steps.sharded(mesh)
    parts = states.split(task.model(assets, rngs=states.model_rngs(config.seed)))
    constants = jax.device_put(parts.constants, everywhere)
    optimizer = task.optimizer(config.train.steps, max(1, len(source) // sampling.batch_size))
    state = jax.device_put(states.initial_state(parts, optimizer, config.seed), everywhere)
    if latest is not None:
        state, position = saved.restore_training(latest, state)
        iterator.set_state(position)
    run = _Run(
        config=config,
        task=task,
        assets=assets,
        source=source,
        constants=constants,
        place=lambda batch: jax.device_put(batch, split),
        step=steps.make_step(task, optimizer, parts.graphdef, config.loss_weights, mesh),
        pictures=_picture_taker(config, task, assets, parts.graphdef, constants, source, sampling, everywhere),
    )
    print(_summary(run, state, latest or 0), flush=True)
    return run, state, iterator


def _picture_taker(config, task, assets, graphdef, constants, source, sampling, sharding) -> Callable[[TrainState], dict[str, jax.Array]]:
    """Pictures of a state on a few samples, the same ones all through the run."""
    few = min(_PICTURE_SAMPLES, len(source))
    one_pass = dataclasses.replace(sampling, batch_size=few, shuffle=True, epochs=1, drop_remainder=False)

    @jax.jit
    def draw(params: nnx.State, running: nnx.State, constants: nnx.State, batch: Batch):
        return task.pictures(states.merge(Split(graphdef, params, running, constants)), batch)

    def take(state: TrainState) -> dict[str, jax.Array]:
        # Read anew each time: rare, and cheaper than keeping a batch on the device.
        batch = next(pipeline.iterator(source, one_pass, seed=config.seed, threads=0))
        drawn = draw(state.params, state.running, constants, jax.device_put(batch, sharding))
        return task.draw_pictures(drawn, batch, assets) if isinstance(task, HasCaptions) else drawn

    return take


def _summary(run: _Run, state: TrainState, first: int) -> str:
    config, source, sampling = run.config, run.source, run.task.sampling("train")
    devices = jax.local_devices()
    names = ", ".join(f"{len(values)} {name}" for name, values in run.assets.names.items())
    lines = {
        "task": config.task,
        "model": f"{states.count(state.params):,} parameters",
        "data": f"{len(source):,} samples ({names})",
        "steps": f"{config.train.steps:,} of {sampling.batch_size} samples"
        + (f", resuming after {first:,}" if first else f" ({config.train.steps * sampling.batch_size / len(source):.1f} epochs)"),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }
    return "\n".join(f"{name + ':':9}{value}" for name, value in lines.items())


class _Loop:
    """The steps of a run: what changes while it goes."""

    def __init__(
        self, run: _Run, state: TrainState, checkpoints: Checkpoints, events: EventLog, feed: Feed, interrupt: "_Interrupt"
    ):
        self.run, self.state, self.config = run, state, run.config.train
        self.checkpoints, self.events, self.feed, self.interrupt = checkpoints, events, feed, interrupt
        self.taken = self.saved = int(state.step)
        self.position: Any = None  # the iterator's, after the last step's batch
        self.pending: dict[str, Any] | None = None  # metrics of the step that the devices are still at
        self.meter = Meter()
        self.terminal = Terminal(self.taken, self.config.steps)

    def go(self) -> int:
        """Steps until the last, the end of the data or an interrupt; returns the steps taken in all."""
        with self.terminal:
            batch, position = self.feed.take()
            step = self._compile(batch) if batch is not None else None
            self.meter.clear()
            self.terminal.begin()
            while batch is not None:
                self.state, metrics = step(self.state, self.run.constants, batch)
                self._settle()  # the step before, while the devices are at this one
                self.taken, self.pending, self.position = self.taken + 1, metrics, position
                if self.taken >= self.config.steps or self.interrupt.requested:
                    break
                self._report()
                batch, position = self._next_batch()
            self._settle()
            self._report(last=True)
        self.checkpoints.wait()
        passed_over = [f"{count} {reason}" for reason, count in self.run.source.counts.items() if count and reason != "listed"]
        if passed_over:
            print(f"samples passed over: {', '.join(passed_over)}, of {len(self.run.source)}")
        print(self._outcome())
        return self.taken

    def _outcome(self) -> str:
        if self.taken >= self.config.steps:
            return f"done: {self.taken} steps; checkpoints and pictures are in {self.checkpoints.folder.parent}"
        if self.interrupt.requested:
            return f"stopped by {self.interrupt.requested}: step {self.taken} is saved; the same command goes on from there"
        return f"the data ended after step {self.taken} of {self.config.steps}"

    def _compile(self, batch: Batch) -> steps.StepFn:
        self.terminal.say("compiling the step ...")
        start = time.perf_counter()
        compiled = self.run.step.lower(self.state, self.run.constants, batch).compile()
        self.terminal.say(f"compiling the step took {time.perf_counter() - start:.1f} s")
        return compiled

    def _next_batch(self) -> tuple[Batch | None, Any]:
        if not self.feed.ready():
            # Only what remains once the devices are idle too is time lost to data.
            self._settle()
            with self.meter.waiting():
                return self.feed.take()
        return self.feed.take()

    def _settle(self) -> None:
        """Waits for the pending step and takes in its metrics.

        Raises:
          ValueError: a loss is NaN or infinite.
        """
        if self.pending is None:
            return
        metrics, self.pending = jax.device_get(self.pending), None
        for name, value in {**metrics["losses"], "the weighted sum": metrics["loss"]}.items():
            if not np.isfinite(value):
                saved = f"the last checkpoint is of step {self.saved}" if self.saved else "there is no checkpoint yet"
                raise ValueError(f"step {self.taken}: the loss {name} is {value}; {saved}. A lower learning rate may help.")
        losses = {f"loss/{name}": float(value) for name, value in metrics["losses"].items()}
        scalars = {"loss": float(metrics["loss"]), **losses}
        scalars |= {f"gradient/{name}": float(metrics[name]) for name in ("norm", "nonfinite")}
        scalars |= {"learning_rate": float(metrics["learning_rate"])} if "learning_rate" in metrics else {}
        self.meter.add(scalars)
        self.terminal.advance(self._shown(scalars))

    def _shown(self, scalars: dict[str, float]) -> dict[str, float]:
        """The few values for the terminal: the weighted sum and the term of the largest weight."""
        main = max(self.run.config.loss_weights, key=self.run.config.loss_weights.get)
        return {"loss": scalars["loss"], main: scalars[f"loss/{main}"]}

    def _report(self, *, last: bool = False) -> None:
        """Logs, draws and saves what is due after the step just dispatched; everything, after the last."""
        log, draw, save = (
            last or self.taken % every == 0
            for every in (self.config.log_every, self.config.picture_every, self.config.checkpoint_every)
        )
        if not (log or draw or save):
            return
        self._settle()
        if log and self.meter.steps:
            self._log()
        with self.meter.aside():
            if draw:
                self.events.pictures(self.taken, self.run.pictures(self.state))
            if save and self.saved != self.taken:
                self.checkpoints.save(self.state, self.position, self.run.assets, self.run.config)
                self.saved = self.taken

    def _log(self) -> None:
        means, rate = self.meter.means(), self.meter.steps / self.meter.seconds
        batch_size = self.run.task.sampling("train").batch_size
        speed = {"speed/samples_per_second": rate * batch_size, "speed/share_waiting_for_data": self.meter.share_waiting}
        counts = {f"data/{reason}": float(count) for reason, count in self.run.source.counts.items()}
        self.events.scalars(self.taken, means | speed | counts)
        self.terminal.report(self.taken, self._shown(means), steps_per_second=rate, waiting=self.meter.share_waiting)
        self.meter.clear()


class _Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one acts as it always does. A context manager."""

    def __init__(self) -> None:
        self.requested = ""  # the signal's name
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupt":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc) -> None:
        self._restore()

    def _request(self, number: int, frame: Any) -> None:
        self.requested = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
