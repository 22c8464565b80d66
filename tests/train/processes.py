"""Trainings of the toy task in processes of their own."""

import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
REPOSITORY = TESTS.parents[1]


class Trainer:
    """Starts `ava-train` on the toy config with changes; programs are compiled once for all of them."""

    def __init__(self, folder: pathlib.Path, changes: str, before: str = ""):
        """`changes` are statements on `config`; `before` are run in the process ahead of everything else."""
        self._config = folder / "mine.py"
        lines = ["from toy_task import toy_config", before, "def get_config():", "    config = toy_config()"]
        self._config.write_text("\n".join([*lines, *(f"    {line}" for line in changes.splitlines()), "    return config", ""]))
        self._env = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(TESTS)]),
            "JAX_PLATFORMS": "cpu",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),  # they are killed and out of space: no cut entries for other tests
        }

    def start(self, workdir: pathlib.Path, *args: str, **env: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "ava_jax.bin.train", f"--config={self._config}", f"--workdir={workdir}", *args]
        return subprocess.Popen(command, env=self._env | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, workdir: pathlib.Path, *args: str, **env: str) -> tuple[int, str, str]:
        """(exit status, stdout, stderr)."""
        process = self.start(workdir, *args, **env)
        out, err = process.communicate(timeout=900)
        return process.returncode, out, err
