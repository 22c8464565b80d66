"""Draws charts from JSON: `python scripts/chart.py chart.json [more.json ...] --out=docs/images`.

Each file becomes an SVG of the same name in the folder `--out`. A file holds

  {"title": "Cost of a step", "note": "machine, commit, command",
   "panels": [{"title": "by frames", "x": "frames", "y": "ms", "log_x": true, "log_y": true,
               "series": [{"name": "forward", "x": [1, 2, 4], "y": [1.0, 2.1, 3.9], "dashed": false}]}]}

Only `panels`, and of a panel `x`, `y` and `series`, are required; a linear y axis begins at 0. `dashed` is for what was not
measured: a floor, a law, an aim.
Needs matplotlib: pip install "ava-jax[charts]". As a library: `draw(chart, path)`.
"""

import json
import pathlib
import sys
import textwrap

import matplotlib
import matplotlib.pyplot as plt
from absl import app, flags
from matplotlib.ticker import LogFormatter

_OUT = flags.DEFINE_string("out", ".", "Folder of the pictures.")

# Told apart by the colour-blind too, in this order (Okabe and Ito); the ink is darker than the grid, the data than both.
_DASHES = ("--", ":", "-.")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_INK, _GRID = "#444444", "#e4e4e4"
_STYLE = {
    "svg.fonttype": "path", "svg.hashsalt": "ava_jax", "font.size": 9, "text.color": _INK, "axes.labelcolor": _INK,
    "axes.edgecolor": "#999999", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": _GRID,
    "axes.axisbelow": True, "xtick.color": _INK, "ytick.color": _INK, "lines.linewidth": 1.8, "lines.markersize": 4.5,
    "legend.frameon": False, "axes.titlesize": 9.5,
}  # fmt: skip
_PANELS_A_ROW, _MOST_TICKS = 3, 7


def draw(chart: dict, path: pathlib.Path | str) -> None:
    """Writes one chart (see the top of this file) to `path`; its ending names the format.

    Raises:
      ValueError: the chart lacks a key, or a series' x and y differ in length.
    """
    _check(chart)
    panels = chart["panels"]
    columns = min(len(panels), _PANELS_A_ROW)
    rows = -(-len(panels) // columns)
    width = max(3.4 * columns, 5.2)
    with matplotlib.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(width, 2.9 * rows + 0.5), squeeze=False, layout="constrained")
        for axis, panel in zip(axes.flat, panels):
            _draw_panel(axis, panel)
        for axis in list(axes.flat)[len(panels) :]:
            axis.remove()
        if "title" in chart:
            figure.suptitle(chart["title"], x=0.01, ha="left", fontsize=11, fontweight="bold")
        if "note" in chart:
            figure.supxlabel(textwrap.fill(chart["note"], int(18 * width)), x=0.01, ha="left", fontsize=7, color="#777777")
        figure.savefig(path, dpi=110, facecolor="white", metadata={"Date": None} if str(path).endswith(".svg") else None)
        plt.close(figure)


def _draw_panel(axis, panel: dict) -> None:
    solid = dashed = 0
    for series in panel["series"]:
        if series.get("dashed", False):
            style = _DASHES[dashed % len(_DASHES)]
            axis.plot(series["x"], series["y"], linestyle=style, color="#888888", linewidth=1.2, label=series.get("name"))
            dashed += 1
            continue
        axis.plot(series["x"], series["y"], "o-", color=_COLOURS[solid], label=series.get("name"))
        solid += 1
    if panel.get("log_x", False):
        axis.set_xscale("log")
    places = sorted({x for series in panel["series"] for x in series["x"]})
    if len(places) <= _MOST_TICKS:  # where something was measured, rather than at round numbers
        axis.set_xticks(places)
        axis.set_xticks([], minor=True)
    axis.xaxis.set_major_formatter(_short)
    if panel.get("log_y", False):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(_short)
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))  # plain numbers, where there is room
    else:
        axis.set_ylim(bottom=0)
    axis.set(xlabel=panel["x"], ylabel=panel["y"])
    axis.set_title(panel.get("title", ""), loc="left")
    if any("name" in series for series in panel["series"]):
        axis.legend()


def _short(number: float, _position) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _check(chart: dict) -> None:
    if not chart.get("panels"):
        raise ValueError(f'chart: a list "panels" of one panel or more is required; got the keys {sorted(chart)}.')
    for number, panel in enumerate(chart["panels"]):
        missing = {"x", "y", "series"} - panel.keys()
        if missing:
            raise ValueError(f"chart: panel {number} must have x, y and series; it lacks {sorted(missing)}.")
        if sum(not series.get("dashed", False) for series in panel["series"]) > len(_COLOURS):
            raise ValueError(f"chart: panel {number} may have at most {len(_COLOURS)} series; split it into panels.")
        for series in panel["series"]:
            if len(series["x"]) != len(series["y"]):
                name = series.get("name")
                raise ValueError(f"chart: panel {number}, series {name}: {len(series['x'])} x for {len(series['y'])} y.")


def main(arguments):
    if len(arguments) < 2:
        sys.exit("chart.py: name one JSON file or more, as in `python scripts/chart.py chart.json --out=docs/images`")
    for name in map(pathlib.Path, arguments[1:]):
        path = pathlib.Path(_OUT.value) / f"{name.stem}.svg"
        draw(json.loads(name.read_text()), path)
        print(path)


if __name__ == "__main__":
    matplotlib.use("Agg")
    app.run(main)
