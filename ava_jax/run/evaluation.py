"""Scores of a trained model on the splits that it never saw: a row an image, means of the rows, tables of the means."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import tqdm
from flax import nnx

from ava_jax.core.sampling import Source
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.metrics import table
from ava_jax.run import inference
from ava_jax.tasks.base import Task

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]  # `run.inference.Inference.compile`
GROUPS = ("identity", "camera", "segment")  # columns of `Task.describe` that the report groups by, where a task has them


@runtime_checkable
class HasBaseline(Protocol):
    """A task that knows the best answer which no learning is needed for."""

    def baseline(self, assets: Assets) -> Callable[[Batch], dict[str, np.ndarray]]:
        """Scores of that answer: batch -> score -> [B], with names of `Task.evaluate`; the first one heads the gain's column."""


@runtime_checkable
class HasArtefacts(Protocol):
    """A task that writes more than scores."""

    def write_artefacts(self, compile: Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes files into a folder that exists, and names them. `compile(fn)` makes a function of `args` from `fn(model, *args)`."""


class SplitReport(NamedTuple):
    """What became of one split.

    Attributes:
      rows: one an image: what `Task.describe` and `Task.evaluate` say of it.
      scores: names of the columns that are scores.
      baseline: names of the columns that are the baseline's scores, `baseline_<score>`; () without one.
      unreadable: samples of the split that could not be read.
    """

    rows: list[dict[str, Any]]
    scores: tuple[str, ...]
    baseline: tuple[str, ...]
    unreadable: int


def evaluate(task: Task, assets: Assets, compile: Compile, splits: Sequence[str], *, threads: int) -> dict[str, SplitReport]:
    """Scores every readable sample of the splits.

    Raises:
      ValueError: there is no split, one is not the task's, or one has no sample that can be read.
    """
    if not splits:
        raise ValueError("evaluate: this run held nothing out of training, so there is nothing to score.")
    if unknown := [split for split in splits if split not in task.eval_splits]:
        have = ", ".join(task.eval_splits) or "none, as it held nothing out of training"
        raise ValueError(f"evaluate: there is no split {unknown[0]!r} to score; this run has {have}.")
    score = _compile_scores(task, compile)
    baseline = task.baseline(assets) if isinstance(task, HasBaseline) else lambda batch: {}
    return {
        split: _evaluate_split(split, task, assets, task.source(split, assets), score, baseline, threads=threads) for split in splits
    }


def _compile_scores(task: Task, compile: Compile) -> Callable[[Batch], dict[str, Array]]:
    """`task.evaluate` compiled. Its scores keep their order, which tables show: jit sorts the names of what it returns."""
    order: dict[str, None] = {}

    def trace(model: nnx.Module, batch: Batch) -> dict[str, Array]:
        scores = task.evaluate(model, batch)
        order.update(dict.fromkeys(scores))
        return scores

    compiled = compile(trace)

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
    with tqdm.tqdm(total=len(source), desc=split, unit="image") as bar:
        for batch, count in inference.read_in_order(source, task.sampling(split).batch_size, threads=threads):
            ours = score(batch)
            theirs = {f"baseline_{name}": values for name, values in baseline(batch).items()}
            scores, reference = tuple(ours), tuple(theirs)
            columns = {name: np.asarray(values, np.float64) for name, values in {**ours, **theirs}.items()}
            for i, description in enumerate(task.describe(batch, assets)[:count]):
                rows.append({**description, **{name: float(values[i]) for name, values in columns.items()}})
            bar.update(count)
    if not rows:
        raise ValueError(f"evaluate: none of the {len(source)} samples of the split {split!r} can be read.")
    return SplitReport(rows, scores, reference, len(source) - len(rows))


def summary(report: SplitReport) -> dict[str, Any]:
    """Means of one split, over all and by `GROUPS`, as JSON can carry them."""

    def means(of: Mapping[str, table.Mean]) -> dict[str, Any]:
        return {name: mean.to_json() for name, mean in of.items()}

    columns = [*report.scores, *report.baseline]
    everything = {name: table.mean([row[name] for row in report.rows]) for name in columns}
    groups = {
        by: {key: means(group) for key, group in table.group(report.rows, by, columns).items()} for by in GROUPS if by in report.rows[0]
    }
    return {"images": len(report.rows), "unreadable": report.unreadable, "scores": means(everything), "by": groups}


def tables(reports: Mapping[str, SplitReport]) -> str:
    """The splits beside each other, then each split by identity and by camera."""
    parts = [_table("split", {split: _means(report) for split, report in reports.items()}, reports)]
    for split, report in reports.items():
        if report.unreadable:
            parts.append(f"{split}: {report.unreadable} samples listed could not be read.")
        for by in GROUPS[:2]:
            if by in report.rows[0]:
                grouped = table.group(report.rows, by, [*report.scores, *report.baseline])
                parts.append(_table(f"{split}, by {by}", grouped, {split: report}))
    return "\n\n".join(parts)


def _means(report: SplitReport) -> dict[str, table.Mean]:
    return {name: table.mean([row[name] for row in report.rows]) for name in (*report.scores, *report.baseline)}


def _table(title: str, lines: Mapping[str, Mapping[str, table.Mean]], reports: Mapping[str, SplitReport]) -> str:
    """One table: a line a group, with the gain over the baseline in the baseline's first score."""
    first = next(iter(reports.values()))
    head = first.baseline[0] if first.baseline else None
    header = [title, "images", *(name.replace("_", " ") for name in first.scores)]
    if head:
        header += [head.replace("_", " "), "gain"]
    text = []
    for key, means in lines.items():
        images = max(mean.images + mean.ignored for mean in means.values())
        cells = [key, str(images), *(_number(name, means[name].value) for name in first.scores)]
        if head:
            score = head.removeprefix("baseline_")
            cells += [_number(head, means[head].value), _number(head, means[score].value - means[head].value, sign="+")]
        text.append(cells)
    return table.format_table(header, text)


def _number(score: str, value: float, sign: str = "") -> str:
    """SSIM lives in the third decimal, dB and grey levels in the second. A dash where no image has the score."""
    return "-" if np.isnan(value) else f"{value:{sign}.{4 if 'ssim' in score else 2}f}"
