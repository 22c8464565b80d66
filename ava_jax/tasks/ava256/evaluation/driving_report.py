"""Driving scores as a table for the terminal, JSON, CSV and curves of mouths."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ava_jax.data import files
from ava_jax.data.text_files import csv_text
from ava_jax.metrics import table
from ava_jax.tasks.ava256.evaluation import driving_scores
from ava_jax.tasks.ava256.evaluation.driving_scores import Pair
from ava_jax.tasks.base import Score
from ava_jax.viz import plot

_MOST_LINES = 24  # of a table on the terminal; the files hold all
_CHART = (960, 300)  # pixels, width and height, of one driver's curves
_MOST_DRIVERS = 6  # of the picture
_MOST_CURVES = 8  # of a driver


def text(pairs: Sequence[Pair], scores: Sequence[Score]) -> str:
    """The means of own and of crossed pairs, then the pairs."""
    names = [score.name for score in scores]
    lines = [[kind, "", *_cells(values, scores)] for kind, values in driving_scores.means(pairs, names).items()]
    shown = sorted(pairs, key=lambda pair: not pair.own)[:_MOST_LINES]
    lines += [[short(pair.driver), short(pair.shown), *_cells(pair.scores, scores)] for pair in shown]
    told = table.format_table(
        ["driver", "shown", *(name.replace("_", " ") for name in names)], lines, ["", "", *(score.unit for score in scores)]
    )
    return told if len(pairs) <= _MOST_LINES else f"{told}\n{_MOST_LINES} of {len(pairs)} pairs; all are in driving_scores.csv."


def short(name: str) -> str:
    """The subject of a capture."""
    return name.rpartition("--")[2]


def _cells(values: Mapping[str, float], scores: Sequence[Score]) -> list[str]:
    return [score.format(values.get(score.name, np.nan)) for score in scores]


def write(
    pairs: Sequence[Pair], truth: Mapping[str, np.ndarray], scores: Sequence[Score], about: Mapping[str, Any], folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes `driving_scores.json`, `driving_scores.csv` (a row per pair), `mouth_openings.csv` and `mouth_openings.png`.

    Args:
      pairs: everybody driven by everybody.
      truth: driver -> f64 [F], mm, the opening of the tracked mouth, of the same frames as the pairs'.
      scores: that the pairs have.
      about: how they were measured, for JSON.
      folder: that exists.

    Returns:
      The files.

    Raises:
      OSError: a file cannot be written.
    """
    names = [score.name for score in scores]
    means = {kind: _known(values) for kind, values in driving_scores.means(pairs, names).items()}
    listed = [{"driver": pair.driver, "shown": pair.shown, **_known(pair.scores)} for pair in pairs]
    declared = {score.name: {"unit": score.unit, "higher_is_better": score.higher_is_better} for score in scores}
    whole = json.dumps({**about, "scores": declared, "means": means, "pairs": listed}, indent=2, allow_nan=False) + "\n"
    rows = [[pair.driver, pair.shown, *(_cell(pair.scores.get(name, np.nan)) for name in names)] for pair in pairs]
    openings = [[name, "tracked", i, value] for name, of in truth.items() for i, value in enumerate(of.tolist())]
    openings += [[pair.driver, pair.shown, i, value] for pair in pairs for i, value in enumerate(pair.opening.tolist())]
    contents = {
        "driving_scores.json": whole,
        "driving_scores.csv": csv_text(["driver", "shown", *names], rows),
        "mouth_openings.csv": csv_text(["driver", "shown", "frame", "opening_mm"], openings),
    }
    for name, content in contents.items():
        files.replace(folder / name, content)
    picture = folder / "mouth_openings.png"
    Image.fromarray(curves(pairs, truth)).save(picture)
    return [*(folder / name for name in contents), picture]


def curves(pairs: Sequence[Pair], truth: Mapping[str, np.ndarray]) -> np.ndarray:
    """A chart per driver, the first few: the tracked mouth's opening over frames, and that of everybody driven: u8 [H, W, 3]."""
    charts = []
    for driver in list(truth)[:_MOST_DRIVERS]:
        driven = [pair for pair in pairs if pair.driver == driver][:_MOST_CURVES]
        found = {f"{short(driver)}, tracked": truth[driver]}
        found |= {
            f"{short(pair.shown)}, r {pair.scores['mouth_r']:.2f}, slope {pair.scores['mouth_slope']:.2f}": pair.opening for pair in driven
        }
        places = {name: (np.arange(len(values)), values) for name, values in found.items()}
        charts.append(plot.lines(places, title=f"Mouths driven by {driver}", across="frame", up="mm", size=_CHART))
    return np.concatenate(charts)


def _known(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def _cell(value: float) -> float | str:
    return "" if np.isnan(value) else value
