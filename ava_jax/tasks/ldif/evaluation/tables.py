"""Scores in the columns of the published evaluation: CSV for each shape and for classes, LaTeX."""

import csv
import io
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ava_jax.data import files
from ava_jax.tasks.base import Row

# Published heading -> our score, digits in LaTeX.
COLUMNS = {
    "Normal Consistency": ("normal_consistency", 3),
    "F-Score (tau)": ("f_score", 1),
    "F-Score (2*tau)": ("f_score_2tau", 1),
    "Chamfer": ("chamfer", 3),
    "IoU": ("iou", 1),
}
_MEAN = "mean"


def write(rows: Mapping[str, Sequence[Row]], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `full_results_SPLIT.csv`, `result_summary_SPLIT.csv` (classes, and the mean of their means) and `published.tex`; names them.

    Args:
      rows: split -> a row per shape: "class", "name", and the scores; NaN is left empty.
      folder: is there.
    """
    written, tables = [], []
    for split, found in rows.items():
        full = [[f"{row['class']}|{row['name']}", *(float(row[name]) for name, _ in COLUMNS.values())] for row in found]
        summary = classes(found)
        for name, lines in ((f"full_results_{split}.csv", full), (f"result_summary_{split}.csv", summary)):
            files.replace(folder / name, _csv(lines))
            written.append(folder / name)
        tables.append(f"% {split}\n{_latex(summary)}")
    files.replace(folder / "published.tex", "% needs \\usepackage{booktabs}\n" + "\n".join(tables))
    return [*written, folder / "published.tex"]


def classes(rows: Sequence[Row]) -> list[list]:
    """A line per class, [class, mean of each of COLUMNS], and last the mean of the classes' means; shapes without a score do not count."""
    kinds = sorted({row["class"] for row in rows})
    means = np.array([[_mean([row[name] for row in rows if row["class"] == kind]) for name, _ in COLUMNS.values()] for kind in kinds])
    every = [_mean(column) for column in means.T]
    return [*([kind, *map(float, line)] for kind, line in zip(kinds, means)), [_MEAN, *every]]


def _mean(values: Sequence[float]) -> float:
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def _csv(lines: Sequence[Sequence]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", *COLUMNS])
    writer.writerows([[key, *("" if np.isnan(value) else value for value in values)] for key, *values in lines])
    return text.getvalue()


def _latex(lines: Sequence[Sequence]) -> str:
    def row(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    def cells(values: Sequence[float]) -> list[str]:
        return ["--" if np.isnan(value) else f"{value:.{digits}f}" for value, (_, digits) in zip(values, COLUMNS.values())]

    *kinds, mean = [row([key.replace("_", r"\_"), *cells(values)]) for key, *values in lines]
    head = row(["class", *(name.replace("tau", r"$\tau$").replace("2*", "2") for name in COLUMNS)])
    body = ["\\begin{tabular}{l" + "r" * len(COLUMNS) + "}", r"\toprule", head, r"\midrule", *kinds, r"\midrule", mean, r"\bottomrule"]
    return "\n".join([*body, r"\end{tabular}"]) + "\n"
