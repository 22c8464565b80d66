"""Scores of a trained model on the splits that it never saw: a row an image, with the best and the worst kept to be looked at."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import tqdm
from flax import nnx

from ava_jax.core.sampling import Source
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import Task

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]  # `run.inference.Inference.compile`
EXAMPLES = 4  # of the best and of the worst samples of a split


class Example(NamedTuple):
    """A sample worth looking at.

    Attributes:
      label: "best" or "worst", with the score that says so.
      row: its row of the report.
      sample: its arrays, without the batch axis.
    """

    label: str
    row: dict[str, Any]
    sample: Batch


@runtime_checkable
class HasBaseline(Protocol):
    """A task that knows the best answer which no learning is needed for."""

    def baseline(self, assets: Assets) -> Callable[[Batch], dict[str, np.ndarray]]:
        """Scores of that answer: batch -> score -> [B], with names of `Task.evaluate`; the gain is taken in the first one."""


@runtime_checkable
class HasArtefacts(Protocol):
    """A task that writes more than scores."""

    def write_artefacts(self, compile_model: Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes files into a folder that exists, and names them. `compile_model(fn)` makes a function of `args` from `fn(model, *args)`."""


@runtime_checkable
class HasExamples(Protocol):
    """A task that can show samples beside what the model makes of them."""

    def write_examples(self, compile_model: Compile, best: Sequence[Example], worst: Sequence[Example], path: pathlib.Path) -> None:
        """Draws them, as many of either kind, into a JPEG at `path`. `compile_model` as for `HasArtefacts`."""


class SplitReport(NamedTuple):
    """What became of one split.

    Attributes:
      rows: one an image: what `Task.describe` and `Task.evaluate` say of it.
      scores: names of the columns that are scores.
      baseline: names of the columns that are the baseline's scores, `baseline_<score>`; () without one.
      unreadable: samples of the split that could not be read.
      best, worst: EXAMPLES samples at most by the first score that each has; () where the task cannot show them.
    """

    rows: list[dict[str, Any]]
    scores: tuple[str, ...]
    baseline: tuple[str, ...]
    unreadable: int
    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()


def evaluate(task: Task, assets: Assets, compile_model: Compile, splits: Sequence[str], *, threads: int) -> dict[str, SplitReport]:
    """Scores every readable sample of the splits.

    Raises:
      ValueError: there is no split, one is not the task's, or one has no sample that can be read.
    """
    if not splits:
        raise ValueError("evaluate: this run held nothing out of training, so there is nothing to score.")
    if unknown := [split for split in splits if split not in task.eval_splits]:
        have = ", ".join(task.eval_splits) or "none, as it held nothing out of training"
        raise ValueError(f"evaluate: there is no split {unknown[0]!r} to score; this run has {have}.")
    score = _compile_scores(task, compile_model)
    baseline = task.baseline(assets) if isinstance(task, HasBaseline) else lambda batch: {}
    return {split: _evaluate_split(split, task, assets, task.source(split, assets), score, baseline, threads=threads) for split in splits}


def _compile_scores(task: Task, compile_model: Compile) -> Callable[[Batch], dict[str, Array]]:
    """`task.evaluate` compiled. Its scores keep their order, which tables show: jit sorts the names of what it returns."""
    order: dict[str, None] = {}

    def trace(model: nnx.Module, batch: Batch) -> dict[str, Array]:
        scores = task.evaluate(model, batch)
        order.update(dict.fromkeys(scores))
        return scores

    compiled = compile_model(trace)

    def score(batch: Batch) -> dict[str, Array]:
        scores = compiled(batch)
        return {name: scores[name] for name in order}

    return score


def _evaluate_split(
    split: str, task: Task, assets: Assets, source: Source, score: Callable, baseline: Callable, *, threads: int
) -> SplitReport:
    rows: list[dict[str, Any]] = []
    scores: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    extremes = _Extremes(EXAMPLES) if isinstance(task, HasExamples) else None
    with tqdm.tqdm(total=len(source), desc=split, unit="image") as bar:
        for batch, count in pipeline.read_in_order(source, task.sampling(split).batch_size, threads=threads):
            ours = score(batch)
            if not rows:
                bar.unpause()  # what came before was compiling, which says nothing of the time left
            theirs = {f"baseline_{name}": values for name, values in baseline(batch).items()}
            scores, reference = tuple(ours), tuple(theirs)
            columns = {name: np.asarray(values, np.float64) for name, values in {**ours, **theirs}.items()}
            for i, description in enumerate(task.describe(batch, assets)[:count]):
                rows.append({**description, **{name: float(values[i]) for name, values in columns.items()}})
                if extremes is not None:
                    extremes.offer(rows[-1], scores, batch, i)
            bar.update(count)
    if not rows:
        raise ValueError(f"evaluate: none of the {len(source)} samples of the split {split!r} can be read.")
    best, worst = extremes.found() if extremes is not None else ((), ())
    return SplitReport(rows, scores, reference, len(source) - len(rows), best, worst)


class _Extremes:
    """The samples of the greatest and of the least score so far, each by the first score that it has."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._best: list[tuple[float, Example]] = []  # the best first
        self._worst: list[tuple[float, Example]] = []  # the worst first

    def offer(self, row: dict[str, Any], scores: Sequence[str], batch: Batch, at: int) -> None:
        """Keeps a copy of sample `at` of a batch, if it belongs to either; lets go of one that no longer does."""
        name = next((name for name in scores if not np.isnan(row[name])), None)
        if name is None:
            return
        value = row[name]
        for kept, label, sign in ((self._best, "best", -1.0), (self._worst, "worst", 1.0)):
            if len(kept) == self._count and sign * value >= sign * kept[-1][0]:
                continue
            example = Example(f"{label}, {name.replace('_', ' ')} {value:.2f}", row, {key: np.array(v[at]) for key, v in batch.items()})
            kept.append((value, example))
            kept.sort(key=lambda item: sign * item[0])  # stable: of equals, the first that came
            del kept[self._count :]

    def found(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        return tuple(example for _, example in self._best), tuple(example for _, example in self._worst)
