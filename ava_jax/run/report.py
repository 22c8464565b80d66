"""What an evaluation hands over: JSON of means, a CSV with a row an image, tables for the terminal."""

import csv
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ava_jax.data import files
from ava_jax.metrics import table
from ava_jax.run.evaluation import SplitReport

GROUPS = ("identity", "camera", "segment")  # columns of `Task.describe` that means are taken by, where a task has them
FRAME = ("identity", "segment", "frame")  # images that agree in these are one cluster: see metrics/table.py
GAIN = "gain"
_MOST_LINES = 24  # of a table on the terminal; the files hold all


def write(folder: pathlib.Path, step: int, reports: Mapping[str, SplitReport]) -> list[pathlib.Path]:
    """Writes `scores.json` and `scores.csv` into a folder that exists, and names them."""
    result = {"step": step, "confidence": table.CONFIDENCE, "splits": {split: summary(report) for split, report in reports.items()}}
    summaries, rows = folder / "scores.json", folder / "scores.csv"
    files.replace(summaries, json.dumps(result, indent=2, allow_nan=False) + "\n")
    names = dict.fromkeys(name for report in reports.values() for name in report.rows[0])
    text = io.StringIO()
    writer = csv.DictWriter(text, ["split", *names], lineterminator="\n")
    writer.writeheader()
    for split, report in reports.items():
        writer.writerows({"split": split} | {name: _cell(value) for name, value in row.items()} for row in report.rows)
    files.replace(rows, text.getvalue())
    return [summaries, rows]


def _cell(value: Any) -> Any:
    """Empty where a score is not defined."""
    return "" if isinstance(value, float) and np.isnan(value) else value


def summary(report: SplitReport) -> dict[str, Any]:
    """Means of one split, over all and by `GROUPS`, as JSON can carry them."""

    def as_json(means: Mapping[str, table.Mean]) -> dict[str, Any]:
        return {name: mean.to_json() for name, mean in means.items()}

    groups = {by: {key: as_json(means) for key, means in _group(report, by).items()} for by in _groups(report)}
    return {"images": len(report.rows), "unreadable": report.unreadable, "scores": as_json(_means(report)), "by": groups}


def tables(reports: Mapping[str, SplitReport]) -> str:
    """The splits beside each other, then each split by identity, camera and segment."""
    parts = [_table("split", {split: _means(report) for split, report in reports.items()})]
    if "±" in parts[0]:
        parts[0] += f"\n± half the {table.CONFIDENCE:.0%} confidence interval of a mean; the images of one frame count as one observation."
    for split, report in reports.items():
        if report.unreadable:
            parts.append(f"{split}: {report.unreadable} samples listed could not be read.")
        for by in _groups(report):
            parts.append(_shortened(f"{split}, by {by}", _scored(_group(report, by))))
    return "\n\n".join(parts)


def _groups(report: SplitReport) -> list[str]:
    return [by for by in GROUPS if by in report.rows[0]]


def _columns(report: SplitReport) -> list[str]:
    return [*report.scores, *report.baseline, *([GAIN] if report.baseline else [])]


def _with_gain(report: SplitReport) -> list[dict[str, Any]]:
    """The rows, with what the first of the baseline's scores is exceeded by: image by image, so that the interval is the difference's."""
    if not report.baseline:
        return report.rows
    theirs = report.baseline[0]
    return [{**row, GAIN: row[theirs.removeprefix("baseline_")] - row[theirs]} for row in report.rows]


def _alike(report: SplitReport) -> list[str]:
    return [name for name in FRAME if name in report.rows[0]] if FRAME[-1] in report.rows[0] else []


def _means(report: SplitReport) -> dict[str, table.Mean]:
    return table.means(_with_gain(report), _columns(report), _alike(report))


def _group(report: SplitReport, by: str) -> dict[str, dict[str, table.Mean]]:
    return table.group(_with_gain(report), by, _columns(report), _alike(report))


def _scored(groups: Mapping[str, Mapping[str, table.Mean]]) -> dict[str, dict[str, table.Mean]]:
    """Without the scores that no group has."""
    have = {name for means in groups.values() for name, mean in means.items() if mean.images}
    return {key: {name: mean for name, mean in means.items() if name in have} for key, means in groups.items()}


def _shortened(title: str, groups: Mapping[str, Mapping[str, table.Mean]]) -> str:
    """The table of all groups, or of the lowest and the highest where they are many."""
    if len(groups) <= _MOST_LINES:
        return _table(title, groups)
    half = _MOST_LINES // 2
    score = next(iter(next(iter(groups.values()))))
    order = sorted(groups, key=lambda key: np.nan_to_num(groups[key][score].value, nan=np.inf))
    lines = {key: groups[key] for key in [*order[:half], *order[-half:]]}
    return _table(title, lines) + f"\nThe {half} lowest and the {half} highest of {len(groups)} in {_words(score)}; all are in scores.json."


def _table(title: str, lines: Mapping[str, Mapping[str, table.Mean]]) -> str:
    """One table: a line a group. Intervals stand beside the first score and the gain; the files have them all.

    Of the baseline its first score is shown.
    """
    rows = list(lines.values())
    baseline = next((name for name in rows[0] if name.startswith("baseline_")), None)
    shown = [name for name in rows[0] if not name.startswith("baseline_") or name == baseline]
    # The score that the gain is in, and the first one: all else would only widen the table.
    sure = {next(iter(rows[0])), GAIN, *([baseline.removeprefix("baseline_")] if baseline else [])}
    text = []
    for key, means in lines.items():
        images = max(mean.images + mean.ignored for mean in means.values())
        text.append([key, str(images), *(_number(name, means[name], interval=name in sure) for name in shown)])
    return table.format_table([title, "images", *map(_words, shown)], text)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(score: str, mean: table.Mean, *, interval: bool) -> str:
    """SSIM lives in the third decimal, dB and grey levels in the second. A dash where no image has the score."""
    if np.isnan(mean.value):
        return "-"
    digits = 4 if "ssim" in score else 2
    text = f"{mean.value:{'+' if score == GAIN else ''}.{digits}f}"
    return f"{text} ±{mean.half_width:.{digits}f}" if interval and not np.isnan(mean.half_width) else text
