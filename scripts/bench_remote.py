"""What reading captures from a server costs: requests, bytes and CPU time, with a cache that holds everything, a small one, and from files.

  python scripts/bench_remote.py --captures=CAPTURES

A server of the folder runs in a process of its own on this machine (`tests/data/range_server.py`), so the network costs nothing; time is
CPU time of the process that reads. `cold` begins with an empty cache, `warm` reads the same again in a fresh start.
"""

import json
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
import urllib.request

from absl import app, flags, logging

_CAPTURES = flags.DEFINE_string("captures", None, "Folder of captures.", required=True)
_BATCHES = flags.DEFINE_integer("batches", 60, "Of 4 samples.")
_SMALL_GIB = flags.DEFINE_float("small_gib", 0.01, "The small cache.")

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    script = _REPOSITORY / "tests" / "data" / "range_server.py"
    with subprocess.Popen([sys.executable, script, _CAPTURES.value, "0"], stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().split()[-1]
        try:
            measure("files", _CAPTURES.value, None)
            for name, gib in (("all fits", 20.0), ("small cache", _SMALL_GIB.value), ("no cache", 0.0)):
                with tempfile.TemporaryDirectory() as folder:
                    os.environ["XDG_CACHE_HOME"] = folder
                    for state in ("cold", "warm"):
                        measure(f"{name}, {state}", url, url, gib)
        finally:
            server.kill()


def measure(name: str, root: str, server: str | None, gib: float = 20.0) -> None:
    from ava_jax.data import pipeline
    from ava_jax.tasks.base import load_task

    config = runpy.run_path(str(_REPOSITORY / "configs" / "ava256.py"))["get_config"]()
    config.data.update(root=root, remote_cache_gib=gib)
    config.data.held_out.segments = ()
    config.train.batch_size = 4
    before = counted(server)
    begin = time.process_time()
    task = load_task(config)
    source = task.source("train", task.prepare())
    started, at_start = time.process_time() - begin, counted(server)
    batches = pipeline.iterator(source, task.sampling("train"), seed=0, threads=0)
    begin = time.process_time()
    for _ in range(_BATCHES.value):
        next(batches)
    seconds, after = time.process_time() - begin, counted(server)
    count = 4 * _BATCHES.value
    print(
        f"{name:20} start {started:5.2f} s, {at_start[0] - before[0]:5} requests, {(at_start[1] - before[1]) / 1e6:7.2f} MB; a sample "
        f"{1e3 * seconds / count:.2f} ms, {(after[0] - at_start[0]) / count:.2f} requests, {(after[1] - at_start[1]) / 1e6 / count:.3f} MB",
        flush=True,
    )


def counted(server: str | None) -> tuple[int, int]:
    """Requests and bytes that a server has answered."""
    if server is None:
        return 0, 0
    with urllib.request.urlopen(f"{server}/.counted") as answer:
        return tuple(json.loads(answer.read()))


if __name__ == "__main__":
    app.run(main)
