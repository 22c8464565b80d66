"""How fast files are fetched from a local server that gives each connection so many bytes per second, beside what it gives at most.

  python scripts/bench_download.py                                   # 20 MB/s per connection, 1, 2, 4 and 8 connections
  python scripts/bench_download.py --rate=0 --connections=1,4        # no limit: what the client itself can do
  python scripts/bench_download.py --folder=/dev/shm --seconds=5

The server is a process of its own, which sends by sendfile. Files are zips of stored members, one for each connection; the time is that of
the whole download: sizes asked, bytes fetched, CRC32 of every member checked, written through to the disk, the manifest kept. `of limit`
is the rate over connections x limit; CPU is the client's, all of its threads. The load of the machine before the start is printed too.
"""

import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time
import zipfile

from absl import app, flags

from ava_jax.data.download.engine import Download, Item

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "data"))

_RATE = flags.DEFINE_float("rate", 20.0, "MB (1e6 bytes) per second and connection; 0 has no limit.")
_CONNECTIONS = flags.DEFINE_list("connections", ["1", "2", "4", "8"], "Connections, a row each.")
_SECONDS = flags.DEFINE_float("seconds", 10.0, "That a file takes at the limit; without one, files are of 20 MB times so many.")
_FOLDER = flags.DEFINE_string("folder", tempfile.gettempdir(), "Where files are served from and fetched to.")

_MEMBER = 1_000_000  # bytes


def _serve(files: dict[str, pathlib.Path], rate: float, pipe) -> None:
    """The server's process: says its URL, and serves until it is ended."""
    from download_server import Server

    with Server(files, rate=rate) as server:
        pipe.send(server.url)
        pipe.recv()


def _make(path: pathlib.Path, size: int) -> None:
    block = os.urandom(_MEMBER)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(max(size // _MEMBER, 1)):
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.bin"), block)


def _measure(url: str, count: int, folder: pathlib.Path) -> tuple[float, float, int]:
    """Seconds, seconds of CPU and bytes of a download over so many connections."""
    shutil.rmtree(folder, ignore_errors=True)
    begun, cpu = time.perf_counter(), time.process_time()
    download = Download(folder, jobs=count, shown=False)
    plan = download.plan([Item(f"{number}.zip", f"{url}{number}.zip") for number in range(count)])
    download.require_space(plan.tasks)
    if problems := download.run(plan.tasks):
        raise OSError(f"not fetched: {problems}")
    return time.perf_counter() - begun, time.process_time() - cpu, plan.bytes


def main(_: list[str]) -> None:
    """Prints a table."""
    counts = [int(count) for count in _CONNECTIONS.value]
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as name:
        folder = pathlib.Path(name)
        _make(folder / "file.zip", int((_RATE.value or 20.0) * 1e6 * _SECONDS.value))
        files = {f"{number}.zip": folder / "file.zip" for number in range(max(counts))}
        mine, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(files, _RATE.value * 1e6, theirs), daemon=True)
        server.start()
        url = mine.recv()
        limit = f"{_RATE.value:g} MB/s per connection" if _RATE.value else "no limit"
        print(f"{limit}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before the start; files in {_FOLDER.value}")
        print(f"{'connections':>11}{'MB':>8}{'s':>8}{'MB/s':>8}{'of limit':>10}{'CPU s/GB':>10}")
        for count in counts:
            seconds, cpu, size = _measure(url, count, folder / "fetched")
            rate = size / 1e6 / seconds
            part = f"{rate / (_RATE.value * count):.1%}" if _RATE.value else "-"
            print(f"{count:>11}{size / 1e6:>8.0f}{seconds:>8.2f}{rate:>8.1f}{part:>10}{cpu / (size / 1e9):>10.2f}", flush=True)
        mine.send(None)
        server.join()


if __name__ == "__main__":
    app.run(main)
