"""Scores of single samples grouped into means with confidence intervals, and the tables that show them.

Images of one frame, seen by several cameras, are not independent: they show one expression and what the model makes of it. So intervals
are clustered: with G clusters of samples and e_g the sum of a cluster's deviations from the mean of all n samples, the mean's variance is
G / (G - 1) sum_g e_g^2 / n^2 (Liang and Zeger, 1986), and the interval is t(G - 1) standard errors to either side. It is exact
arithmetic: no resampling, no seed. Unlike a bootstrap over as few clusters it does not come out too narrow
(`tests/metrics/table_test.py` measures how often it covers the truth). With one cluster there is none.
"""

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of a score over samples.

    Attributes:
      value: mean over the samples for which the score is defined; NaN where there is none.
      half_width: of the CONFIDENCE interval around `value`; NaN where fewer than two clusters have the score, or one is infinite.
      samples: how many those are.
      clusters: of how many clusters they come.
      ignored: for how many samples it is not defined (NaN).
      deviation: standard deviation of the samples' scores (n - 1); NaN where fewer than two have it.
      median: of the samples' scores; NaN where none has it.
    """

    value: float
    half_width: float
    samples: int
    clusters: int
    ignored: int
    deviation: float = math.nan
    median: float = math.nan

    def to_json(self, samples: str = "samples") -> dict[str, Any]:
        """What it is, by name; `samples` is what samples are called.

        JSON knows no NaN and no infinity: `mean` and `median` are null where no sample has the score, `sd` and `interval` where there is
        none.
        """
        interval = [self.value - self.half_width, self.value + self.half_width]
        return {
            "mean": self.value if math.isfinite(self.value) else None,
            "sd": self.deviation if math.isfinite(self.deviation) else None,
            "median": self.median if math.isfinite(self.median) else None,
            "interval": interval if math.isfinite(self.half_width) else None,
            samples: self.samples,
            "clusters": self.clusters,
            "ignored": self.ignored,
        }


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Mean:
    """Mean over the values that are not NaN, its confidence interval, and a count of both kinds.

    Args:
      values: of n samples.
      clusters: n labels; samples of one label are not independent. None: all are.

    Raises:
      ValueError: there are not as many labels as values.
    """
    values = np.asarray(values, np.float64)
    labels = range(len(values)) if clusters is None else clusters
    if len(labels) != len(values):
        raise ValueError(f"mean: there must be a cluster for each of {len(values)} values; got {len(labels)}.")
    defined = ~np.isnan(values)
    ignored = int(len(values) - defined.sum())
    if not defined.any():
        return Mean(math.nan, math.nan, 0, 0, ignored)
    number = {label: i for i, label in enumerate(dict.fromkeys(label for label, ok in zip(labels, defined, strict=True) if ok))}
    member = np.array([number[label] for label, ok in zip(labels, defined, strict=True) if ok])
    kept = values[defined]
    value, count = float(kept.mean()), len(number)
    spread = float(kept.std(ddof=1)) if len(kept) > 1 and math.isfinite(value) else math.nan, float(np.median(kept))
    if count < 2 or not math.isfinite(value):
        return Mean(value, math.nan, len(kept), count, ignored, *spread)
    deviations = np.bincount(member, kept - value)
    error = math.sqrt(count / (count - 1) * float(np.square(deviations).sum())) / len(kept)
    return Mean(value, float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error, len(kept), count, ignored, *spread)


def means(rows: Sequence[Mapping[str, Any]], scores: Sequence[str], cluster_by: Sequence[str] = ()) -> dict[str, Mean]:
    """Means of `scores` over rows.

    Args:
      rows: one per sample.
      scores: names of columns.
      cluster_by: columns; rows that agree in all of them are one cluster. (): every row is its own.

    Raises:
      ValueError: a row lacks a column.
    """
    for row in rows:
        if missing := [name for name in (*cluster_by, *scores) if name not in row]:
            raise ValueError(f"means: every row needs {list(cluster_by)} and the scores {list(scores)}; one lacks {missing}.")
    clusters = [tuple(row[name] for name in cluster_by) for row in rows] if cluster_by else None
    return {name: mean([row[name] for row in rows], clusters) for name in scores}


def members(rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, list[Mapping[str, Any]]]:
    """The rows that agree in `by`: value -> rows, sorted by the value.

    Raises:
      ValueError: a row lacks `by`.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if by not in row:
            raise ValueError(f"group: every row needs {by!r}; one has {list(row)}.")
        found.setdefault(str(row[by]), []).append(row)
    return {key: found[key] for key in sorted(found)}


def group(rows: Sequence[Mapping[str, Any]], by: str, scores: Sequence[str], cluster_by: Sequence[str] = ()) -> dict[str, dict[str, Mean]]:
    """Means of `scores` over the rows that agree in `by`; other arguments as for `means`.

    Returns:
      value of `by` -> score -> Mean, sorted by the value.

    Raises:
      ValueError: a row lacks `by` or a score.
    """
    return {key: means(found, scores, cluster_by) for key, found in members(rows, by).items()}


def mean_of_means(means: Sequence[Mean]) -> Mean:
    """The mean of groups' means, in which a small group counts as much as a large one; without an interval."""
    values = [one.value for one in means if not math.isnan(one.value)]
    counts = (sum(getattr(one, name) for one in means) for name in ("samples", "clusters", "ignored"))
    return Mean(float(np.mean(values)) if values else math.nan, math.nan, *counts)


def plural(word: str) -> str:
    """Of a regular English noun: "image" -> "images", "mesh" -> "meshes", "body" -> "bodies"."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def format_table(header: Sequence[str], lines: Sequence[Sequence[str]], units: Sequence[str] = ()) -> str:
    """Columns aligned with two spaces between: the first to the left, the others to the right.

    Args:
      header: the columns' names.
      lines: cells, as many each.
      units: of the columns, below their names; (): none are shown.

    Raises:
      ValueError: a line has another number of cells than the header.
    """
    heads = [header, units] if any(units) else [header]
    for line in (*heads, *lines):
        if len(line) != len(header):
            raise ValueError(f"format_table: every line needs {len(header)} cells as the header has; got {len(line)}: {list(line)}.")
    widths = [max(len(line[i]) for line in (*heads, *lines)) for i in range(len(header))]
    rule = ["-" * width for width in widths]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join(text(line) for line in (*heads, rule, *lines))
