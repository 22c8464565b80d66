"""What a run was made with, kept in its folder: config, command, versions, git commit, and what its model needs of the data.

config.json     the experiment's config, as of the latest start
starts.jsonl    a line for each start or resumption: time, step, command, host, versions, commit
"""

import datetime
import json
import pathlib
import platform
import shlex
import subprocess
import sys
from typing import Any

import jax
import ml_collections

from ava_jax.core.types import Assets
from ava_jax.tasks.base import Task
from ava_jax.train import config as configs
from ava_jax.train import manifest, starts
from ava_jax.train.versions import versions

CONFIG = "config.json"


def write(workdir: pathlib.Path, config: ml_collections.ConfigDict, task: Task, assets: Assets, *, first: int) -> None:
    """Writes down a start, or a resumption after `first` steps. Of several processes, the first one does.

    Raises:
      OSError: the folder cannot be written.
      ValueError: what the task keeps cannot be read.
    """
    if jax.process_index() != 0:
        return
    workdir.mkdir(parents=True, exist_ok=True)
    manifest.replace(workdir / CONFIG, json.dumps(configs.to_json(config), indent=2) + "\n")
    starts.add(workdir, _start(first))
    task.write_references(assets, workdir)


def _start(first: int) -> dict[str, Any]:
    devices = jax.devices()
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "step": first,
        "command": shlex.join(sys.argv),
        "folder": str(pathlib.Path.cwd()),
        "host": platform.node(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
        "versions": versions(),
        "git": commit(pathlib.Path(__file__).resolve().parents[2]),
    }


def commit(folder: pathlib.Path) -> dict[str, Any] | None:
    """The git commit of the sources in `folder`, and whether they differ from it; None where they are no checkout (or git is missing)."""

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        if pathlib.Path(git("rev-parse", "--show-toplevel")).resolve() != folder:
            return None  # an installed package inside somebody else's checkout
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None
