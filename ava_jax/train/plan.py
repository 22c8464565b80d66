"""What a run is made of, built from its config or from a checkpoint before the first step."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
from flax import nnx

from ava_jax.core import binding
from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.data import pipeline
from ava_jax.data.workers import cores
from ava_jax.tasks.base import TRAIN, Task, load_task, task_class
from ava_jax.train import calls, initialization, resident
from ava_jax.train import config as configs
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.calls import Cuts
from ava_jax.train.checkpoint import Checkpoints, restore_model
from ava_jax.train.feed import DeviceBatch, Feed, ResumableIterator
from ava_jax.train.optimization import Parameters
from ava_jax.train.patience import Patience
from ava_jax.train.resident import Resident
from ava_jax.train.state import Split, TrainState
from ava_jax.train.validation import Validation

_PICTURE_SAMPLES = 4
_HELD_CALLS = 6  # whose batches are referred to at a time: read ahead, put on the devices, stepped over, and looked at after that
_AT_LEAST = {
    1: ("batch_size", "log_every", "checkpoint_every", "keep_checkpoints", "spike_window", "spike_steps"),
    0: ("picture_every", "keep_best", "validate_every", "validate_samples", "patience", "max_recoveries"),
}


@dataclasses.dataclass(frozen=True)
class Data:
    """What a run learns from.

    Attributes:
      config: the experiment's.
      task: of the config.
      assets: what is known of the data.
      source: the training split.
      sampling: how it is read.
      steps: the number of the last step: `train.steps`, or as many as `train.epochs` take.
      steps_per_epoch: as many batches as the split's samples fill, one at least.
    """

    config: ml_collections.ConfigDict
    task: Task
    assets: Assets
    source: Source
    sampling: Sampling
    steps: int
    steps_per_epoch: int


@dataclasses.dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last.

    Attributes:
      config, task, assets, source, sampling, steps: as in `Data`.
      cuts: how steps are cut into calls.
      resident: the training split on the devices; None: batches are read as they are needed.
      put_on_devices: what the steps of a call take, onto the devices.
      compile: makes the program for batches of as many steps as the one given.
      pictures: draws a state's pictures, u8 [H, W, 3] by name; None where the task has none.
      validation: scores a state; None where there is nothing to score, or not asked for.
    """

    config: ml_collections.ConfigDict
    task: Task
    assets: Assets
    source: Source
    sampling: Sampling
    steps: int
    cuts: Cuts
    resident: Resident | None
    put_on_devices: Callable[[Any], Any]
    compile: Callable[[TrainState, DeviceBatch], calls.Call]
    pictures: Callable[[TrainState], dict[str, Array]] | None
    validation: Validation | None

    def batch(self, read: Any) -> Batch:
        """The batch of a step on the host, name -> array [B, ...]; `read` is of `DeviceBatch.read`."""
        return read if self.resident is None else self.resident.batch(read)


@dataclasses.dataclass(frozen=True)
class Start:
    """Where a run begins or goes on: the state on the devices, the iterator of its data, what it went back from so far, its best score."""

    state: TrainState
    iterator: ResumableIterator
    recoveries: list[dict[str, Any]]
    resumed: bool
    patience: Patience


def feed(run: Run, start: Start) -> Feed:
    """Reads what the run's steps take, from its start on."""
    return Feed(start.iterator, run.put_on_devices, steps=run.cuts.steps, taken=int(start.state.step))


def validate(config: ml_collections.ConfigDict) -> None:
    """Checks what the loop itself reads of a config, after bringing one of an older version up to date.

    Lists become tuples and paths absolute, in place.

    Raises:
      ValueError: a key is missing or its value makes no sense.
    """
    with configs.naming_missing_keys("the config"):
        bring_up_to_date(config)
        train = config.train
        _validate_length(train)
        if per_call(config) < 1:
            raise ValueError(f"config.train.steps_per_call must be at least 1; got {per_call(config)}.")
        for least, keys in _AT_LEAST.items():
            for key in keys:
                if getattr(train, key) < least:
                    raise ValueError(f"config.train.{key} must be at least {least}; got {getattr(train, key)}.")
        if train.spike_factor and not train.spike_factor > 1:
            raise ValueError(f"config.train.spike_factor must be over 1, or 0 for never; got {train.spike_factor}.")
        if not train.best_score.removeprefix("-"):
            raise ValueError("config.train.best_score must name a score of the task, as in 'psnr'; got ''.")


def bring_up_to_date(config: ml_collections.ConfigDict) -> None:
    """Gives a config, in place, what this version needs: keys that older ones lacked, tuples of its lists, absolute paths.

    Raises:
      ValueError: a list has elements of another kind.
    """
    configs.migrate(config)
    task = task_class(config)
    task.migrate(config)
    configs.read_lists(config, configs.LISTS | task.lists)
    configs.make_absolute(config, task.paths, pathlib.Path.cwd())


def _validate_length(train: ml_collections.ConfigDict) -> None:
    epochs = train.get("epochs", 0)
    if epochs < 0:
        raise ValueError(f"config.train.epochs must be at least 0; got {epochs}.")
    if epochs and train.steps:
        raise ValueError(f"config.train.steps = {train.steps} and config.train.epochs = {epochs}: one decides; set the other to 0.")
    if not epochs and train.steps < 1:
        raise ValueError(f"config.train.steps must be at least 1; got {train.steps}. Or config.train.epochs says how long.")


def per_call(config: ml_collections.ConfigDict) -> int:
    """`train.steps_per_call`; 1 in configs of older versions, which do not have it."""
    return config.train.get("steps_per_call", 1)


def epochs(config: ml_collections.ConfigDict) -> int:
    """`train.epochs`, how often the training split is gone through; 0: `train.steps` counts, as in configs of older versions."""
    return config.train.get("epochs", 0)


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


def open_data(config: ml_collections.ConfigDict, saved: Checkpoints, latest: int | None) -> Data:
    """What the config's task learns from; resumed at step `latest`, with the assets that were saved.

    Raises:
      ValueError: the config does not fit the data, or lacks a key.
      FileNotFoundError: the data are not there.
    """
    with configs.naming_missing_keys("the config"):
        task = load_task(config, restore=restore_model)
        assets = task.prepare() if latest is None else _bound(task, saved, latest)
        # Another split is learned from as this one is: in a new order every epoch, without end.
        source = task.source(config.train.split, assets)
        # A step is compiled for batches of one size.
        sampling = dataclasses.replace(task.sampling(TRAIN), drop_remainder=True)
        steps_per_epoch = max(1, len(source) // sampling.batch_size)
        count = epochs(config) * steps_per_epoch or config.train.steps
    return Data(config, task, assets, source, sampling, count, steps_per_epoch)


def _bound(task: Task, saved: Checkpoints, latest: int) -> Assets:
    """The assets that a run began with, which the data at hand fit."""
    known, workdir = saved.assets(latest), saved.folder.parent
    try:
        now = task.prepare()
    except ValueError as e:  # of a config that they did fit once
        raise ValueError(f"{workdir}: the run goes on with the data that it was begun with alone, and those at hand differ: {e}") from e
    binding.check(known, now, workdir)
    return known


def build(found: Data, saved: Checkpoints, latest: int | None) -> tuple[Run, Start]:
    """The run, and where it starts: new, or as it was saved at step `latest`.

    Raises:
      ValueError: the config does not fit the data or the devices, or lacks a key; or the data do not fit onto the devices.
      FileNotFoundError: the data are not there.
    """
    with configs.naming_missing_keys("the config"):
        return _build(found, saved, latest)


def _build(found: Data, saved: Checkpoints, latest: int | None) -> tuple[Run, Start]:
    config, task, assets = found.config, found.task, found.assets
    mesh = steps.device_mesh(found.sampling.batch_size)
    everywhere = steps.replicated(mesh)
    parts = states.split(task.model(assets, rngs=states.model_rngs(config.seed)))
    if latest is None and config.train.init_from:
        parts, taken = initialization.start_from(
            parts, config.train.init_from, config.train.init_filter, names=assets.names, per_name=task.per_name
        )
        print(taken, flush=True)
        initialization.warn_of_other_arrays(config.train.init_from, assets, task.bound_arrays)
    constants = steps.put(parts.constants, everywhere)
    optimizer = task.optimizer(found.steps, found.steps_per_epoch)
    spike_terms = config.train.get("spike_terms", ())  # only configs of tasks that judge terms have it
    how = {"trainable": config.train.trainable, "spike_window": config.train.spike_window, "spike_terms": len(spike_terms)}
    state = steps.put(states.initial_state(parts, optimizer, config.seed, **how), everywhere)
    recoveries: list[dict[str, Any]] = []
    position = None
    if latest is not None:
        state, positions = saved.restore_training(latest, state)
        position, recoveries = _own_position(positions), saved.recoveries(latest)
    validation = Validation.of(config, task, assets, parts.graphdef, constants, everywhere)
    pictures = _picture_taker(found, parts.graphdef, constants, everywhere)
    held = _held(found, everywhere)
    guard = {"spike_factor": config.train.spike_factor, "spike_terms": spike_terms}
    function = steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh, **guard)
    run = Run(
        config=config,
        task=task,
        assets=assets,
        source=found.source,
        sampling=found.sampling,
        steps=found.steps,
        cuts=_cuts(found, pictures is not None, validation is not None),
        resident=held,
        put_on_devices=calls.put_on_devices(mesh),
        compile=calls.Compiler(function, mesh, constants, held.arrays if held is not None else {}).compile,
        pictures=pictures,
        validation=validation,
    )
    # A run without validation does not end before its last step; configs of older versions do not say.
    most = config.train.get("patience", 0) if validation is not None else 0
    patience = Patience(most, saved.scores(), latest or 0, config.train.validate_every)
    return run, Start(state, _iterator(found, held, position), recoveries, latest is not None, patience)


def _held(found: Data, everywhere: jax.sharding.NamedSharding) -> Resident | None:
    config = found.config.data
    if not config.get("on_device", False):  # configs of older versions do not have it
        return None
    return resident.load(found.source, everywhere, threads=config.read_threads, unit=found.task.sample_name)


def _iterator(found: Data, held: Resident | None, position: Mapping[str, Any] | None) -> ResumableIterator:
    """Of batches, or of indices where the samples are held on the devices; where it was, if there is a position."""
    settings = {"seed": found.config.seed, "process_index": jax.process_index(), "process_count": jax.process_count(), "like": position}
    if held is not None:
        iterator = pipeline.index_iterator(found.source, found.sampling, readable=held.readable, **settings)
    else:
        data = found.config.data
        readers = min(data.get("read_processes", 0) * jax.local_device_count(), cores())
        held = _HELD_CALLS * per_call(found.config)
        iterator = pipeline.iterator(found.source, found.sampling, threads=data.read_threads, readers=readers, held=held, **settings)
    if position is not None:
        iterator.set_state(position)
    return iterator


def _cuts(found: Data, pictures: bool, validation: bool) -> Cuts:
    train = found.config.train
    due = [train.log_every, train.checkpoint_every]
    due += [train.picture_every] if pictures else []
    due += [train.validate_every] if validation else []
    return Cuts(per_call(found.config), tuple(due), found.steps)


def _own_position(positions: Any) -> dict[str, Any]:
    """This process's position in the data: a checkpoint of one process has its own, one of several has theirs, a list."""
    positions = positions if isinstance(positions, list) else [positions]
    if len(positions) != jax.process_count():
        raise ValueError(f"the saved run read its data in {len(positions)} processes; resume it in as many, not in {jax.process_count()}.")
    return positions[jax.process_index()]


def _picture_taker(found: Data, graphdef, constants, sharding) -> Callable[[TrainState], dict[str, Array]] | None:
    """Pictures of a state on a few samples, the same ones all through the run; None where the task has none, or none is asked for."""
    task = found.task
    if type(task).pictures is Task.pictures or not found.config.train.picture_every:
        return None
    few = min(_PICTURE_SAMPLES, len(found.source))
    one_pass = dataclasses.replace(found.sampling, batch_size=few, shuffle=True, epochs=1, drop_remainder=False)

    @jax.jit
    def draw(params: Parameters, running: nnx.State, constants: nnx.State, batch: Batch):
        return task.pictures(states.merge(Split(graphdef, params.tree(), running, constants)), batch)

    def take(state: TrainState) -> dict[str, Array]:
        # Read anew each time: rare, and cheaper than keeping a batch on the device.
        batch = next(pipeline.iterator(found.source, one_pass, seed=found.config.seed, threads=0), None)
        if batch is None:
            raise ValueError(f"pictures: none of the {len(found.source)} samples of {found.source!r} can be read.")
        drawn = draw(state.params, state.running, constants, steps.put(batch, sharding))
        return task.draw_pictures(drawn, batch, found.assets) if drawn else {}

    return take


def best_by(run: Run) -> str:
    """What the best checkpoints are chosen by, in words."""
    if run.validation is None:
        return "the training loss, the less the better"
    best = run.validation.best
    return f"validation {best.name}" + ("" if best.higher_is_better else ", the less the better")


def score(run: Run, validated: Mapping[str, float] | None, mean_loss: float | None) -> float | None:
    """What the checkpoint of a step competes with for being kept, the higher the better; None where it does not."""
    if run.validation is not None:
        best = run.validation.best
        value = None if validated is None else validated[best.name]
        value = -value if value is not None and not best.higher_is_better else value
    else:
        value = None if mean_loss is None else -mean_loss
    return value if value is not None and math.isfinite(value) else None
