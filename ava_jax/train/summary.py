"""What a run says of itself when it starts: task, model, data, plan, devices."""

import jax
import numpy as np

from ava_jax.core.amounts import size
from ava_jax.core.types import Assets
from ava_jax.train import plan, processes
from ava_jax.train import state as states
from ava_jax.train.optimization import Parameters
from ava_jax.train.plan import Run, Start
from ava_jax.train.state import TrainState


def summary(run: Run, start: Start) -> str:
    """Model, data and plan, a line each."""
    config, source, batch = run.config, run.source, run.sampling.batch_size
    first = int(start.state.step)
    names = ", ".join(f"{len(values)} {name}" for name, values in run.assets.names.items())
    params = jax.eval_shape(Parameters.tree, start.state.params)
    largest = sorted(((states.count(part), name) for name, part in params.items()), reverse=True)
    parts = ", ".join(f"{name} {count:,}" for count, name in largest)
    lines = {
        "task": config.task,
        "model": f"{states.count(start.state.params):,} parameters ({parts})" + _frozen(start.state.params),
        "data": f"{len(source):,} samples ({names})" + (", held on the device" if run.resident is not None else ""),
        "steps": f"{run.steps:,} of {batch} samples ({_epochs(run)})" + (f", resuming after {first:,}" if start.resumed else ""),
        "plan": _plan(run, start.state),
        "devices": _devices(start.state, batch),
    }
    return "\n".join(f"{name + ':':9}{value}" for name, value in lines.items())


def _epochs(run: Run) -> str:
    given = plan.epochs(run.config)
    if given:
        return f"train.epochs = {given}, of {run.steps // given:,} steps each"
    return f"{run.steps * run.sampling.batch_size / len(run.source):.1f} epochs"


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
    best = f" and the best {train.keep_best} by {plan.best_by(run)}" if train.keep_best else ""
    kept = f"the last {train.keep_checkpoints} kept{best}"
    bytes_each = size(_checkpoint_bytes(state, run.assets))
    pictures = f"pictures every {train.picture_every:,}" if run.pictures is not None else "no pictures"
    together = f"up to {run.cuts.longest:,} steps per call, " if run.cuts.longest > 1 else ""
    return (
        f"{together}a log line every {train.log_every:,} steps, {pictures}, {validation}, "
        f"a checkpoint of about {bytes_each} every {train.checkpoint_every:,} ({kept})"
    )


def _checkpoint_bytes(state: TrainState, assets: Assets) -> int:
    """What a checkpoint's arrays hold, uncompressed."""
    arrays = [leaf for leaf in jax.tree.leaves(state._replace(key=None)) if isinstance(leaf, jax.Array)]
    return sum(leaf.nbytes for leaf in arrays) + sum(np.asarray(a).nbytes for a in assets.arrays.values())
