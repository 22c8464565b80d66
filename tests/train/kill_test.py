"""Runs that are killed, told to stop, or out of disk space, as processes. Under a minute in all, most of it Python starting."""

import contextlib
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from loop_test import _assert_same, _final
from processes import Trainer

from ava_jax.train.checkpoint import Checkpoints, restore_model

KILLS = 10
STEPS = 900
# A NaN in every epoch of 100 steps, so that kills meet recoveries too; and a megabyte of assets, so that they meet saves.
CHANGES = f"""config.train.update(steps={STEPS}, checkpoint_every=20, log_every=500, picture_every=100_000, max_recoveries=1000)
config.data.update(noise=0.5, poison=5, ballast=130_000, samples=400)"""


def _half_written(run: pathlib.Path) -> list[pathlib.Path]:
    return list((run / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def _kill(process: subprocess.Popen, run: pathlib.Path, chance: random.Random, *, inside_a_save: bool) -> bool:
    """Kills a training once it has saved something new, at a random moment or inside a save; whether it was still running."""

    def whole() -> set[str]:
        return {p.name for p in (run / "checkpoints").glob("*") if p.name.isdigit()}

    before = whole()
    while process.poll() is None and whole() <= before:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.3))
    if inside_a_save:
        while process.poll() is None and not _half_written(run):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.02))
    running = process.poll() is None
    process.kill()
    process.communicate()
    return running


@pytest.mark.slow
def test_ten_kills_in_a_row_lose_nothing(tmp_path):
    seed = time.time_ns() % 10**6
    print(f"seed {seed}")  # shown when it fails
    chance = random.Random(seed)
    trainer = Trainer(tmp_path, CHANGES)
    status, out, err = trainer.run(tmp_path / "whole")
    assert status == 0 and "done: " in out, err
    run, inside, resumed = tmp_path / "killed", 0, []
    for i in range(KILLS):
        assert _kill(trainer.start(run), run, chance, inside_a_save=i % 2 == 0), f"kill {i} came after the end"
        inside += bool(_half_written(run))
        with Checkpoints(run) as checkpoints:
            resumed.append(checkpoints.find())  # always one that is whole
    status, out, err = trainer.run(run)
    assert status == 0 and f"resuming after {resumed[-1]:,}" in out, err
    assert "damaged" not in err and resumed == sorted(resumed)
    print(f"{KILLS} kills, {inside} inside a save, at steps {resumed}")
    assert inside >= 2, "too few of the kills met a save to say anything"
    _assert_same(_final(run), _final(tmp_path / "whole"))
    with Checkpoints(run) as a, Checkpoints(tmp_path / "whole") as b:
        assert a.recoveries(STEPS) == b.recoveries(STEPS) and len(a.recoveries(STEPS)) > 5


def test_sigterm_saves_and_exits_0(tmp_path):
    endless = CHANGES.replace(f"steps={STEPS}", "steps=1_000_000").replace("checkpoint_every=20", "checkpoint_every=100_000")
    trainer = Trainer(tmp_path, endless)
    process = trainer.start(tmp_path / "run", "--config.train.log_every=20")
    while "step " not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0 and err == ""
    with Checkpoints(tmp_path / "run") as checkpoints:
        saved = checkpoints.find()
    assert saved > 0 and f"stopped by SIGTERM: step {saved} is saved; the same command goes on from there" in out


def test_a_second_sigterm_acts_at_once(tmp_path):
    """The first one waits for the step; here it waits for a compilation that takes a minute."""
    slow = "import time\nfrom ava_jax.train import loop\nloop._Loop._begin = lambda self: (print('begun', flush=True), time.sleep(60))"
    process = Trainer(tmp_path, CHANGES, before=slow).start(tmp_path / "run")
    while "begun" not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    time.sleep(0.5)
    assert process.poll() is None
    for _ in range(20):  # on a busy machine two signals may arrive as one
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
            break
    assert process.poll() == -signal.SIGTERM
    process.communicate()


def _assert_plain_failure(result: tuple[int, str, str], run: pathlib.Path, kept: int) -> None:
    status, out, err = result
    assert status == 1 and len(err.strip().splitlines()) == 1, err
    assert "could not be written (" in err and f"the checkpoint of step {kept} is still there" in err
    assert not _half_written(run) and restore_model(run).step == kept


SMALL = "config.train.update(steps=6, checkpoint_every=3, keep_checkpoints=9, picture_every=100)\nconfig.data.update(ballast=250_000)"


def test_a_file_that_may_not_grow_leaves_the_earlier_checkpoint(tmp_path):
    """Writes beyond a limit fail as on a full disk, after the first checkpoints of the run were written without it."""
    Trainer(tmp_path, SMALL).run(tmp_path / "run", "--config.train.steps=3")
    limited = """import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"""
    _assert_plain_failure(Trainer(tmp_path, SMALL, before=limited).run(tmp_path / "run"), tmp_path / "run", kept=3)
    status, out, err = Trainer(tmp_path, SMALL).run(tmp_path / "run")
    assert status == 0 and "resuming after 3" in out and restore_model(tmp_path / "run").step == 6


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path):
    """A file system of 5 MB: room for two checkpoints of 2 MB, not for three."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        _assert_plain_failure(Trainer(tmp_path, SMALL).run(disk / "run"), disk / "run", kept=3)
        assert shutil.disk_usage(disk).free > 10**5  # what was half written is gone
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-s"]))
