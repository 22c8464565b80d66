"""Scores of a trained model on the splits that it never saw: a row per sample, with the best and the worst kept to be looked at."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import tqdm

from ava_jax.core.sampling import Source
from ava_jax.core.types import Assets, Batch
from ava_jax.run.export import Exporter, check, one_of
from ava_jax.run.prediction import PREDICTS, batches
from ava_jax.tasks.base import Compile, Example, Prediction, Row, Score, Task
from ava_jax.train import scores
from ava_jax.train.lock import Lock

EXAMPLES = 4  # of the best and of the worst samples of a split
SPLIT, GAIN = "split", "gain"  # columns that reports add; no task may have one of these names


class SplitReport(NamedTuple):
    """What became of one split.

    Attributes:
      rows: one per sample: what `Task.describe` says of it, its scores, and those of the baselines as "<baseline>_<score>".
      baselines: baseline -> names of the scores that it has, the first one first.
      unreadable: samples of the split that could not be read.
      best, worst: EXAMPLES samples at most by the first score that each has.
    """

    rows: list[Row]
    baselines: Mapping[str, tuple[str, ...]]
    unreadable: int
    best: tuple[Example, ...] = ()
    worst: tuple[Example, ...] = ()


def evaluate(
    task: Task,
    assets: Assets,
    compile_model: Compile,
    splits: Sequence[str],
    *,
    threads: int,
    readers: int = 0,
    export_to: pathlib.Path | None = None,
    with_baselines: bool = True,
) -> dict[str, SplitReport]:
    """Predicts and scores every readable sample of the splits, with a progress bar each.

    Args:
      task: predicts, scores and, where `export_to` is given, exports.
      assets: the task's.
      compile_model: of the trained model.
      splits: names of `task.eval_splits`.
      threads: that read samples.
      readers: processes that read instead, of splits that are worth it.
      export_to: the predictions are written too, into a folder per split in this one.
      with_baselines: whether the task's baselines are scored too.

    Raises:
      ValueError: there is no split, one is not the task's, or one has no sample that can be read; the task's scores are not as declared;
        or it is to export and cannot.
      OSError: a file cannot be written.
    """
    have = task.eval_splits(assets)
    if not splits:
        rule = "; --all scores all the same" if "all" in task.eval_options else ""
        raise ValueError(f"evaluate: this run held nothing out of training, so there is nothing to score{rule}.")
    if unknown := [split for split in splits if split not in have]:
        known = ", ".join(have) or "none, as it held nothing out of training"
        raise ValueError(f"evaluate: there is no split {unknown[0]!r} to score; this run has {known}.")
    if not task.scores:
        raise ValueError(f"evaluate: {type(task).__name__} declares no scores; its predictions can be written all the same.")
    baselines = task.baselines(assets) if with_baselines else {}
    evaluator = _Evaluator(task, assets, task.predictor(compile_model), baselines, threads, readers)
    sources = {split: task.source(split, assets) for split in splits}
    with contextlib.ExitStack() as locks:
        exporters = {split: None if export_to is None else _exporter(task, assets, export_to / split, locks) for split in splits}
        return {split: evaluator.evaluate(split, sources[split], exporters[split]) for split in splits}


def _exporter(task: Task, assets: Assets, folder: pathlib.Path, locks: contextlib.ExitStack) -> Exporter:
    check(task)
    folder.mkdir(parents=True, exist_ok=True)
    locks.enter_context(Lock(folder, doing=PREDICTS, instead="--out")).take()
    return Exporter(task, assets, folder)


@dataclasses.dataclass(frozen=True)
class _Evaluator:
    """What the evaluation of all splits has in common."""

    task: Task
    assets: Assets
    predict: Callable[[Batch], Prediction]
    baselines: Mapping[str, Callable[[Batch], Mapping[str, np.ndarray]]]
    threads: int
    readers: int

    def evaluate(self, split: str, source: Source, exporter: Exporter | None) -> SplitReport:
        rows: list[Row] = []
        baselines: dict[str, tuple[str, ...]] = {}
        extremes = _Extremes(self.task.scores, EXAMPLES)
        batch_size = self.task.sampling(split).batch_size
        with tqdm.tqdm(total=len(source), desc=split, unit=self.task.sample_name) as bar:
            for prediction, batch, count in batches(source, batch_size, self.predict, threads=self.threads, readers=self.readers):
                if not rows:
                    bar.unpause()  # what came before was compiling, which says nothing of the time left
                found, baselines = self._rows(prediction, batch)
                for at, row in enumerate(found[:count]):
                    extremes.offer(row, batch, at)
                if exporter is not None:
                    host = jax.device_get(prediction)
                    for at in range(count):
                        exporter.write(len(rows) + at, one_of(host, at), one_of(batch, at))
                rows += found[:count]
                bar.update(count)
        if not rows:
            raise ValueError(f"evaluate: none of the {len(source)} samples of the split {split!r} can be read.")
        return SplitReport(rows, baselines, len(source) - len(rows), *extremes.found())

    def _rows(self, prediction: Prediction, batch: Batch) -> tuple[list[Row], dict[str, tuple[str, ...]]]:
        """Rows of a batch, and which scores each baseline has."""
        samples, who = scores.samples_in(batch), type(self.task).__name__
        columns = scores.of_prediction(self.task, prediction, batch, self.assets)
        names = {}
        for baseline, score in self.baselines.items():
            found = scores.checked(f"the baseline {baseline!r} of {who}", self.task, score(batch), samples)
            names[baseline] = tuple(found)
            for name, values in found.items():
                _add_column(columns, f"{baseline}_{name}", values, who)
        descriptions = self.task.describe(batch, self.assets)
        if len(descriptions) != samples:
            raise ValueError(f"{who}.describe must give a row per sample, {samples}; got {len(descriptions)}.")
        described = {name for row in descriptions for name in row}
        if same := described & {*columns} | {SPLIT, GAIN} & {*described, *columns}:
            raise ValueError(
                f"{who}: no two columns of a table may have one name, nor any be called {SPLIT!r} or {GAIN!r}; got {sorted(same)}."
            )
        scored = ({name: float(values[at]) for name, values in columns.items()} for at in range(samples))
        return [{**description, **row} for description, row in zip(descriptions, scored, strict=True)], names


def _add_column(columns: dict[str, np.ndarray], name: str, values: np.ndarray, who: str) -> None:
    if name in columns:
        raise ValueError(f"{who}.baselines: the column {name!r}, <baseline>_<score>, is there already; give the baseline another name.")
    columns[name] = values


class _Extremes:
    """The best and the worst samples so far, each by the first score that it has."""

    def __init__(self, declared: Sequence[Score], count: int) -> None:
        self._declared, self._count = declared, count
        self._best: list[tuple[float, Example]] = []  # the best first
        self._worst: list[tuple[float, Example]] = []  # the worst first

    def offer(self, row: Row, batch: Batch, at: int) -> None:
        """Keeps a copy of sample `at` of a batch, if it belongs to either; lets go of one that no longer does."""
        score = next((score for score in self._declared if not np.isnan(row[score.name])), None)
        if score is None:
            return
        value = row[score.name] if score.higher_is_better else -row[score.name]
        for kept, label, sign in ((self._best, "best", -1.0), (self._worst, "worst", 1.0)):
            if len(kept) == self._count and sign * value >= sign * kept[-1][0]:
                continue
            text = f"{label}, {score.name.replace('_', ' ')} {score.format(row[score.name])} {score.unit}".rstrip()
            kept.append((value, Example(text, row, {name: np.array(values[at]) for name, values in batch.items()})))
            kept.sort(key=lambda item: sign * item[0])  # stable: of equals, the first that came
            del kept[self._count :]

    def found(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        return tuple(example for _, example in self._best), tuple(example for _, example in self._worst)
