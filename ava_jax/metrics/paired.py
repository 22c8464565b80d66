"""Scores of two models on the same samples: paired differences with confidence intervals, and who is better.

A difference is taken sample by sample, so that what makes a sample hard for both falls out of it: its interval is far narrower than those
of the two means. The interval is that of `table.mean`: cluster-robust, t(G - 1).
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.metrics import table
from ava_jax.metrics.table import Mean

FIRST, SECOND, NEITHER, UNKNOWN = "first", "second", "neither", "unknown"
Row = Mapping[str, Any]
Key = tuple[Hashable, ...]


class Paired(NamedTuple):
    """A score of two models over samples that both have it for.

    Attributes:
      first, second: means.
      difference: second less first, with its interval.
      wins: of the samples, on how many the second is better.
      losses: on how many the first is; on the rest they are equal.
      better: FIRST or SECOND where the interval lies to one side of 0, NEITHER where it holds 0 (or every difference is 0), UNKNOWN
        where there is no interval.
    """

    first: float
    second: float
    difference: Mean
    wins: int
    losses: int
    better: str


def pair(first: Sequence[float], second: Sequence[float], *, higher_is_better: bool, clusters: Sequence[Hashable] | None = None) -> Paired:
    """Compares n samples' scores; those for which either is NaN are left out of both means.

    Args:
      first, second: [n], of the same samples.
      higher_is_better: the score's direction.
      clusters: n labels, as for `table.mean`; None: every sample is its own.

    Raises:
      ValueError: they do not have one length.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"pair: both must have a score for each sample; got {len(a)} and {len(b)}.")
    apart = b - a
    defined = ~np.isnan(apart)
    difference = table.mean(apart, clusters)
    gained = apart[defined] if higher_is_better else -apart[defined]
    means = (float(x[defined].mean()) if defined.any() else math.nan for x in (a, b))
    return Paired(*means, difference, int((gained > 0).sum()), int((gained < 0).sum()), _better(difference, higher_is_better))


def _better(difference: Mean, higher_is_better: bool) -> str:
    if not math.isfinite(difference.half_width):
        return UNKNOWN
    if abs(difference.value) <= difference.half_width:
        return NEITHER
    return SECOND if (difference.value > 0) == higher_is_better else FIRST


class Matched(NamedTuple):
    """Samples of two tables, found by what they are.

    Attributes:
      pairs: (row of the first, row of the second), in the first's order.
      only_first, only_second: how many samples the other lacks.
    """

    pairs: list[tuple[Row, Row]]
    only_first: int
    only_second: int


def match(first: Iterable[Row], second: Iterable[Row], by: Sequence[str]) -> Matched:
    """Finds the samples that two tables have in common.

    Args:
      first, second: rows.
      by: columns; rows that agree in all of them are of one sample.

    Raises:
      ValueError: two rows of one table are of the same sample, and do not say the same.
    """
    ours, theirs = (_by_key(rows, by) for rows in (first, second))
    pairs = [(row, theirs[key]) for key, row in ours.items() if key in theirs]
    return Matched(pairs, len(ours) - len(pairs), len(theirs) - len(pairs))


def _by_key(rows: Iterable[Row], by: Sequence[str]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in rows:
        key = tuple(row[name] for name in by)
        if key in found and not _same(found[key], row):
            told = ", ".join(f"{name} {value}" for name, value in zip(by, key, strict=True))
            raise ValueError(f"match: two rows are of the same sample ({told}) and differ: which of them to compare is not known.")
        found[key] = row
    return found


def _same(first: Row, second: Row) -> bool:
    """Whether two rows say the same, NaN where the other has NaN: a sample that was scored twice counts once."""
    return all(value == second[name] or (value != value and second[name] != second[name]) for name, value in first.items())
