"""Predictions of frames in a row, and how much they tremble.

Jitter needs neighbouring frames, which a score of single meshes does not have. So it is taken from stretches of frames that were held out,
with the two frames before them: of each frame the root mean square, over vertices, of the second difference x(t) - 2 x(t - 1) + x(t - 2).
Smooth motion and noise both add to it: a prediction should come near the scan's, or under it by the scan's noise, and not above.
"""

import csv
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.data import pipeline
from ava_jax.tasks.base import Compile
from ava_jax.tasks.mesh_fit.data import source
from ava_jax.tasks.mesh_fit.evaluation.summary import markdown_table

NAME = "jitter"
_MOST_FRAMES = 300  # of a sequence

Predict = Callable[[Any, Batch], dict[str, jax.Array]]  # `Task.predict`


class Recording(NamedTuple):
    """What became of a stretch of frames.

    Attributes:
      sequence, split: names.
      frames: names of the first T frames that were scored.
      source, prediction, target: f32 [T, V, 3], metres, of these.
      jitter: of each of the three, by name, in mm: the root mean square over all scored frames; NaN where no frame has two before it.
    """

    sequence: str
    split: str
    frames: list[str]
    source: np.ndarray
    prediction: np.ndarray
    target: np.ndarray
    jitter: dict[str, float]


def record(compile_model: Compile, predict: Predict, config: ConfigDict, assets: Assets, *, keep: int) -> list[Recording]:
    """Predicts every stretch of frames that was held out, up to `_MOST_FRAMES` of a sequence.

    Args:
      compile_model: of the trained model.
      predict: of the task.
      config: of the task.
      assets: of the task.
      keep: frames of a recording to keep, for pictures.
    """
    compiled = compile_model(predict)
    return [_record(compiled, config, stretch, keep) for stretch in source.stretches(config, assets, most=_MOST_FRAMES)]


def _record(compiled: Callable[[Batch], Any], config: ConfigDict, stretch: source.Stretch, keep: int) -> Recording:
    kinds = ("source", "prediction", "target")
    window: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}  # the last three frames
    kept: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
    squares: dict[str, list[float]] = {kind: [] for kind in kinds}
    names: list[str] = []
    first = len(stretch.samples) - stretch.scored
    position = 0
    for batch, count in pipeline.read_in_order(stretch.samples, config.eval.batch_size, threads=config.data.read_threads):
        found = {"source": batch["source"][:, -1], "prediction": np.asarray(compiled(batch)["vertices"]), "target": batch["target"]}
        for i in range(count):
            for kind in kinds:
                window[kind] = [*window[kind][-2:], np.asarray(found[kind][i])]
                if position >= first and len(window[kind]) == 3:
                    squares[kind].append(second_difference(np.stack(window[kind])))
            if first <= position < first + keep:
                names.append(source.name_of(batch["name"][i])[1])
                for kind in kinds:
                    kept[kind].append(window[kind][-1])
            position += 1
    jitter = {kind: float(np.sqrt(np.mean(values))) if values else np.nan for kind, values in squares.items()}
    return Recording(stretch.sequence, stretch.split, names, *(np.stack(kept[kind]) for kind in kinds), jitter)


def second_difference(meshes: Array) -> float:
    """The mean square, over vertices, of the second difference of three meshes [3, V, 3], metres: mm^2."""
    before, middle, after = np.asarray(meshes, np.float64)
    return float(np.square(1e3 * (after - 2 * middle + before)).sum(-1).mean())


def write_jitter(recordings: Sequence[Recording], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `jitter.csv` and `jitter.md`, a line per recording, mm, into a folder that exists."""
    header = ["split", "sequence", "source", "prediction", "target"]
    lines = [(recording.split, recording.sequence, *(recording.jitter[kind] for kind in header[2:])) for recording in recordings]
    csv_file, markdown = folder / f"{NAME}.csv", folder / f"{NAME}.md"
    with open(csv_file, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([split, name, *("" if np.isnan(value) else repr(value) for value in values)] for split, name, *values in lines)
    cells = [[split, name, *("-" if np.isnan(value) else f"{value:.2f}" for value in values)] for split, name, *values in lines]
    markdown.write_text(markdown_table(["split", "sequence", *(f"{kind}'s jitter, mm" for kind in header[2:])], cells))
    return [csv_file, markdown]
