"""A few samples that training never sees, scored now and then while it runs."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Source
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import Prediction, Score, Task
from ava_jax.train import config as configs
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
    best: Score  # that the best checkpoint is kept by
    evaluate: Callable[[TrainState, Batch], dict[str, np.ndarray]]

    @staticmethod
    def of(config: ml_collections.ConfigDict, task: Task, assets: Assets, graphdef, constants, sharding) -> "Validation | None":
        """None where the config asks for no validation, or the task has no scores or holds nothing out of training.

        Raises:
          ValueError: the task has no score of the name `train.best_score`.
        """
        train = config.train
        if not (train.validate_every and train.validate_samples and task.scores and (splits := task.eval_splits(assets))):
            return None
        best = _named(task, train.best_score)
        split = splits[0]
        source = task.source(split, assets)
        few = min(train.validate_samples, len(source))
        chosen = _Few(source, tuple(int(i) for i in np.linspace(0, len(source) - 1, few).round()))

        @jax.jit
        def predict(params: Packed, running: nnx.State, constants: nnx.State, batch: Batch) -> Prediction:
            return task.predict(states.merge(Split(graphdef, params.tree(), running, constants)), batch)

        def evaluate(state: TrainState, batch: Batch) -> dict[str, np.ndarray]:
            prediction = predict(state.params, state.running, constants, steps.put(batch, sharding))
            return task.score(jax.device_get(prediction), batch, assets)

        batch_size = min(task.sampling(split).batch_size, few)
        return Validation(split, chosen, batch_size, config.data.read_threads, best, evaluate)

    def __str__(self) -> str:
        return f"{len(self.source)} samples of {self.split}"

    def check(self, state: TrainState) -> None:
        """Scores a batch: what would end a run at its first validation ends it before.

        Raises:
          ValueError: no sample can be read.
        """
        batch, _ = next(self._batches())
        self.evaluate(state, batch)

    def scores(self, state: TrainState) -> dict[str, float]:
        """Means over the samples for which a score is defined; NaN where there is none."""
        rows: dict[str, list[Any]] = {}
        for batch, count in self._batches():
            for name, values in self.evaluate(state, batch).items():
                rows.setdefault(name, []).extend(np.asarray(values, np.float64)[:count])
        return {name: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan") for name, values in rows.items()}

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        return pipeline.read_in_order(self.source, self.batch_size, threads=self.threads)


def _named(task: Task, name: str) -> Score:
    known = {score.name: score for score in task.scores}
    plain = name.removeprefix("-")
    if plain not in known:
        hint = configs.nearest(plain, known)
        raise ValueError(f"config.train.best_score must be a score of the task, {', '.join(known)}; got {name!r}.{hint}")
    return known[plain]
