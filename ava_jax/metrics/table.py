"""Scores of single images grouped into means with confidence intervals, and the tables that show them.

Images of one frame, seen by several cameras, are not independent: they share an expression and what the model makes of it. So intervals
are clustered: with G clusters of images and e_g the sum of a cluster's deviations from the mean of all n images, the mean's variance is
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
    """The mean of a score over images.

    Attributes:
      value: mean over the images on which the score is defined; NaN where there is none.
      half_width: of the CONFIDENCE interval around `value`; NaN where fewer than two clusters have the score.
      images: how many those are.
      clusters: of how many clusters they come.
      ignored: on how many images it is not defined (NaN).
    """

    value: float
    half_width: float
    images: int
    clusters: int
    ignored: int

    def to_json(self) -> dict[str, Any]:
        """`mean` is null where no image has the score, `interval` where there is none: JSON knows no NaN."""
        return {
            "mean": None if math.isnan(self.value) else self.value,
            "interval": None if math.isnan(self.half_width) else [self.value - self.half_width, self.value + self.half_width],
            "images": self.images,
            "clusters": self.clusters,
            "ignored": self.ignored,
        }


def mean(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Mean:
    """Mean over the values that are not NaN, its confidence interval, and a count of both kinds.

    Args:
      values: of n images.
      clusters: n labels; images of one label are not independent. None: all are.

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
    if count < 2:
        return Mean(value, math.nan, len(kept), count, ignored)
    deviations = np.bincount(member, kept - value)
    error = math.sqrt(count / (count - 1) * float(np.square(deviations).sum())) / len(kept)
    return Mean(value, float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error, len(kept), count, ignored)


def means(rows: Sequence[Mapping[str, Any]], scores: Sequence[str], alike: Sequence[str] = ()) -> dict[str, Mean]:
    """Means of `scores` over rows.

    Args:
      rows: one an image.
      scores: names of columns.
      alike: columns; rows that agree in all of them are one cluster. (): every row is its own.

    Raises:
      ValueError: a row lacks a column.
    """
    for row in rows:
        if missing := [name for name in (*alike, *scores) if name not in row]:
            raise ValueError(f"means: every row needs {list(alike)} and the scores {list(scores)}; one lacks {missing}.")
    clusters = [tuple(row[name] for name in alike) for row in rows] if alike else None
    return {name: mean([row[name] for row in rows], clusters) for name in scores}


def group(rows: Sequence[Mapping[str, Any]], by: str, scores: Sequence[str], alike: Sequence[str] = ()) -> dict[str, dict[str, Mean]]:
    """Means of `scores` over the rows that agree in `by`; other arguments as for `means`.

    Returns:
      value of `by` -> score -> Mean, sorted by the value.

    Raises:
      ValueError: a row lacks `by` or a score.
    """
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if by not in row:
            raise ValueError(f"group: every row needs {by!r}; one has {list(row)}.")
        members.setdefault(str(row[by]), []).append(row)
    return {key: means(members[key], scores, alike) for key in sorted(members)}


def format_table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns aligned with two spaces between: the first to the left, the others to the right.

    Raises:
      ValueError: a line has another number of cells than the header.
    """
    for line in lines:
        if len(line) != len(header):
            raise ValueError(f"format_table: every line needs {len(header)} cells as the header has; got {len(line)}: {list(line)}.")
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(len(header))]
    rule = ["-" * width for width in widths]

    def text(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join(text(line) for line in (header, rule, *lines))
