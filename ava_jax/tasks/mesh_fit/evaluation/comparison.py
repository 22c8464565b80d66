"""The published experiment's runs side by side: what to train, what became of it, a table, loss curves and a sheet of pictures."""

import csv
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ava_jax.data import obj_files
from ava_jax.metrics import score_files
from ava_jax.tasks.mesh_fit.data import folders, sequences
from ava_jax.tasks.mesh_fit.data.source import UNSEEN_FRAMES, UNSEEN_SEQUENCES
from ava_jax.tasks.mesh_fit.evaluation import curves, motion, scores
from ava_jax.tasks.mesh_fit.evaluation.baselines import BASELINES
from ava_jax.tasks.mesh_fit.evaluation.pictures import PANEL, with_legend
from ava_jax.tasks.mesh_fit.evaluation.summary import markdown_table
from ava_jax.tasks.mesh_fit.evaluation.view import View, error_colours, error_mm
from ava_jax.viz import sheet

SPLITS = (UNSEEN_FRAMES, UNSEEN_SEQUENCES)
_MSE = scores.SCORES[0].name


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of the comparison.

    Attributes:
      variant: of the config.
      condition_on: "time" or "vertex".
      epochs: over the data; 0: as long as the config says.
    """

    variant: str
    condition_on: str
    epochs: int

    @property
    def name(self) -> str:
        """Of its folder and its line."""
        return f"{self.variant}_{self.condition_on}{f'_{self.epochs}' if self.epochs else ''}"


class Result:
    """What an evaluated run says of itself, read from its folder."""

    def __init__(self, run: Run, workdir: pathlib.Path):
        """Reads the scores of the last step that was evaluated.

        Raises:
          FileNotFoundError: none was.
        """
        self.run, self.workdir = run, workdir
        folder = evaluated(workdir)
        if folder is None:
            raise FileNotFoundError(f"{workdir}: has no eval/<step>/scores.json.")
        self._splits = json.loads((folder / score_files.SUMMARY).read_text())["splits"]
        with open(folder / f"{motion.NAME}.csv", newline="") as file:
            self._jitter = list(csv.DictReader(file))

    def mean(self, split: str, column: str) -> float:
        """Of a score, as in `mse` or `identity_mse`, over a split; NaN where there is none."""
        value = self._splits.get(split, {}).get("scores", {}).get(column, {}).get("mean")
        return np.nan if value is None else value

    def jitter(self, split: str, kind: str) -> float:
        """The root mean square jitter, mm, of `prediction`, `source` or `target` over the sequences of a split; NaN where there is none."""
        values = [float(row[kind]) for row in self._jitter if row["split"] == split and row[kind]]
        return float(np.sqrt(np.mean(np.square(values)))) if values else np.nan

    @property
    def best_by(self) -> float:
        """The mean squared error that runs are ranked by: of frames held out or, without these, of sequences."""
        first, second = (self.mean(split, _MSE) for split in SPLITS)
        return second if np.isnan(first) else first


def evaluated(workdir: pathlib.Path) -> pathlib.Path | None:
    """The folder of a run's last evaluation; None where there is none."""
    done = [folder for folder in score_files.evaluations(workdir) if (folder / f"{motion.NAME}.csv").is_file()]
    return done[-1] if done else None


def write_table(results: Sequence[Result], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `comparison.csv` and `comparison.md`: a line per run, and one per floor."""
    columns = [f"{split}_{name}" for split in SPLITS for name in (*(score.name for score in scores.SCORES), "jitter")]
    lines: list[tuple[list[Any], list[float]]] = []
    for result in results:
        values = [
            result.jitter(split, "prediction") if name == "jitter" else result.mean(split, name)
            for split in SPLITS
            for name in (*(score.name for score in scores.SCORES), "jitter")
        ]
        lines.append(([result.run.variant, result.run.condition_on, result.run.epochs or "-"], values))
    for floor in BASELINES:
        values = []
        for split in SPLITS:
            values += [results[0].mean(split, f"{floor}_{score.name}") for score in scores.SCORES]
            values.append(results[0].jitter(split, "source") if floor == BASELINES[0] else np.nan)
        lines.append(([floor.replace("_", " "), "-", "-"], values))
    scan = [x for split in SPLITS for x in (*[np.nan] * len(scores.SCORES), results[0].jitter(split, "target"))]
    lines.append((["scan", "-", "-"], scan))
    table, markdown = folder / "comparison.csv", folder / "comparison.md"
    with open(table, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "condition_on", "epochs", *columns])
        writer.writerows([*who, *("" if np.isnan(value) else repr(float(value)) for value in values)] for who, values in lines)
    markdown.write_text(_markdown(lines, columns))
    return [table, markdown]


def _markdown(lines: Sequence[tuple[list[Any], list[float]]], columns: Sequence[str]) -> str:
    """The table without columns that no line has."""
    shown = [i for i in range(len(columns)) if not all(np.isnan(values[i]) for _, values in lines)]
    names = {score.name: score for score in scores.SCORES}
    titles, cells = [], [[str(x) for x in who] for who, _ in lines]
    for i in shown:
        split = next(split for split in SPLITS if columns[i].startswith(split))
        name = columns[i].removeprefix(f"{split}_")
        unit = names[name].unit if name in names else "mm"
        titles.append(f"{split.replace('_', ' ')}: {name.replace('_', ' ')}, {unit}")
        for cell, (_, values) in zip(cells, lines, strict=True):
            formatted = names[name].format(values[i]) if name in names else f"{values[i]:.2f}"
            cell.append("-" if np.isnan(values[i]) else formatted)
    return markdown_table(["variant", "conditioned on", "epochs", *titles], cells)


def write_curves(results: Sequence[Result], floors: Mapping[str, float], folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `curves.png`: the mean squared error of training, per step, beside answers without learning on the same meshes."""
    found = {}
    for result in results:
        steps, losses = curves.read_scalars(result.workdir, "loss/l2")
        if not len(steps):
            steps, losses = curves.read_scalars(result.workdir, "loss")
        if len(steps):
            found[result.run.name.replace("_", " ")] = steps, curves.smoothed(losses, max(1, len(losses) // 100))
    if not found:
        return []
    path = folder / "curves.png"
    title = "Mean squared error of training meshes, and of answers without learning on them"
    Image.fromarray(curves.draw(found, floors, title=title, across="step", up="m^2")).save(path)
    return [path]


def training_floors(root: pathlib.Path, unseen: Sequence[str]) -> dict[str, float]:
    """Mean squared errors, m^2, of identity copy and of the mean offset, over all frames of the motions that are trained on."""
    loaded, _ = sequences.load(root, targets=True, joints=0)
    frames = [(each, i) for each in loaded if each.name not in unseen for i in range(len(each.frames))]
    total = squares = 0.0
    for each, i in frames:
        offset = each.target[i].astype(np.float64) - each.source[i]
        total, squares = total + offset, squares + np.square(offset)
    identity = squares / len(frames)
    return {"identity": float(identity.mean()), "mean offset": float((identity - np.square(total / len(frames))).mean())}


def write_pictures(predicted: Mapping[str, pathlib.Path], root: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `comparison.jpg`: scans coloured by the error of the skin interpolation and of each run.

    Args:
      predicted: name of a run -> the folder of its predictions, `SEQUENCE/FRAME.obj`.
      root: of the data.
      folder: that exists.
    """
    common = sorted(set.intersection(*({_frame(path) for path in location.glob("*/*.obj")} for location in predicted.values())))
    strips = []
    for sequence, frame in common:
        skin, scan = (obj_files.read(_file(root, sequence, frame, kind)) for kind in (folders.SBS, folders.TARGET))
        view = View.around(scan.vertices, *PANEL)
        meshes = {"source": skin.vertices} | {
            name.replace("_", " "): obj_files.read(location / sequence / f"{frame}.obj").vertices for name, location in predicted.items()
        }
        errors = {name: error_mm(mesh, scan.vertices) for name, mesh in meshes.items()}
        drawn = view.draw_all(scan.vertices, skin.faces, [error_colours(error) for error in errors.values()])
        captions = [f"{name}: {error.mean():.1f} mm" for name, error in errors.items()]
        strips.append(sheet.Strip(f"{sequence} {frame}", tuple(zip(captions, drawn, strict=True))))
    if not strips:
        return []
    path = folder / "comparison.jpg"
    sheet.save(with_legend(sheet.compose(strips, columns=1, height=PANEL[0])), path)
    return [path]


def _frame(path: pathlib.Path) -> tuple[str, str]:
    return path.parent.name, path.stem


def _file(root: pathlib.Path, sequence: str, frame: str, kind: str) -> pathlib.Path:
    """The OBJ of a frame of SBS."""
    (found,) = folders.find(root, (sequence,), (folders.SBS, folders.TARGET))
    return found.files[kind][found.frames.index(frame)]


def plan(variants: Iterable[str], epochs: int, *, vertex: bool) -> list[Run]:
    """The first runs: every variant conditioned on time and, if `vertex`, the first one on vertices."""
    variants = list(variants)
    runs = [Run(variant, "time", epochs) for variant in variants]
    return [*runs, Run(variants[0], "vertex", epochs)] if vertex else runs
