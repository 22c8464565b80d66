"""A table of every sequence's scores beside what needs no learning, as CSV and as Markdown."""

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ava_jax.core.types import Assets
from ava_jax.tasks.base import Row, Score
from ava_jax.tasks.mesh_fit.evaluation.baselines import BASELINES, IDENTITY
from ava_jax.tasks.mesh_fit.evaluation.scores import SCORES

NAME = "sequences"
TIMES = "times"  # how many times less the MSE is than identity copy's


def summarize(rows: Mapping[str, Sequence[Row]], assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `sequences.csv` and `sequences.md`: a line per split and sequence, and one per split over all its meshes.

    Args:
      rows: split -> a row per mesh: `sequence`, the scores, and those of the baselines as "<baseline>_<score>".
      assets: of the task.
      folder: that exists.
    """
    del assets
    columns = [*SCORES, *(Score(f"{name}_{SCORES[0].name}", **_as(SCORES[0])) for name in BASELINES), Score(TIMES, True, digits=1)]
    lines = []
    for split, found in rows.items():
        names = list(dict.fromkeys(row["sequence"] for row in found))
        groups = {name: [row for row in found if row["sequence"] == name] for name in names}
        for name, group in {**groups, **({"all": found} if len(groups) > 1 else {})}.items():
            lines.append(({"split": split, "sequence": name, "meshes": str(len(group))}, _means(group, columns)))
    csv_file, markdown = folder / f"{NAME}.csv", folder / f"{NAME}.md"
    with open(csv_file, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*lines[0][0], *(column.name for column in columns)])
        writer.writerows([*who.values(), *("" if np.isnan(value) else repr(value) for value in values)] for who, values in lines)
    header = [*lines[0][0], *(f"{column.name.replace('_', ' ')}{f', {column.unit}' if column.unit else ''}" for column in columns)]
    cells = ([*who.values(), *(column.format(value) for column, value in zip(columns, values, strict=True))] for who, values in lines)
    markdown.write_text(markdown_table(header, cells))
    return [csv_file, markdown]


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table as GitHub shows it."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *lines))


def _as(score: Score) -> dict[str, object]:
    return {"higher_is_better": score.higher_is_better, "unit": score.unit, "digits": score.digits, "scientific": score.scientific}


def _means(rows: Sequence[Row], columns: Sequence[Score]) -> list[float]:
    """Means of the columns over rows; NaN where a column is not there."""
    found = {column.name: float(np.mean([row.get(column.name, np.nan) for row in rows])) for column in columns if column.name != TIMES}
    mse = SCORES[0].name
    return [*found.values(), found[f"{IDENTITY}_{mse}"] / found[mse] if found[mse] > 0 else np.nan]
