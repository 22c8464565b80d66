"""A few samples that training never sees, scored now and then while it runs."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.names import nearest
from ava_jax.core.sampling import Source, thin
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import Task
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.packing import Packed
from ava_jax.train.state import Split, TrainState


@dataclasses.dataclass(frozen=True)
class _Few:
    """Samples of a source, evenly spaced, as a source of its own."""

    source: Source
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Batch | None:
        return self.source[self.indices[index]]

    @property
    def counts(self) -> dict[str, int]:
        return {**self.source.counts, "listed": len(self)}


@dataclasses.dataclass(frozen=True)
class Validation:
    """Scores a state on the same few samples of the task's first evaluation split each time."""

    split: str
    source: _Few
    batch_size: int
    threads: int
    evaluate: Callable[[TrainState, Batch], dict[str, jax.Array]]

    @staticmethod
    def of(config: ml_collections.ConfigDict, task: Task, assets: Assets, graphdef, constants, sharding) -> "Validation | None":
        """None where the config asks for no validation, or the task holds nothing out of training.

        Raises:
          ValueError: the task has no score of the name `train.best_score`; or none of the samples can be read.
        """
        train = config.train
        if not (train.validate_every and train.validate_samples and task.eval_splits):
            return None
        split = task.eval_splits[0]
        source = task.source(split, assets)
        few = min(train.validate_samples, len(source))
        chosen = _Few(source, tuple(thin(len(source), few).tolist()))

        @jax.jit
        def scores(params: Packed, running: nnx.State, constants: nnx.State, batch: Batch):
            return task.evaluate(states.merge(Split(graphdef, params.tree(), running, constants)), batch)

        def evaluate(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
            return scores(state.params, state.running, constants, steps.put(batch, sharding))

        batch_size = min(task.sampling(split).batch_size, few)
        return Validation(split, chosen, batch_size, config.data.read_threads, evaluate)

    def __str__(self) -> str:
        return f"{len(self.source)} samples of {self.split}"

    def check_score(self, state: TrainState, name: str) -> None:
        """Whether the task has the score that the best checkpoint is to be kept by; traces, computes nothing.

        Raises:
          ValueError: it has none of this name; or no sample can be read.
        """
        batch, _ = next(self._batches())
        known = jax.eval_shape(self.evaluate, state, batch)
        if name.removeprefix("-") not in known:
            hint = nearest(name.removeprefix("-"), known)
            raise ValueError(f"config.train.best_score must be a score of the task, {', '.join(known)}; got {name!r}.{hint}")

    def scores(self, state: TrainState) -> dict[str, float]:
        """Means over the samples for which a score is defined; NaN where there is none."""
        rows: dict[str, list[Any]] = {}
        for batch, count in self._batches():
            for name, values in jax.device_get(self.evaluate(state, batch)).items():
                rows.setdefault(name, []).extend(np.asarray(values, np.float64)[:count])
        return {name: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan") for name, values in rows.items()}

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        return pipeline.read_in_order(self.source, self.batch_size, threads=self.threads)
