"""What an evaluation hands over: JSON of means, a CSV with a row per sample, tables for the terminal; what the task adds; pictures."""

import csv
import io
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ava_jax.core import binding
from ava_jax.core.types import Assets
from ava_jax.data import files
from ava_jax.metrics import table
from ava_jax.run import latex
from ava_jax.run.evaluation import SPLIT, SplitReport
from ava_jax.run.score_tables import View, scored
from ava_jax.tasks.base import Compile, Protocol, Task

_SCORES = "scores.json"


def check_folder(folder: pathlib.Path, names: Sequence[str], selection: str = "") -> None:
    """Refuses to write over the scores of other data.

    Args:
      folder: where scores are to go; it may hold some.
      names: of the data that are evaluated now.
      selection: of them, as `write` takes it.

    Raises:
      ValueError: what is there is of other data, or of another selection of them.
    """
    try:
        saved = json.loads((folder / _SCORES).read_text())
        there = saved["data"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or of a version that did not say
        return
    if set(there) != set(names):
        raise ValueError(f"{folder}: holds the scores of other data ({binding.listed(there)}): take another --out, or remove it.")
    if (before := saved.get("selection", "")) != selection:
        raise ValueError(f"{folder}: holds the scores of {before or 'what was held out'}: take another --out, or remove it.")


def protocol_of(task: Task, assets: Assets, reports: Mapping[str, SplitReport]) -> Protocol:
    """What was scored, and how."""
    return task.protocol({split: report.rows for split, report in reports.items()}, assets)


def write(
    folder: pathlib.Path,
    step: int,
    task: Task,
    assets: Assets,
    reports: Mapping[str, SplitReport],
    *,
    names: Sequence[str] = (),
    selection: str = "",
) -> list[pathlib.Path]:
    """Writes `scores.json`, `scores.csv`, `scores.tex` and the task's own summary into a folder that exists, and names the files.

    `names` are those of the data, as `Task.check_data` gives them; `selection` says what of them is scored, "" what was held out.
    """
    protocol = protocol_of(task, assets, reports)
    result = {
        "step": step,
        "data": list(names),
        "selection": selection,
        "protocol": dict(protocol.details),
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
    paper = folder / "scores.tex"
    files.replace(paper, latex.document(task, reports, protocol.lines))
    return [summaries, rows, paper, *task.summarize({split: report.rows for split, report in reports.items()}, assets, folder)]


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
    view = View(task, report)
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
    """The splits beside each other, then each split by its regions and by the task's groups."""
    views = {split: View(task, report) for split, report in reports.items()}
    lines = {}
    for split, view in views.items():
        lines[split] = view.line(view.report.rows)
        if task.mean_by:
            lines[f"{split}, mean of {task.mean_by} means"] = view.mean_line(view.groups(task.mean_by).values())
    first = next(iter(views.values()))
    main = first.table(SPLIT, lines)
    if "±" in main:
        main += f"\n± half the {table.CONFIDENCE:.0%} confidence interval of a mean{_clusters(task)}."
    parts = [main]
    for split, view in views.items():
        if view.report.unreadable:
            parts.append(f"{split}: {view.report.unreadable} samples listed could not be read.")
        if regions := view.regions(split, lines[split]):
            parts.append(regions)
        for by in task.group_by:
            parts.append(view.shortened(f"{split}, by {by}", scored(view.groups(by))))
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
