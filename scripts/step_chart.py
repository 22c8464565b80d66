"""Charts the training step's time by version, from what `bench_step.py --out` wrote: a JSON for chart.py.

  python scripts/step_chart.py docs/log/data/step_*.json --out=docs/log/data/step.json
  python scripts/chart.py docs/log/data/step.json --out=docs/images

Versions stand in the order of their commits, so the sources' history is needed. Batches of 4 alone.
"""

import collections
import json
import pathlib
import subprocess
import sys

from absl import app, flags

from ava_jax.tasks.ava256.migration import migrate
from ava_jax.train import config as configs

_OUT = flags.DEFINE_string("out", "docs/log/data/step.json", "JSON to write.")

_AIMS = {(512, 333): 15, (1024, 667): 32}  # ms


def commits_before(commit: str) -> int:
    """How many commits lead up to this one."""
    command = ["git", "-C", str(pathlib.Path(__file__).parent), "rev-list", "--count", commit]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def lines_of(report: dict) -> dict[tuple, float]:
    """(height, width, name of the line) -> ms."""
    config = json.loads(report["config"]) if "config" in report else {"model": {"precision": report["precision"]}}
    config = configs.from_json(config)
    migrate(config)
    fraction = config.model.get("background_fraction", 1.0)
    name = config.model.precision if fraction == 1 else f"{config.model.precision}, {fraction:g}"
    rows = [row for row in report["rows"] if row["batch"] == 4]
    return {(row["height"], row["width"], f"{name}, {row['regime']}"): row["step_ms"] for row in rows}


def chart(reports: list[dict]) -> dict:
    """A panel a size of picture."""
    commits = sorted({report["commit"] for report in reports}, key=commits_before)
    lines = collections.defaultdict(list)
    for report in reports:
        for (height, width, name), ms in lines_of(report).items():
            lines[height, width, name].append((commits.index(report["commit"]) + 1, round(ms, 2)))
    panels = []
    for (height, width), aim in _AIMS.items():
        series = [_series(name, sorted(points)) for (*size, name), points in sorted(lines.items()) if size == [height, width]]
        aims = {"name": "aim, trained", "x": [1, len(commits)], "y": [aim, aim], "dashed": True}
        panels.append({"title": f"4 x {height} x {width}", "x": "version", "y": "ms per step", "series": [*series, aims]})
    devices = ", ".join(sorted({report["device"] for report in reports}))
    versions = ", ".join(f"{i} {commit}" for i, commit in enumerate(commits, 1))
    note = f"{devices}; scripts/bench_step.py, docs/step. Versions: {versions}. A number after the precision: model.background_fraction."
    return {"title": "The training step by version", "note": note, "panels": panels}


def _series(name: str, points: list[tuple[int, float]]) -> dict:
    x, y = zip(*points, strict=True)
    return {"name": name, "x": list(x), "y": list(y)}


def main(arguments: list[str]) -> None:
    if len(arguments) < 2:
        sys.exit("step_chart.py: name one JSON file or more, as in docs/log/data/step_*.json")
    try:
        files = [json.loads(pathlib.Path(name).read_text()) for name in arguments[1:]]
    except (OSError, ValueError) as error:
        sys.exit(f"step_chart.py: {error}; name files that bench_step.py --out wrote")
    reports = [file for file in files if "rows" in file]  # traces lie beside them
    pathlib.Path(_OUT.value).write_text(json.dumps(chart(reports), indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
