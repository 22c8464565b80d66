"""What an evaluation hands over: JSON of means, a CSV with a row per sample, tables for the terminal; what the task adds; pictures."""

import csv
import dataclasses
import functools
import io
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.core import binding
from ava_jax.core.types import Assets
from ava_jax.data import files
from ava_jax.metrics import table
from ava_jax.run.evaluation import GAIN, SPLIT, SplitReport
from ava_jax.tasks.base import Compile, Row, Score, Task

_MOST_LINES = 24  # of a table on the terminal; the files hold all


_SCORES = "scores.json"


def check_folder(folder: pathlib.Path, names: Sequence[str]) -> None:
    """Refuses to write over the scores of other data.

    Args:
      folder: where scores are to go; it may hold some.
      names: of the data that are evaluated now.

    Raises:
      ValueError: what is there is of other data.
    """
    try:
        there = json.loads((folder / _SCORES).read_text())["data"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or of a version that did not say
        return
    if set(there) != set(names):
        raise ValueError(f"{folder}: holds the scores of other data ({binding.listed(there)}): take another --out, or remove it.")


def write(
    folder: pathlib.Path, step: int, task: Task, assets: Assets, reports: Mapping[str, SplitReport], *, names: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Writes `scores.json`, `scores.csv` and the task's own summary into a folder that exists, and names the files.

    `names` are those of the data, as `Task.check_data` gives them.
    """
    result = {
        "step": step,
        "data": list(names),
        "confidence": table.CONFIDENCE,
        "sample_name": task.sample_name,
        "scores": {score.name: {"unit": score.unit, "higher_is_better": score.higher_is_better} for score in task.scores},
        "splits": {split: summary(task, report) for split, report in reports.items()},
    }
    summaries, rows = folder / _SCORES, folder / "scores.csv"
    files.replace(summaries, json.dumps(result, indent=2, allow_nan=False) + "\n")
    names = dict.fromkeys(name for report in reports.values() for row in report.rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, [SPLIT, *names], lineterminator="\n")
    writer.writeheader()
    for split, report in reports.items():
        writer.writerows({SPLIT: split} | {name: _cell(value) for name, value in row.items()} for row in report.rows)
    files.replace(rows, text.getvalue())
    return [summaries, rows, *task.summarize({split: report.rows for split, report in reports.items()}, assets, folder)]


def write_pictures(
    folder: pathlib.Path, task: Task, assets: Assets, compile_model: Compile, reports: Mapping[str, SplitReport]
) -> list[pathlib.Path]:
    """Writes the best and the worst samples of each split, where the task can draw them, and what else the task shows; names the files."""
    written = []
    for split, report in reports.items():
        path = folder / f"best_and_worst_{split}.jpg"
        if report.best and task.write_examples(compile_model, report.best, report.worst, path):
            written.append(path)
    return [*written, *task.write_artefacts(compile_model, assets, folder)]


def summary(task: Task, report: SplitReport) -> dict[str, Any]:
    """Means of one split as JSON can carry them: over all, by each of `group_by`, and of the means by `mean_by`."""
    view = _View(task, report)
    found = {
        table.plural(task.sample_name): len(report.rows),
        "unreadable": report.unreadable,
        "scores": view.as_json(view.line(report.rows)),
        "by": {by: {key: view.as_json(line) for key, line in view.groups(by).items()} for by in task.group_by},
    }
    if task.mean_by:
        groups = view.groups(task.mean_by)
        means = {name: mean.value if math.isfinite(mean.value) else None for name, mean in view.mean_line(groups.values()).means.items()}
        found["mean_of_means"] = {"by": task.mean_by, "groups": len(groups), "scores": means}
    return found


def tables(task: Task, reports: Mapping[str, SplitReport]) -> str:
    """The splits beside each other, then each split by the task's groups."""
    views = {split: _View(task, report) for split, report in reports.items()}
    lines = {}
    for split, view in views.items():
        lines[split] = view.line(view.report.rows)
        if task.mean_by:
            lines[f"{split}, mean of {task.mean_by} means"] = view.mean_line(view.groups(task.mean_by).values())
    first = next(iter(views.values()))
    parts = [first.table(SPLIT, lines)]
    if "±" in parts[0]:
        parts[0] += f"\n± half the {table.CONFIDENCE:.0%} confidence interval of a mean{_clusters(task)}."
    for split, view in views.items():
        if view.report.unreadable:
            parts.append(f"{split}: {view.report.unreadable} samples listed could not be read.")
        for by in task.group_by:
            parts.append(view.shortened(f"{split}, by {by}", _scored(view.groups(by))))
    return "\n\n".join(parts)


def _clusters(task: Task) -> str:
    if not task.cluster_by:
        return ""
    *names, last = task.cluster_by
    agree = f"{', '.join(names)} and {last}" if names else last
    return f"; {table.plural(task.sample_name)} of one {agree} count as one observation"


def _cell(value: Any) -> Any:
    """Empty where a score is not defined."""
    return "" if isinstance(value, float) and np.isnan(value) else value


class _Gain(NamedTuple):
    """What the first baseline is beaten by, in the first score that it has."""

    baseline: str
    score: Score

    @property
    def column(self) -> str:
        return f"{self.baseline}_{self.score.name}"

    def of(self, row: Row) -> float:
        """Positive where the sample is better than the baseline's answer."""
        difference = row[self.score.name] - row[self.column]
        return difference if self.score.higher_is_better else -difference

    def times(self, rows: Sequence[Row]) -> float:
        """How many times better the mean is than the baseline's, over the rows that have both; NaN where that means nothing."""
        both = [(row[self.score.name], row[self.column]) for row in rows if not np.isnan(self.of(row))]
        if not (self.score.ratio and both):
            return math.nan
        ours, theirs = np.mean(both, axis=0)
        over, under = (ours, theirs) if self.score.higher_is_better else (theirs, ours)
        return float(over / under) if under > 0 else math.nan


class _Line(NamedTuple):
    """One line of a table: of how many samples, the means by column, and how many times better than the baseline (NaN: not told)."""

    count: int
    means: dict[str, table.Mean]
    times: float


@dataclasses.dataclass(frozen=True)
class _View:
    """A split's rows, read as its task declares them."""

    task: Task
    report: SplitReport

    @functools.cached_property
    def columns(self) -> dict[str, Score]:
        """Column -> the score that it is of: the task's own, the baselines', the gain."""
        declared = {score.name: score for score in self.task.scores}
        theirs = {f"{baseline}_{name}": declared[name] for baseline, names in self.report.baselines.items() for name in names}
        return {**declared, **theirs, **({GAIN: self.gain.score} if self.gain else {})}

    @functools.cached_property
    def gain(self) -> _Gain | None:
        """None without a baseline."""
        names = next(iter(self.report.baselines.items()), None)
        if names is None or not names[1]:
            return None
        return _Gain(names[0], next(score for score in self.task.scores if score.name == names[1][0]))

    def line(self, rows: Sequence[Row]) -> _Line:
        # The gain is taken sample by sample, so that its interval is the difference's.
        full = [{**row, GAIN: self.gain.of(row)} for row in rows] if self.gain else rows
        times = self.gain.times(rows) if self.gain else math.nan
        return _Line(len(rows), table.means(full, list(self.columns), self.task.cluster_by), times)

    def groups(self, by: str) -> dict[str, _Line]:
        return {key: self.line(rows) for key, rows in table.members(self.report.rows, by).items()}

    def mean_line(self, groups: Iterable[_Line]) -> _Line:
        """The mean of the groups' means; of that there is no interval."""
        groups = list(groups)
        means = {name: table.mean_of_means([line.means[name] for line in groups]) for name in self.columns}
        return _Line(sum(line.count for line in groups), means, math.nan)

    def as_json(self, line: _Line) -> dict[str, Any]:
        found = {name: mean.to_json(table.plural(self.task.sample_name)) for name, mean in line.means.items()}
        if self.gain:
            found[GAIN] |= {"over": self.gain.baseline, "in": self.gain.score.name}
            found[GAIN] |= {"times": line.times if math.isfinite(line.times) else None} if self.gain.score.ratio else {}
        return found

    def shortened(self, title: str, groups: Mapping[str, _Line]) -> str:
        """The table of all groups, or of the worst and the best where they are many."""
        if len(groups) <= _MOST_LINES:
            return self.table(title, groups)
        half = _MOST_LINES // 2
        name = next(iter(next(iter(groups.values())).means))
        sign = 1.0 if self.columns[name].higher_is_better else -1.0
        known = {key: sign * line.means[name].value for key, line in groups.items() if not math.isnan(line.means[name].value)}
        order = sorted(known, key=known.get)
        shown = dict.fromkeys([*order[:half], *order[-half:]])
        says = f"The {half} worst and the {half} best of {len(known)}" if len(known) > _MOST_LINES else f"The {len(known)} of {len(groups)}"
        text = self.table(title, {key: groups[key] for key in shown})
        return f"{text}\n{says} in {_words(name)}; all are in scores.json."

    def table(self, title: str, lines: Mapping[str, _Line]) -> str:
        """Intervals stand beside the first score and the gain; the files have them all. Of a baseline its first score is shown."""
        has = next(iter(lines.values())).means
        hidden = {f"{baseline}_{name}" for baseline, names in self.report.baselines.items() for name in names[1:]}
        shown = [name for name in has if name not in hidden]
        # The score that the gain is in, and the first one: all else would only widen the table.
        sure = {shown[0], *([GAIN, self.gain.score.name] if self.gain else [])}
        times = GAIN in shown and self.gain.score.ratio
        header = [title, table.plural(self.task.sample_name), *map(_words, shown), *(["times"] if times else [])]
        units = ["", "", *(self.columns[name].unit for name in shown), *([""] if times else [])]
        text = []
        for key, line in lines.items():
            cells = [_number(self.columns[name], line.means[name], interval=name in sure, signed=name == GAIN) for name in shown]
            text.append([key, str(line.count), *cells, *([_times(line.times)] if times else [])])
        return table.format_table(header, text, units)


def _scored(groups: Mapping[str, _Line]) -> dict[str, _Line]:
    """Without the scores that no group has."""
    have = {name for line in groups.values() for name, mean in line.means.items() if mean.samples}
    return {
        key: line._replace(means={name: mean for name, mean in line.means.items() if name in have or not have})
        for key, line in groups.items()
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(score: Score, mean: table.Mean, *, interval: bool, signed: bool) -> str:
    """The mean, with half its interval; a dash where no sample has the score."""
    text = score.format(mean.value, signed=signed)
    return f"{text} ±{score.format(mean.half_width)}" if interval and not np.isnan(mean.half_width) else text


def _times(value: float) -> str:
    """As in "5.2 x": about two digits."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.2g} x" if value < 1 else f"{value:.{1 if value < 10 else 0}f} x"
