"""The Task protocol: everything the training loop, the checkpoints and the evaluation know of a task.

A config names its task as `module:Class`; `load_task` builds it. A new task is one folder and one config and touches
nothing else. A task imports from {data, nn, ops, losses, metrics} -> core; never from another task, `train` or `run`.
"""

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import ml_collections
import numpy as np
import optax
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Array, Assets, Batch

# One term of a loss: values [B, ...] and a mask that broadcasts against them, or None for all ones.
# The loop weighs (config.loss_weights) and averages: sum(values * mask) / sum(mask), over the batch of all devices.
LossTerm = tuple[Array, Array | None]


class Task(Protocol):
    """What the loop asks of a task. `config` is the whole experiment's config."""

    config: ml_collections.ConfigDict

    def prepare(self) -> Assets:
        """Reads what must be known of the data before training: statistics, topology, names."""

    def source(self, split: str, assets: Assets) -> Source:
        """Samples of a split. Every task has "train"; `eval_splits` lists the others."""

    def sampling(self, split: str) -> Sampling:
        """Order and batch size in which a split is read."""

    @property
    def eval_splits(self) -> Sequence[str]:
        """Splits beside "train" that hold any sample."""

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> nnx.Module:
        """A fresh model: `nnx.Param`, `core.variables.Running` and `core.variables.Constant` variables only."""

    def loss(self, model: nnx.Module, batch: Batch, *, step: jax.Array, key: jax.Array) -> dict[str, LossTerm]:
        """Unreduced terms by name, values [B, ...] each; names as in `config.loss_weights`.

        Traced under `shard_map` over `core.parallel.BATCH_AXIS`: `batch` is one device's share. May move `Running` variables,
        to the same value on every device.
        """

    def optimizer(self, steps: int, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
        """Gradients to updates, both packed (`train.packing`): {path: large array}, and the small ones together in a vector.

        `update` is also called with `loss=`, the weighted sum.
        """

    def evaluate(self, model: nnx.Module, batch: Batch) -> dict[str, Array]:
        """Scores, one row a sample: name -> [B]. Traced by jit; NaN where a score is not defined for a sample.

        Best and worst samples are told by the first score that each has: more of it is better.
        """

    def describe(self, batch: Batch, assets: Assets) -> list[dict[str, Any]]:
        """What each sample of a batch is, for tables: [{"identity": ..., "camera": ..., "segment": ..., "frame": ...}]."""

    def pictures(self, model: nnx.Module, batch: Batch) -> dict[str, Array]:
        """Progress pictures: name -> uint8 [H, W, 3]. Traced by jit. Of a task that `HasCaptions`: whatever its `draw_pictures` takes."""


@runtime_checkable
class HasCaptions(Protocol):
    """A task that lays its progress pictures out and writes on them, which traced code cannot."""

    def draw_pictures(self, pictures: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """What `Task.pictures` made of a batch, as name -> uint8 [H, W, 3]."""


def load_task(config: ml_collections.ConfigDict) -> Task:
    """Builds the task that `config.task` names as `module:Class`.

    Raises:
      ValueError: the name has no colon, or names no module or class.
    """
    module, colon, name = config.task.partition(":")
    if not colon:
        raise ValueError(f"config.task must be 'module:Class', as in 'ava_jax.tasks.ava256.task:Ava256'; got {config.task!r}.")
    try:
        return getattr(importlib.import_module(module), name)(config)
    except ModuleNotFoundError as e:
        if e.name and module.startswith(e.name):
            raise ValueError(f"config.task = {config.task!r}: there is no module {e.name!r}.") from e
        raise
    except AttributeError as e:
        if not hasattr(importlib.import_module(module), name):
            raise ValueError(f"config.task = {config.task!r}: {module} has no class {name!r}.") from e
        raise
