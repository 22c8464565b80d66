"""Two evaluated runs held against each other: every score, on every split, over all samples and by group."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from ava_jax.metrics import paired
from ava_jax.metrics.paired import Matched, Paired, Row
from ava_jax.run.compare import runs
from ava_jax.run.compare.runs import Run

ALL = "all"


class Line(NamedTuple):
    """A score over some of a split's shared samples.

    Attributes:
      split: its name.
      by: a column that samples are grouped by, or ALL.
      group: the column's value; ALL of ALL.
      score: its name.
      samples: that both runs share, whether they have the score or not.
      found: the comparison.
    """

    split: str
    by: str
    group: str
    score: str
    samples: int
    found: Paired


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What became of two runs.

    Attributes:
      first, second: the runs; a difference is the second's score less the first's.
      by: columns that say which sample a row is of.
      clusters: columns; samples that agree in all of them count as one observation. (): each counts.
      splits: that both were scored on and share samples of -> those.
      lines: of all splits.
      notes: differences in how they were scored, a line each.
    """

    first: Run
    second: Run
    by: tuple[str, ...]
    clusters: tuple[str, ...]
    splits: dict[str, Matched]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def largest(self, split: str, count: int) -> tuple[str, list[tuple[Row, Row]], list[tuple[Row, Row]]]:
        """The samples on which the two differ most.

        Args:
          split: of `splits`.
          count: at most so many each way.

        Returns:
          The first score that any shared sample has; samples on which the first run is better by it, the furthest first; and those on
          which the second is.
        """
        for name in self.scores:
            sign = 1.0 if self.first.scored.scores[name].higher_is_better else -1.0
            apart = [
                (sign * (b[name] - a[name]), i)
                for i, (a, b) in enumerate(self.splits[split].pairs)
                if b[name] - a[name] == b[name] - a[name]
            ]
            if apart:
                order = sorted(apart)
                pairs = self.splits[split].pairs
                worse = [pairs[i] for value, i in order[:count] if value < 0]
                return name, worse, [pairs[i] for value, i in order[::-1][:count] if value > 0]
        return "", [], []

    @property
    def scores(self) -> list[str]:
        """Names of the scores that both have."""
        return [name for name in self.first.scored.scores if name in self.second.scored.scores]


def compare(first: Run, second: Run) -> Comparison:
    """Compares two runs on the samples that both were scored on.

    Raises:
      ValueError: they are of different tasks, share no score or no sample, or a table has a sample twice.
    """
    by = runs.keys(first, second)
    ours, theirs = first.scored.scores, second.scored.scores
    scores = [name for name in ours if name in theirs]
    if not scores:
        raise ValueError(f"{first.given} and {second.given} share no score: {', '.join(ours)} and {', '.join(theirs)}; evaluate both anew.")
    if odd := [name for name in scores if ours[name] != theirs[name]]:
        raise ValueError(
            f"{first.given} and {second.given}: the score {odd[0]} is not the same in both ({ours[odd[0]]}, {theirs[odd[0]]})."
        )
    shared = [split for split in first.scored.rows if split in second.scored.rows]
    splits = {}
    for split in shared:
        matched = paired.match(first.scored.rows[split], second.scored.rows[split], by)
        if matched.pairs:
            splits[split] = matched
    if not splits:
        raise ValueError(_nothing_shared(first, second, shared))
    clusters = tuple(name for name in first.task.cluster_by if name in by)
    groups = tuple(name for name in first.scored.group_by if name in by)
    lines = [line for split, matched in splits.items() for line in _lines(first, split, matched.pairs, scores, clusters, groups)]
    return Comparison(first, second, by, clusters, splits, tuple(lines), tuple(runs.differences(first, second)))


def _nothing_shared(first: Run, second: Run, shared: Sequence[str]) -> str:
    names = " and ".join(", ".join(run.scored.rows) or "none" for run in (first, second))
    why = (
        f"of the split {', '.join(shared)} both have scores, but of no {first.scored.sample_name} in common"
        if shared
        else f"splits are {names}"
    )
    return (
        f"{first.given} and {second.given} share no sample: {why}. Score both on the same data: ava eval --workdir=RUN --data=DATA "
        "--splits=SPLIT, with the same held-out rules."
    )


def _lines(
    run: Run, split: str, pairs: Sequence[tuple[Row, Row]], scores: Sequence[str], clusters: Sequence[str], groups: Sequence[str]
) -> list[Line]:
    found = _of_group(run, (split, ALL, ALL), pairs, scores, clusters)
    for by in groups:
        members: dict[str, list[tuple[Row, Row]]] = {}
        for pair in pairs:
            members.setdefault(str(pair[0][by]), []).append(pair)
        for group in sorted(members):
            found += _of_group(run, (split, by, group), members[group], scores, clusters)
    return found


def _of_group(
    run: Run, what: tuple[str, str, str], pairs: Sequence[tuple[Row, Row]], scores: Sequence[str], clusters: Sequence[str]
) -> list[Line]:
    labels: Any = [tuple(a[name] for name in clusters) for a, _ in pairs] if clusters else None
    lines = []
    for name in scores:
        values = ([row[name] for row in side] for side in zip(*pairs, strict=True))
        higher = run.scored.scores[name].higher_is_better
        lines.append(Line(*what, name, len(pairs), paired.pair(*values, higher_is_better=higher, clusters=labels)))
    return lines
