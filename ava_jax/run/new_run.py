"""Runs that commands make: of a model which was not trained here, or trained on the way to something else."""

import pathlib

import ml_collections
from flax import nnx

from ava_jax.core.types import Assets
from ava_jax.tasks.base import load_task
from ava_jax.train import loop, plan, record
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints, restore_model
from ava_jax.train.patience import Patience


def write_run(config: ml_collections.ConfigDict, assets: Assets, model: nnx.Module, workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes the checkpoint of step 0 of a new run, and the record of its start.

    The run is evaluated like any other, and `ava train` with the same config and folder goes on from it: with a fresh optimizer, from
    the start of its data.

    Args:
      config: the whole experiment's; names the task.
      assets: the task's, as its `prepare` gives them.
      model: as the task's `model` makes it, with values of its own.
      workdir: a folder that is new, or holds no run.

    Returns:
      The run's folder.

    Raises:
      ValueError: it holds a run already.
      OSError: it cannot be written.
    """
    workdir = pathlib.Path(workdir)
    with Checkpoints(workdir) as there:
        if there.steps():
            raise ValueError(f"{workdir} holds a run already; take another --workdir.")
    plan.bring_up_to_date(config)  # as training does: the same config goes on from it
    task = load_task(config, restore=restore_model)
    # How many steps there will be is not known where epochs are counted; what an optimizer begins with does not depend on it.
    optimizer = task.optimizer(max(config.train.steps, 1), 1)
    spike_terms = len(config.train.get("spike_terms", ()))
    how = {"trainable": config.train.trainable, "spike_window": config.train.spike_window, "spike_terms": spike_terms}
    state = states.initial_state(states.split(model), optimizer, config.seed, **how)
    record.write(workdir, config, task, assets, first=0)
    with Checkpoints(workdir, write=True) as checkpoints:
        checkpoints.save(state, None, assets, config)
    return workdir


def train_run(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> bool:
    """Trains what a config of a given number of steps names, or goes on where it stopped.

    Returns:
      Whether it came to its end: its last step, or as many validations without a better one as `train.patience` allows.

    Raises:
      ValueError, OSError: as of `loop.train`.
    """
    taken = loop.train(config, workdir)
    with Checkpoints(workdir) as saved:
        patience = Patience(config.train.patience, saved.scores(), taken, config.train.validate_every)
    return taken >= config.train.steps or patience.over
