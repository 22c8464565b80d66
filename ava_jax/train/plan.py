"""What a run is made of, built from its config or from a checkpoint before the first step."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import TRAIN, Task, load_task
from ava_jax.train import config as configs
from ava_jax.train import processes
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.checkpoint import Checkpoints, restore_model
from ava_jax.train.initialization import start_from
from ava_jax.train.optimization import Parameters
from ava_jax.train.state import Split, TrainState
from ava_jax.train.validation import Validation

_PICTURE_SAMPLES = 4
_AT_LEAST = {
    1: ("steps", "batch_size", "log_every", "picture_every", "checkpoint_every", "keep_checkpoints", "spike_window", "spike_steps"),
    0: ("keep_best", "validate_every", "validate_samples", "max_recoveries"),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last."""

    config: ml_collections.ConfigDict
    task: Task
    assets: Assets
    source: Source
    sampling: Sampling
    constants: nnx.State
    place: Callable[[Batch], Batch]  # a batch onto the devices
    step: steps.StepFn
    pictures: Callable[[TrainState], dict[str, jax.Array]]
    validation: Validation | None


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run begins or goes on: the state on the devices, the iterator of its data, what it went back from so far."""

    state: TrainState
    iterator: pipeline.BatchIterator
    recoveries: list[dict[str, Any]]
    resumed: bool


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks what the loop itself reads of a config, after giving it the keys that it lacks as it is of an older version.

    Raises:
      ValueError: a key is missing or its value makes no sense.
    """
    with configs.naming_missing_keys("the config"):
        configs.migrate(config)
        train = config.train
        for least, keys in _AT_LEAST.items():
            for key in keys:
                if train[key] < least:
                    raise ValueError(f"config.train.{key} must be at least {least}; got {train[key]}.")
        if train.spike_factor and not train.spike_factor > 1:
            raise ValueError(f"config.train.spike_factor must be over 1, or 0 for never; got {train.spike_factor}.")
        if not train.best_score.removeprefix("-"):
            raise ValueError("config.train.best_score must name a score, as in 'psnr', or '-l1' where less is better; got ''.")


def check_resumable(saved: ml_collections.ConfigDict, given: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses to go on with a run under a config that it was not begun with.

    Raises:
      ValueError: they differ in what is learned; the message names each key with both values.
    """
    different = configs.differences(saved, given)
    if different:
        raise ValueError(
            f"{workdir} holds a run of another config; it differs in {'; '.join(different)}. "
            "Take another --workdir, or the config of that run."
        )


def build(config: ml_collections.ConfigDict, saved: Checkpoints, latest: int | None) -> tuple[Run, Start]:
    """The run, and where it starts: new, or as it was saved at step `latest`.

    Raises:
      ValueError: the config does not fit the data or the devices, or lacks a key.
      FileNotFoundError: the data are not there.
    """
    with configs.naming_missing_keys("the config"):
        return _build(config, saved, latest)


def _build(config: ml_collections.ConfigDict, saved: Checkpoints, latest: int | None) -> tuple[Run, Start]:
    task = load_task(config, restore=restore_model)
    assets = task.prepare() if latest is None else saved.assets(latest)
    # Another split is learned from as this one is: in a new order every epoch, without end.
    source, sampling = task.source(config.train.split, assets), task.sampling(TRAIN)
    share = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    iterator = pipeline.iterator(source, sampling, seed=config.seed, threads=config.data.read_threads, **share)
    mesh = steps.device_mesh(sampling.batch_size)
    everywhere, split = steps.replicated(mesh), steps.sharded(mesh)
    parts = states.split(task.model(assets, rngs=states.model_rngs(config.seed)))
    if latest is None and config.train.init_from:
        parts, taken = start_from(parts, config.train.init_from, config.train.init_filter)
        print(taken, flush=True)
    constants = steps.put(parts.constants, everywhere)
    optimizer = task.optimizer(config.train.steps, max(1, len(source) // sampling.batch_size))
    how = {"trainable": config.train.trainable, "spike_window": config.train.spike_window}
    state = steps.put(states.initial_state(parts, optimizer, config.seed, **how), everywhere)
    recoveries: list[dict[str, Any]] = []
    if latest is not None:
        state, position = saved.restore_training(latest, state)
        _resume_data(iterator, position)
        recoveries = saved.recoveries(latest)
    function = steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh, spike_factor=config.train.spike_factor)
    run = Run(
        config=config,
        task=task,
        assets=assets,
        source=source,
        sampling=sampling,
        constants=constants,
        place=lambda batch: jax.tree.map(lambda share: jax.make_array_from_process_local_data(split, share), batch),
        step=steps.make_step(function, mesh),
        pictures=_picture_taker(config, task, assets, parts.graphdef, constants, source, sampling, everywhere),
        validation=Validation.of(config, task, assets, parts.graphdef, constants, everywhere),
    )
    return run, Start(state, iterator, recoveries, latest is not None)


def _resume_data(iterator: pipeline.BatchIterator, positions: Any) -> None:
    """Goes to this process's place: a checkpoint of one process has its position, one of several has theirs, a list."""
    positions = positions if isinstance(positions, list) else [positions]
    if len(positions) != jax.process_count():
        raise ValueError(f"the saved run read its data in {len(positions)} processes; resume it in as many, not in {jax.process_count()}.")
    iterator.set_state(positions[jax.process_index()])


def _picture_taker(config, task, assets, graphdef, constants, source, sampling, sharding) -> Callable[[TrainState], dict[str, jax.Array]]:
    """Pictures of a state on a few samples, the same ones all through the run."""
    few = min(_PICTURE_SAMPLES, len(source))
    one_pass = dataclasses.replace(sampling, batch_size=few, shuffle=True, epochs=1, drop_remainder=False)

    @jax.jit
    def draw(params: Parameters, running: nnx.State, constants: nnx.State, batch: Batch):
        return task.pictures(states.merge(Split(graphdef, params.tree(), running, constants)), batch)

    def take(state: TrainState) -> dict[str, jax.Array]:
        # Read anew each time: rare, and cheaper than keeping a batch on the device.
        batch = next(pipeline.iterator(source, one_pass, seed=config.seed, threads=0))
        drawn = draw(state.params, state.running, constants, steps.put(batch, sharding))
        return task.draw_pictures(drawn, batch, assets)

    return take


def summary(run: Run, start: Start) -> str:
    """Model, data and plan, a line each."""
    config, source, batch = run.config, run.source, run.sampling.batch_size
    first = int(start.state.step)
    names = ", ".join(f"{len(values)} {name}" for name, values in run.assets.names.items())
    params = jax.eval_shape(Parameters.tree, start.state.params)
    largest = sorted(((states.count(part), name) for name, part in params.items()), reverse=True)
    parts = ", ".join(f"{name} {count:,}" for count, name in largest)
    epochs = config.train.steps * batch / len(source)
    lines = {
        "task": config.task,
        "model": f"{states.count(start.state.params):,} parameters ({parts})" + _frozen(start.state.params),
        "data": f"{len(source):,} samples ({names})",
        "steps": f"{config.train.steps:,} of {batch} samples ({epochs:.1f} epochs)"
        + (f", resuming after {first:,}" if start.resumed else ""),
        "plan": _plan(run, start.state),
        "devices": _devices(start.state, batch),
    }
    return "\n".join(f"{name + ':':9}{value}" for name, value in lines.items())


def _frozen(params: Parameters) -> str:
    count = states.count(params.frozen)
    return f", of which {count:,} do not learn" if count else ""


def _devices(state: TrainState, batch: int) -> str:
    devices, used = jax.devices(), len(state.step.sharding.device_set)
    processes_ = f", of {jax.process_count()} processes" if processes.several() else ""
    if used == len(devices):
        return f"{used} x {devices[0].device_kind}{processes_}"
    return f"{used} of {len(devices)} x {devices[0].device_kind}: as many as divide a batch of {batch}; the others stay idle"


def _plan(run: Run, state: TrainState) -> str:
    train = run.config.train
    validation = f"validation on {run.validation} every {train.validate_every:,}" if run.validation else "no validation"
    kept = f"the last {train.keep_checkpoints} kept" + (f" and the best {train.keep_best} by {best_by(run)}" if train.keep_best else "")
    bytes_each = size(checkpoint_bytes(state, run.assets))
    return (
        f"a log line every {train.log_every:,} steps, pictures every {train.picture_every:,}, {validation}, "
        f"a checkpoint of about {bytes_each} every {train.checkpoint_every:,} ({kept})"
    )


def best_by(run: Run) -> str:
    """What the best checkpoints are chosen by, in words."""
    if run.validation is None:
        return "the training loss, the less the better"
    name = run.config.train.best_score
    return f"validation {name.removeprefix('-')}" + (", the less the better" if name.startswith("-") else "")


def checkpoint_bytes(state: TrainState, assets: Assets) -> int:
    """What a checkpoint's arrays hold, uncompressed."""
    arrays = [leaf for leaf in jax.tree.leaves(state._replace(key=None)) if isinstance(leaf, jax.Array)]
    return sum(leaf.nbytes for leaf in arrays) + sum(np.asarray(a).nbytes for a in assets.arrays.values())


def size(count: float) -> str:
    """'562 MB', of bytes."""
    unit, by = next((u, n) for u, n in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1)) if count >= n or n == 1)
    return f"{count / by:.3g} {unit}"


def score(run: Run, validated: Mapping[str, float] | None, mean_loss: float | None) -> float | None:
    """What the checkpoint of a step competes with for being kept, the higher the better; None where it does not."""
    if run.validation is not None:
        name = run.config.train.best_score
        value = None if validated is None else validated[name.removeprefix("-")]
        value = -value if value is not None and name.startswith("-") else value
    else:
        value = None if mean_loss is None else -mean_loss
    return value if value is not None and math.isfinite(value) else None
