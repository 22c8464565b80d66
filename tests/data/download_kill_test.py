"""kill -9 at random moments, twenty times: the next run goes on, and at the end there are the same bytes."""

import io
import multiprocessing
import os
import random
import signal
import time
import zipfile

import pytest
from download_server import Server

from ava_jax.data.download import manifest
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download, Item, Selection

KILLS = 20
SELECTION = Selection(tuple(range(0, 60, 2)))


def zipped(rng, count=60, size=6000):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.png"), rng.randbytes(size))
    return out.getvalue()


def run(folder, url, files):
    with manifest.locked(folder):
        download = Download(folder, Client(first_wait=0.01), shown=False, jobs=3)
        items = [Item(file, url + file, selection=SELECTION if "part" in file else None) for file in files]
        if problems := download.run(download.plan(items).tasks):
            raise AssertionError(problems)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"
    }


@pytest.mark.slow
def test_killed_twenty_times_it_gives_the_same_bytes(tmp_path):
    rng = random.Random(int(os.environ.get("KILL_SEED", "0")))
    files = {f"{kind}{number}.zip": zipped(rng) for kind in ("whole", "part") for number in range(6)}
    files |= {f"{number}.bin": rng.randbytes(400_000) for number in range(3)}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with Server(files) as server:
        server.multipart |= {file for file in files if file.endswith(".zip")}
        run(tmp_path / "undisturbed", server.url, files)
        expected = contents(tmp_path / "undisturbed")
        undisturbed, server.sent = server.sent, 0
        server.rate = 500_000.0
        target, died, parts = tmp_path / "killed", 0, set()
        for _ in range(KILLS):
            process = context.Process(target=run, args=(target, server.url, list(files)))
            process.start()
            until = time.monotonic() + 120
            while not server.requests(method="GET") and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(rng.uniform(0.0, 0.25))
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            died += process.exitcode == -signal.SIGKILL
            parts |= {path.name.partition(".")[0] for path in target.glob("*.part")}
            server.log.clear()
        assert died == KILLS  # in the middle of it, each time
        assert parts
        assert len([path for path in target.glob("*.*") if path.suffix in (".zip", ".bin")]) < len(files)
        server.rate = 0.0
        run(target, server.url, files)
        assert contents(target) == expected
        assert server.sent < 2.5 * undisturbed  # it went on, and did not begin anew: each kill loses what was on its way
