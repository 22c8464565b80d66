"""A run's starts and resumptions, a line each in its folder: `starts.jsonl`, written by `record`."""

import json
import pathlib
from typing import Any

FILE = "starts.jsonl"


def add(workdir: pathlib.Path, start: dict[str, Any]) -> None:
    """Notes one, which JSON can carry.

    Raises:
      OSError: the folder cannot be written.
    """
    with open(workdir / FILE, "a") as file:
        file.write(json.dumps(start) + "\n")


def folder(workdir: pathlib.Path) -> pathlib.Path:
    """The folder that the run was last started in, from which relative paths of its config start; the current one where none is noted."""
    try:
        lines = (workdir / FILE).read_text().splitlines()
        return pathlib.Path(json.loads(lines[-1])["folder"])
    except (OSError, ValueError, IndexError, KeyError, TypeError):  # of an older version, or cut short by a full disk
        return pathlib.Path.cwd()
