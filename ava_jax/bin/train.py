"""Trains the task that a config names; run again with the same --workdir, it resumes where it stopped.

ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN
ava-train --config=ava256:tiny --config.data.root=CAPTURES --workdir=RUN --check
"""

import os
import pathlib
import sys

from absl import flags

from ava_jax.bin import _configs, _main
from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: checkpoints, TensorBoard events, pictures.")
_CHECK = flags.DEFINE_bool(
    "check", False, "Try one step, one save and one restore, print sizes, times, memory and disk, leave nothing behind, and stop."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "Train in several processes, started alike on each: HOST:PORT of process 0, or auto on a cluster that jax knows."
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes; with --coordinator=HOST:PORT.")
_PROCESS_INDEX = flags.DEFINE_integer("process_index", None, "Which of them this is, from 0.")


def main() -> None:
    """Trains, as the flags say."""
    if _CONFIG.value is None:
        known = " or ".join(f"--config={name}" for name in _configs.installed())
        raise ValueError(f"--config is missing: which experiment? As in {known}, or a Python file.")
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: a folder for checkpoints, logs and pictures, as in --workdir=runs/first.")
    from ava_jax.train import check, loop, processes  # jax is imported here, so that --help stays quick

    if _COORDINATOR.value:
        processes.start(_COORDINATOR.value, _PROCESSES.value, _PROCESS_INDEX.value)
        if not processes.is_first():
            sys.stdout = open(os.devnull, "w")  # the first process speaks for all; errors are each one's own
    elif _PROCESSES.value is not None or _PROCESS_INDEX.value is not None:
        raise ValueError("--processes and --process_index need --coordinator=HOST:PORT, the same on every process.")
    (check.check if _CHECK.value else loop.train)(_CONFIG.value, pathlib.Path(_WORKDIR.value).expanduser())


def run() -> None:
    """The command ava-train."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
