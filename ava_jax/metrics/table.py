"""Scores of single images grouped into means, and the tables that show them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of a score over images.

    Attributes:
      value: mean over the images on which the score is defined; NaN where there is none.
      images: how many those are.
      ignored: on how many it is not defined (NaN).
    """

    value: float
    images: int
    ignored: int

    def to_json(self) -> dict[str, Any]:
        """`mean` is null where no image has the score: JSON knows no NaN."""
        return {"mean": None if math.isnan(self.value) else self.value, "images": self.images, "ignored": self.ignored}


def mean(values: Sequence[float]) -> Mean:
    """Mean over the values that are not NaN, with a count of both kinds."""
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    return Mean(float(defined.mean()) if len(defined) else math.nan, len(defined), len(values) - len(defined))


def group(rows: Sequence[Mapping[str, Any]], by: str, scores: Sequence[str]) -> dict[str, dict[str, Mean]]:
    """Means of `scores` over the rows that agree in `by`.

    Returns:
      value of `by` -> score -> Mean, sorted by the value.

    Raises:
      ValueError: a row lacks `by` or a score.
    """
    members: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if missing := [name for name in (by, *scores) if name not in row]:
            raise ValueError(f"group: every row needs {by!r} and the scores {list(scores)}; one lacks {missing}.")
        members.setdefault(str(row[by]), []).append(row)
    return {key: {name: mean([row[name] for row in members[key]]) for name in scores} for key in sorted(members)}


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
