"""A few samples that training never sees, scored now and then while it runs."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.data.subset import Subset
from ava_jax.tasks.base import Prediction, Score, Task
from ava_jax.train import scores
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.state import Split, TrainState

_WITHOUT = "config.train.validate_samples = 0 goes without."


@dataclasses.dataclass(frozen=True)
class Validation:
    """Predicts and scores the same few samples of the task's first evaluation split each time.

    Attributes:
      task, assets: give the scores of a prediction.
      split: of which the samples are.
      source: the samples.
      batch_size: in which they are read.
      threads: that read them.
      best: the score that the best checkpoint is kept by.
      predict: compiled, of a state and a batch.
    """

    task: Task
    assets: Assets
    split: str
    source: Subset
    batch_size: int
    threads: int
    best: Score
    predict: Callable[[TrainState, Batch], Prediction]

    @staticmethod
    def of(config: ml_collections.ConfigDict, task: Task, assets: Assets, graphdef, constants, sharding) -> "Validation | None":
        """None where the config asks for no validation, or the task has no scores or holds nothing out of training.

        Raises:
          ValueError: the task has no score of the name `train.best_score`.
        """
        train = config.train
        splits = [split for split in task.eval_splits(assets) if not split.startswith("test")]
        if not (train.validate_every and train.validate_samples and task.scores and splits):
            return None
        best = scores.named(task, train.best_score)
        split = splits[0]
        try:
            source = task.source(split, assets)
        except ValueError as e:
            raise ValueError(f"validation: {e} {_WITHOUT}") from e
        few = Subset(source, tuple(thin(len(source), train.validate_samples).tolist()))

        @jax.jit
        def predict(params: Any, running: nnx.State, constants: nnx.State, batch: Batch) -> Prediction:
            return task.predict(states.merge(Split(graphdef, params.tree(), running, constants)), batch)

        def of_state(state: TrainState, batch: Batch) -> Prediction:
            return predict(state.params, state.running, constants, steps.put(batch, sharding))

        batch_size = min(task.sampling(split).batch_size, len(few))
        return Validation(task, assets, split, few, batch_size, config.data.read_threads, best, of_state)

    def __str__(self) -> str:
        return f"{len(self.source)} samples of {self.split}"

    def check(self, state: TrainState) -> None:
        """Reads a batch and traces its prediction, computes nothing: what would end a run at its first validation ends it before.

        Raises:
          ValueError: no sample can be read.
        """
        batch, _ = next(self._batches(), (None, 0))
        if batch is None:
            raise ValueError(f"validation: none of the {self} can be read; {_WITHOUT}")
        jax.eval_shape(self.predict, state, batch)

    def scores(self, state: TrainState) -> dict[str, float]:
        """Means over the samples for which a score is defined; NaN where there is none."""
        values: dict[str, list[float]] = {}
        for batch, count in self._batches():
            for name, found in scores.of_prediction(self.task, self.predict(state, batch), batch, self.assets).items():
                values.setdefault(name, []).extend(found[:count])
        return {name: float(np.nanmean(found)) if np.isfinite(found).any() else float("nan") for name, found in values.items()}

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        return pipeline.read_in_order(self.source, self.batch_size, threads=self.threads)
