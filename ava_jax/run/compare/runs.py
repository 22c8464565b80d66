"""Runs that are compared: their scores, their tasks, and in what they were scored differently."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from ava_jax.metrics import paired, score_files, table
from ava_jax.metrics.score_files import Scored
from ava_jax.tasks.base import NOT_SEEN, Score, Task, load_task
from ava_jax.train import config as configs
from ava_jax.train.checkpoint import Checkpoints

# Of the config under `data.` and `eval.`: what changes neither which samples are scored nor what they are held against.
_WITHOUT_EFFECT = ("data.root", "data.read_", "data.remote_", "data.shuffle", "data.on_device", "data.max_unreadable", "eval.batch_size")
_SAME = 1e-3  # relative: by as much may the same answer's scores differ between machines
_TOLD_AT_MOST = 200  # characters of a value


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that was evaluated.

    Attributes:
      label: a letter, in tables.
      given: how the user named it.
      workdir: its folder.
      scored: what was evaluated.
      task: the run's.
      config: its leaves, by dotted name.
      not_seen: how many samples are of somebody, say, whom training did not see.
    """

    label: str
    given: str
    workdir: pathlib.Path
    scored: Scored
    task: Task
    config: Mapping[str, Any]
    not_seen: int = 0

    def line(self) -> str:
        """Who it is."""
        return f"{self.label} = {self.given}, step {self.scored.step}"

    def score(self, name: str) -> Score:
        """How a score is shown: as the run's task declares it, or as the file names it."""
        known = {score.name: score for score in self.task.scores}
        declared = self.scored.scores[name]
        return known.get(name, Score(name, declared.higher_is_better, declared.unit))

    def is_main(self, name: str) -> bool:
        """Whether a score stands in tables on the terminal; files have them all."""
        return getattr(self.score(name), "main", True)


def read(label: str, given: str) -> Run:
    """Reads what `ava eval` wrote of a run.

    Args:
      label: in tables.
      given: RUN, RUN:STEP, or RUN=FOLDER where its scores were written elsewhere (`ava eval --out=FOLDER`).

    Raises:
      FileNotFoundError: it has no such scores, or no checkpoint; the message says how to make them.
      ValueError: they are damaged.
    """
    workdir, step, folder = _parse(given)
    scored = score_files.read(folder or score_files.find(workdir, step))
    with Checkpoints(workdir) as checkpoints:
        there = scored.step if scored.step in checkpoints.steps() else None  # the config of a run's steps is one
        config = checkpoints.about(checkpoints.find(there, items=("about",))).config
    rows = {split: [_without_mark(row) for row in rows] for split, rows in scored.rows.items()}
    not_seen = sum(_is_marked(row) for found in scored.rows.values() for row in found)
    return Run(label, given, workdir, scored._replace(rows=rows), load_task(config), configs.flatten(config), not_seen)


def _parse(given: str) -> tuple[pathlib.Path, int | None, pathlib.Path | None]:
    """Folder of the run, step and folder of the scores."""
    run, equals, folder = given.partition("=")
    if equals:
        return pathlib.Path(run).expanduser(), None, pathlib.Path(folder).expanduser()
    path = pathlib.Path(given).expanduser()
    start, colon, step = given.rpartition(":")
    if colon and step.isdecimal() and not path.exists():
        return pathlib.Path(start).expanduser(), int(step), None
    if path.parent.name == "eval" and (path / score_files.ROWS).is_file():
        return path.parent.parent, None, path
    return path, None, None


def _is_marked(row: Mapping[str, Any]) -> bool:
    return any(isinstance(value, str) and value.endswith(NOT_SEEN) for value in row.values())


def _without_mark(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a sample, named as it is where training saw it."""
    return {name: value.removesuffix(NOT_SEEN) if isinstance(value, str) else value for name, value in row.items()}


def keys(first: Run, second: Run) -> tuple[str, ...]:
    """The columns that say which sample a row is of.

    Raises:
      ValueError: the runs are of different tasks, or describe samples differently or not at all.
    """
    if type(first.task) is not type(second.task):
        names = [type(run.task).__name__ for run in (first, second)]
        raise ValueError(
            f"{first.given} and {second.given} are runs of different tasks, {' and '.join(names)}: there is nothing to compare."
        )
    ours, theirs = first.scored.describes, second.scored.describes
    if set(ours) != set(theirs):
        told = " and ".join(", ".join(names) or "nothing" for names in (ours, theirs))
        raise ValueError(f"{first.given} and {second.given}: their scores.csv describe samples by {told}; evaluate both anew.")
    if not ours:
        raise ValueError(f"{type(first.task).__name__}: describes no samples (Task.describe), so that none can be found in both runs.")
    return ours


def differences(first: Run, second: Run) -> list[str]:
    """What of the two evaluations is not the same, a line each: data, resolution, samples, what they were held against."""
    pair = first, second
    found = [f"{name}: {_told(pair, values)}" for name, values in _unlike(*(_about(run) for run in pair)).items()]
    for split in dict.fromkeys(split for run in pair for split in run.scored.rows):
        lacking = [run.label for run in pair if split not in run.scored.rows]
        found += [f"split {split}: {label} was not scored on it" for label in lacking]
        if not lacking:
            found += _unlike_baselines(first, second, split)
    unreadable = {run.label: sum(run.scored.unreadable.values()) for run in pair}
    if len(set(unreadable.values())) > 1:
        counts = ", ".join(f"{label} {count}" for label, count in unreadable.items())
        found.append(f"{table.plural(first.scored.sample_name)} listed that could not be read: {counts}")
    if first.not_seen != second.not_seen:
        counts = ", ".join(f"{run.label} {run.not_seen}" for run in pair)
        found.append(f"{table.plural(first.scored.sample_name)}{NOT_SEEN}: {counts}")
    for name in dict.fromkeys(name for run in pair for name in run.scored.scores):
        found += [f"score {name}: {run.label} does not have it" for run in pair if name not in run.scored.scores]
    return found


def _about(run: Run) -> dict[str, Any]:
    """How a run was scored."""
    config = {
        name: value for name, value in run.config.items() if name.startswith(("data.", "eval.")) and not name.startswith(_WITHOUT_EFFECT)
    }
    header = {name: value for name, value in run.scored.header.items() if name not in ("step", "data", "sample_name")}
    return {"captures or sequences": sorted(map(str, run.scored.header.get("data", ()))), **_leaves(header), **config}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in tree.items():
        found |= _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _unlike(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*first, *second])
    values = {name: (first.get(name), second.get(name)) for name in names}
    return {name: (a, b) for name, (a, b) in values.items() if json.dumps(a, default=str) != json.dumps(b, default=str)}


def _told(pair: tuple[Run, Run], values: tuple[Any, Any]) -> str:
    if all(isinstance(value, (list, tuple)) for value in values):
        extra = [[str(one) for one in mine if one not in other] for mine, other in (values, values[::-1])]
        parts = [f"{run.label} alone has {_short(', '.join(more))}" for run, more in zip(pair, extra, strict=True) if more]
        return "; ".join(parts) or "in another order"
    return ", ".join(f"{run.label} {_short('not given' if value is None else str(value))}" for run, value in zip(pair, values, strict=True))


def _short(text: str) -> str:
    return text if len(text) <= _TOLD_AT_MOST else f"{text[:_TOLD_AT_MOST]}..."


def _unlike_baselines(first: Run, second: Run, split: str) -> list[str]:
    """Whether answers without learning score differently on the same samples: then these were held against something else."""
    by = first.scored.describes
    pairs = paired.match(first.scored.rows[split], second.scored.rows[split], by).pairs
    for name in (name for name in first.scored.baselines if name in second.scored.baselines and name in pairs[0][0]) if pairs else ():
        values = [(a[name], b[name]) for a, b in pairs if not (math.isnan(a[name]) or math.isnan(b[name]))]
        if off := sum(not math.isclose(a, b, rel_tol=_SAME, abs_tol=1e-12) for a, b in values):
            return [
                f"split {split}: {name}, which no model is part of, differs on {off} of {len(values)} shared "
                f"{table.plural(first.scored.sample_name)}: they were held against other data or at another resolution"
            ]
    return []
