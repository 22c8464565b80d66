"""One training in two processes on this machine: the losses, the checkpoints and the recoveries of one."""

import contextlib
import re
import signal
import socket
import subprocess

import numpy as np
import pytest
from loop_test import _final
from processes import Trainer

from ava_jax.train.checkpoint import Checkpoints

# Without missing samples and noise, which would be drawn otherwise in two.
CHANGES = """config.train.update(steps=12, log_every=1, checkpoint_every=4, picture_every=6, max_recoveries=5)
config.data.update(missing=False)"""

pytestmark = pytest.mark.slow


def _start(trainer, run, *args) -> list[subprocess.Popen]:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = (f"--coordinator=localhost:{port}", "--processes=2", *args)
    return [trainer.start(run, *shared, f"--process_index={i}") for i in range(2)]


def _finish(started: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    ended = []
    for process in started:
        try:
            out, err = process.communicate(timeout=900)
        finally:
            process.kill()
        ended.append((process.returncode, out, err))
    return ended


def _losses(out: str) -> list[float]:
    return [float(value) for value in re.findall(r"^step .* loss ([\d.e+-]+)", out, re.MULTILINE)]


def test_two_processes_learn_what_one_does_and_resume(tmp_path):
    trainer = Trainer(tmp_path, CHANGES)
    status, alone, err = trainer.run(tmp_path / "one")
    assert status == 0, err
    run = tmp_path / "two"
    first = _finish(_start(trainer, run, "--config.train.steps=6"))
    assert [status for status, _, _ in first] == [0, 0], first
    second = _finish(_start(trainer, run))
    assert [status for status, _, _ in second] == [0, 0], second
    assert "2 x cpu, of 2 processes" in first[0][1] and "resuming after 6" in second[0][1]
    assert not _losses(first[1][1]) and "model:" not in second[1][1]  # the first process speaks for both
    np.testing.assert_allclose(_losses(first[0][1] + second[0][1]), _losses(alone), rtol=2e-3)  # four digits are printed
    for a, b in zip(_final(run)[0], _final(tmp_path / "one")[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    assert len(list(run.glob("events*"))) == 2 and len(list((run / "pictures").iterdir())) == 2
    status, _, err = trainer.run(run, "--config.train.steps=20")
    assert status == 1 and "read its data in 2 processes; resume it in as many, not in 1" in err


def test_two_processes_recover_together_and_stop_together(tmp_path):
    """With the data on the devices of both, and calls of two steps."""
    changes = """
config.data.update(poison=5, on_device=True)
config.train.update(steps=100_000, max_recoveries=100_000, log_every=4, picture_every=8, steps_per_call=2)"""
    trainer = Trainer(tmp_path, CHANGES + changes)
    started = _start(trainer, tmp_path / "run")
    while "recovery 2" not in started[0].stdout.readline():
        assert started[0].poll() is None
    started[1].send_signal(signal.SIGTERM)  # one of them; the other is not told
    ended = _finish(started)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert "stopped by SIGTERM: step" in ended[0][1]
    with Checkpoints(tmp_path / "run") as checkpoints:
        failure = checkpoints.recoveries(checkpoints.find())[0]
    assert len(failure["samples"]) == 4 and {"index": "5"} in failure["samples"]  # of both processes
