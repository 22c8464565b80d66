"""What `ava eval` wrote, read again: a row per sample, and what its scores are."""

import csv
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

SUMMARY, ROWS = "scores.json", "scores.csv"
_SPLIT = "split"


class Declared(NamedTuple):
    """What a score is: its unit ("" has none) and its direction."""

    unit: str
    higher_is_better: bool


class Scored(NamedTuple):
    """An evaluation.

    Attributes:
      folder: that it was read from.
      step: of the checkpoint.
      sample_name: what a sample is called.
      scores: name -> what it is, in the order of tables; the task's own, without those of baselines.
      baselines: names of the columns with baselines' scores.
      describes: names of the columns that say what a sample is, as in ("identity", "camera").
      group_by: those of them that means are taken by.
      rows: split -> a row per sample: the columns of `describes` as text, scores as floats, NaN where one is not defined.
      unreadable: split -> how many samples could not be read.
      header: what else `scores.json` says, without the splits.
    """

    folder: pathlib.Path
    step: int
    sample_name: str
    scores: Mapping[str, Declared]
    baselines: tuple[str, ...]
    describes: tuple[str, ...]
    group_by: tuple[str, ...]
    rows: Mapping[str, list[dict[str, Any]]]
    unreadable: Mapping[str, int]
    header: Mapping[str, Any]


def evaluations(run: pathlib.Path) -> list[pathlib.Path]:
    """Folders of a run's evaluations, `RUN/eval/<step>`, by step."""
    found = [path.parent for path in run.glob(f"eval/*/{SUMMARY}") if path.parent.name.isdecimal()]
    return sorted(found, key=lambda folder: int(folder.name))


def find(run: pathlib.Path, step: int | None = None) -> pathlib.Path:
    """The folder of a run's evaluation.

    Args:
      run: the run's folder, or a folder of scores itself (`ava eval --out`).
      step: which; None: the last.

    Raises:
      FileNotFoundError: the run, or its evaluation, is not there; the message says how to make one.
    """
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: there is no such folder; name a run that was evaluated.")
    if step is None and (run / ROWS).is_file():
        return run
    known = evaluations(run)
    if not known:
        raise FileNotFoundError(
            f"{run}: holds no scores; write them first: ava eval --workdir={run}{'' if step is None else f' --step={step}'}"
        )
    if step is None:
        return known[-1]
    if run / "eval" / str(step) not in known:
        have = ", ".join(folder.name for folder in known)
        raise FileNotFoundError(f"{run}: step {step} is not scored, only {have}; score it first: ava eval --workdir={run} --step={step}")
    return run / "eval" / str(step)


def read(folder: pathlib.Path) -> Scored:
    """Reads an evaluation.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: one is damaged, or they do not fit together.
    """
    summary, table = folder / SUMMARY, folder / ROWS
    if missing := [path.name for path in (summary, table) if not path.is_file()]:
        raise FileNotFoundError(f"{folder}: has no {' and no '.join(missing)}; ava eval --out={folder} writes them.")
    try:
        found = json.loads(summary.read_text())
        scores = {name: Declared(one["unit"], bool(one["higher_is_better"])) for name, one in found["scores"].items()}
        splits = found["splits"]
        header = {name: value for name, value in found.items() if name not in ("scores", "splits")}
        step, sample_name = int(found["step"]), str(found["sample_name"])
        valued = list(dict.fromkeys(name for split in splits.values() for name in split["scores"]))
        group_by = tuple(dict.fromkeys(name for split in splits.values() for name in split["by"]))
        unreadable = {name: int(split["unreadable"]) for name, split in splits.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"{summary}: is no summary of `ava eval`, or is damaged ({type(e).__name__}: {e}); evaluate again.") from e
    baselines = [name for name in valued if name not in scores]
    columns, rows = _rows(table, {*scores, *baselines})
    if missing := [name for name in scores if name not in columns]:
        raise ValueError(f"{table}: has no column {missing[0]!r}, which {SUMMARY} beside it names; evaluate again.")
    described = tuple(name for name in columns if name not in (_SPLIT, *scores, *baselines))
    kept = tuple(name for name in baselines if name in columns)
    return Scored(folder, step, sample_name, scores, kept, described, group_by, rows, unreadable, header)


def _rows(path: pathlib.Path, valued: set[str]) -> tuple[list[str], dict[str, list[dict[str, Any]]]]:
    """Columns of a table, and its rows by split; those of `valued` as floats."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        if _SPLIT not in columns:
            raise ValueError(f"{path}: must begin with a line of columns, {_SPLIT!r} among them; evaluate again.")
        for number, row in enumerate(reader, 2):
            if None in row or None in row.values():
                raise ValueError(f"{path}: line {number} does not have the {len(columns)} values of its header; evaluate again.")
            try:
                values = {name: _number(text) if name in valued else text for name, text in row.items() if name != _SPLIT}
            except ValueError as e:
                raise ValueError(f"{path}: line {number}: {e}; evaluate again.") from e
            rows.setdefault(row[_SPLIT], []).append(values)
    return columns, rows


def _number(text: str) -> float:
    return float(text) if text else math.nan
