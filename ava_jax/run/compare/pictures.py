"""Runs side by side on the samples on which they differ most: each predicts anew, from its own checkpoint."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ava_jax.core.types import Assets
from ava_jax.metrics.paired import Row
from ava_jax.run.compare.comparison import Comparison
from ava_jax.run.compare.runs import Run
from ava_jax.run.export import one_of
from ava_jax.tasks.base import NOT_SEEN, Compile, Task
from ava_jax.viz import sheet


class Restored(NamedTuple):
    """A run's model at work on data at hand."""

    task: Task
    assets: Assets
    compile_model: Compile


class Shown(NamedTuple):
    """A shared sample that is to be shown: its split, its rows in both runs, and which of them is better."""

    split: str
    rows: tuple[Row, Row]
    better: str


def chosen(comparison: Comparison, count: int) -> list[Shown]:
    """Of every split, `count` samples at most on which either run is better, the furthest first."""
    found = []
    for split in comparison.splits:
        _, first, second = comparison.largest(split, count)
        for run, pairs in ((comparison.second, second), (comparison.first, first)):
            found += [Shown(split, pair, run.label) for pair in pairs]
    return found


def draw(restored: Restored, run: Run, samples: Sequence[Shown], at: int) -> list[dict[str, np.ndarray]]:
    """What a run makes of samples, drawn.

    Args:
      restored: the run's model.
      run: whose scores they have.
      samples: to be drawn.
      at: 0 or 1: which of a sample's rows is this run's.

    Returns:
      Per sample what `Task.draw_sample` gives: caption -> u8 [H, W, 3].

    Raises:
      ValueError: a sample is not where the scores say it was.
    """
    task, assets = restored.task, restored.assets
    predict = restored.compile_model(task.predict)
    found = []
    for split in dict.fromkeys(shown.split for shown in samples):
        source = task.source(split, assets)
        for shown in (shown for shown in samples if shown.split == split):
            batch = _find(task, assets, source, run, split, shown.rows[at])
            prediction = jax.device_get(predict(batch))
            found.append(task.draw_sample(one_of(prediction, 0), one_of(batch, 0), assets))
    return found


def _find(task: Task, assets: Assets, source: Any, run: Run, split: str, row: Row) -> dict[str, np.ndarray]:
    """The sample of a row, as a batch of one. Rows stand in the order of the split, without those that could not be read."""
    rows, names = run.scored.rows[split], run.scored.describes
    first = next(i for i, other in enumerate(rows) if other is row or all(other[name] == row[name] for name in names))
    wanted = {name: str(row[name]) for name in names}
    for index in range(first, min(first + run.scored.unreadable.get(split, 0) + 1, len(source))):
        sample = source[index]
        if sample is None:
            continue
        batch = {name: np.asarray(value)[None] for name, value in sample.items()}
        (described,) = task.describe(batch, assets)
        if {name: str(described.get(name)).removesuffix(NOT_SEEN) for name in names} == wanted:
            return batch
    told = ", ".join(f"{name} {value}" for name, value in wanted.items())
    raise ValueError(
        f"{run.given}: the {run.scored.sample_name} of {told} is not at its place in the split {split}: the data are not those that were "
        "scored; name them with --data, or leave pictures out with --pictures=0."
    )


def write(
    comparison: Comparison, samples: Sequence[Shown], drawn: Sequence[Sequence[Mapping[str, np.ndarray]]], folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes `compare_<labels>_<split>.jpg`: truth | A | B | error of A | error of B, the second run's gains first.

    Args:
      comparison: of the two runs.
      samples: as `chosen` gives them.
      drawn: what `draw` gave, pictures [H, W, 3], of the first and of the second run.
      folder: that exists.

    Returns:
      The files; none where the task draws no samples.

    Raises:
      OSError: a file cannot be written.
    """
    labels = comparison.first.label, comparison.second.label
    strips: dict[str, list[sheet.Strip]] = {}
    for shown, *both in zip(samples, *drawn, strict=True):
        if not all(both):
            return []
        strips.setdefault(shown.split, []).append(sheet.Strip(_title(comparison, shown), _panels(labels, both)))
    written = []
    for split, found in strips.items():
        path = folder / f"compare_{'_'.join(labels)}_{split}.jpg"
        sheet.save(sheet.compose(found, columns=1, height=max(sheet.PANEL_HEIGHT, len(found[0].panels[0][1]))), path)
        written.append(path)
    return written


def _panels(labels: Sequence[str], both: Sequence[Mapping[str, np.ndarray]]) -> tuple[tuple[str, np.ndarray], ...]:
    """The truth, then of each kind of picture that of the first run and that of the second."""
    truth, *kinds = both[0]
    return ((truth, both[0][truth]), *((f"{label}: {kind}", one[kind]) for kind in kinds for label, one in zip(labels, both, strict=True)))


def _title(comparison: Comparison, shown: Shown) -> str:
    """Who is better, by how much, and on what."""
    name, _, _ = comparison.largest(shown.split, 0)
    score, (ours, theirs) = comparison.first.score(name), (row[name] for row in shown.rows)
    unit = f" {score.unit.replace('²', '^2')}" if score.unit else ""  # which the font does not have
    what = ", ".join(f"{column} {shown.rows[0][column]}" for column in comparison.by)
    apart = score.format(abs(theirs - ours))
    return f"{shown.better} better by {apart}{unit} {name.replace('_', ' ')} ({score.format(ours)}, {score.format(theirs)}): {what}"
