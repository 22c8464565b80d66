"""How the rows of a split are read as its task declares them: means by column, the gain over a baseline, lines of tables."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.metrics import table
from ava_jax.run.evaluation import GAIN, SplitReport
from ava_jax.tasks.base import Row, Score, Task

_MOST_LINES = 24  # of a table on the terminal; the files hold all


class Gain(NamedTuple):
    """What the first baseline is beaten by, in the first score that it has."""

    baseline: str
    score: Score

    @property
    def column(self) -> str:
        """The baseline's."""
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


class Line(NamedTuple):
    """One line of a table: of how many samples, the means by column, and how many times better than the baseline (NaN: not told)."""

    count: int
    means: dict[str, table.Mean]
    times: float


@dataclasses.dataclass(frozen=True)
class View:
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
    def gain(self) -> Gain | None:
        """None without a baseline."""
        names = next(iter(self.report.baselines.items()), None)
        if names is None or not names[1]:
            return None
        return Gain(names[0], next(score for score in self.task.scores if score.name == names[1][0]))

    def line(self, rows: Sequence[Row]) -> Line:
        """The line of a table that some of the rows make."""
        # The gain is taken sample by sample, so that its interval is the difference's.
        full = [{**row, GAIN: self.gain.of(row)} for row in rows] if self.gain else rows
        times = self.gain.times(rows) if self.gain else math.nan
        return Line(len(rows), table.means(full, list(self.columns), self.task.cluster_by), times)

    def groups(self, by: str) -> dict[str, Line]:
        """A line for each value of a column."""
        return {key: self.line(rows) for key, rows in table.members(self.report.rows, by).items()}

    def mean_line(self, groups: Iterable[Line]) -> Line:
        """The mean of the groups' means; of that there is no interval."""
        groups = list(groups)
        means = {name: table.mean_of_means([line.means[name] for line in groups]) for name in self.columns}
        return Line(sum(line.count for line in groups), means, math.nan)

    def as_json(self, line: Line) -> dict[str, Any]:
        """Every mean of a line as JSON can carry it."""
        found = {name: mean.to_json(table.plural(self.task.sample_name)) for name, mean in line.means.items()}
        if self.gain:
            found[GAIN] |= {"over": self.gain.baseline, "in": self.gain.score.name}
            found[GAIN] |= {"times": line.times if math.isfinite(line.times) else None} if self.gain.score.ratio else {}
        return found

    def shortened(self, title: str, groups: Mapping[str, Line]) -> str:
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
        return f"{text}\n{says} in {words(name)}; all are in scores.json."

    def regions_of(self, line: Line) -> tuple[dict[str, tuple[int, dict[str, table.Mean]]], dict[str, Score]]:
        """The scores that have a place in the second table, of the regions that any sample has a score of.

        Returns:
          row -> (samples, column -> mean); and column -> the first score that stands in it.
        """
        rows: dict[str, dict[str, table.Mean]] = {}
        columns: dict[str, Score] = {}
        for score in self.task.scores:
            if score.row:
                rows.setdefault(score.row, {})[score.column] = line.means[score.name]
                columns.setdefault(score.column, score)
        counts = {row: max(mean.samples for mean in means.values()) for row, means in rows.items()}
        return {row: (counts[row], means) for row, means in rows.items() if counts[row]}, columns

    def regions(self, title: str, line: Line) -> str:
        """A row for each region that any sample has a score of, a column for each kind of score; "" where there is none."""
        rows, columns = self.regions_of(line)
        if not rows:
            return ""
        header = [f"{title}, by region", table.plural(self.task.sample_name), *map(words, columns)]
        cells = [
            [words(row), str(count), *(columns[c].format(means[c].value) if c in means else "-" for c in columns)]
            for row, (count, means) in rows.items()
        ]
        return table.format_table(header, cells, ["", "", *(score.unit for score in columns.values())])

    def table(self, title: str, lines: Mapping[str, Line]) -> str:
        """Intervals stand beside the first score and the gain; the files have them all. Of a baseline its first score is shown."""
        has = next(iter(lines.values())).means
        hidden = {f"{baseline}_{name}" for baseline, names in self.report.baselines.items() for name in names[1:]}
        shown = [name for name in has if name not in hidden and self.columns[name].main]
        # The score that the gain is in, and the first one: all else would only widen the table.
        sure = {shown[0], *([GAIN, self.gain.score.name] if self.gain else [])}
        times = GAIN in shown and self.gain.score.ratio
        header = [title, table.plural(self.task.sample_name), *map(words, shown), *(["times"] if times else [])]
        units = ["", "", *(self.columns[name].unit for name in shown), *([""] if times else [])]
        text = []
        for key, line in lines.items():
            cells = [_number(self.columns[name], line.means[name], interval=name in sure, signed=name == GAIN) for name in shown]
            text.append([key, str(line.count), *cells, *([_times(line.times)] if times else [])])
        return table.format_table(header, text, units)


def scored(groups: Mapping[str, Line]) -> dict[str, Line]:
    """Without the scores that no group has."""
    have = {name for line in groups.values() for name, mean in line.means.items() if mean.samples}
    return {
        key: line._replace(means={name: mean for name, mean in line.means.items() if name in have or not have})
        for key, line in groups.items()
    }


def words(name: str) -> str:
    """A name as tables show it."""
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
