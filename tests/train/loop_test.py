"""The loop on a toy task: resumes exactly, stops cleanly, says what it does."""

import os
import pathlib
import signal

import jax
import numpy as np
import pytest
from PIL import Image
from toy_task import Toy, ToySource, toy_config

from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints


def _final(workdir):
    """Every array of the latest checkpoint, and the data iterator's place."""
    config = toy_config()
    task = Toy(config)
    parts = states.split(task.model(task.prepare(), rngs=states.model_rngs(0)))
    with Checkpoints(workdir) as checkpoints:
        state, place = checkpoints.restore_training(checkpoints.find(), states.initial_state(parts, task.optimizer(1, 1), 0))
    return jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))), place


def _config(**train):
    config = toy_config()
    config.data.noise = 0.5  # so that the key counts
    config.train.update(train)
    return config


def _assert_same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert a[1] == b[1]


def test_a_run_in_two_parts_is_the_run_in_one_bit_for_bit(tmp_path):
    assert loop.train(_config(steps=10), tmp_path / "whole") == 10
    loop.train(_config(steps=4), tmp_path / "parts")
    assert loop.train(_config(steps=10), tmp_path / "parts") == 10
    _assert_same(_final(tmp_path / "whole"), _final(tmp_path / "parts"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_the_next_run_goes_on_bit_for_bit(tmp_path, capsys, monkeypatch, number):
    loop.train(_config(steps=9), tmp_path / "whole")
    collect = loop._Loop._collect_metrics

    def interrupted(self, pending):
        if self.taken == 4 and not self.interrupt.requested:
            os.kill(os.getpid(), number)
        collect(self, pending)

    before = signal.getsignal(number)
    monkeypatch.setattr(loop._Loop, "_collect_metrics", interrupted)
    stopped = loop.train(_config(steps=9), tmp_path / "parts")
    assert 4 <= stopped < 9 and signal.getsignal(number) is before
    assert f"stopped by {number.name}: step {stopped} is saved; the same command goes on" in capsys.readouterr().out
    monkeypatch.undo()
    assert loop.train(_config(steps=9), tmp_path / "parts") == 9
    _assert_same(_final(tmp_path / "whole"), _final(tmp_path / "parts"))


def test_it_says_what_it_does(tmp_path, capsys):
    config = _config(steps=6)
    loop.train(config, tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "model:   75 parameters (layers 75)" in lines
    assert "data:    24 samples (2 colours)" in lines
    assert "steps:   6 of 4 samples (1.0 epochs)" in lines
    reports = [line for line in lines if line.startswith("step ")]
    assert [line.split()[1] for line in reports] == ["2/6", "4/6", "6/6"]
    assert all("loss" in line and "fit" in line and "left" in line for line in reports)
    assert lines[-2] == "samples passed over: 3 missing, of 24"
    assert lines[-1] == f"done: 6 steps; checkpoints and pictures are in {tmp_path}"
    (plan,) = (line for line in lines if line.startswith("plan:"))
    assert "a log line every 2 steps, pictures every 3, no validation, a checkpoint of about 1." in plan
    assert "every 3 (the last 2 kept)" in plan
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert [p.name for p in pictures] == ["0000003_output.png", "0000006_output.png"]
    assert Image.open(pictures[0]).size == (6, 4)
    loop.train(config, tmp_path)
    assert capsys.readouterr().out == f"{tmp_path}: done already: 6 of 6 steps. --config.train.steps=... trains on.\n"


def test_tensorboard_has_every_scalar(tmp_path):
    loop.train(_config(steps=4), tmp_path)
    events = b"".join(p.read_bytes() for p in tmp_path.glob("events*"))
    norms = ("gradient/norm", "gradient/nonfinite", "update/norm", "parameters/norm")
    for name in ("loss", "loss/fit", "loss/size", "learning_rate", *norms, "guard/recoveries", "speed/hours_left"):
        assert name.encode() in events
    assert b"speed/samples_per_second" in events and b"speed/share_waiting_for_data" in events and b"output" in events


def test_a_loss_that_is_not_finite_stops_with_step_and_term(tmp_path):
    config = _config(steps=40)
    config.data.poison = 5
    with pytest.raises(ValueError, match=r"^step \d+: the loss fit is nan .*index 5.* Gave up after 0 recoveries; .*checkpoint"):
        loop.train(config, tmp_path)


def test_weights_may_be_schedules(tmp_path, capsys):
    config = _config(steps=4)
    config.loss_weights = {"fit": ((0, 1.0), (4, 0.5)), "size": 0.1}
    loop.train(config, tmp_path)
    reports = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert len(reports) == 2 and all("  fit " in line for line in reports)


def test_another_config_is_refused_with_its_differences(tmp_path):
    loop.train(_config(steps=3), tmp_path)
    config = _config(steps=5, batch_size=2, log_every=1)
    with pytest.raises(ValueError, match=r"differs in train.batch_size \(saved 4, now 2\)\. Take another --workdir"):
        loop.train(config, tmp_path)


def test_a_source_that_fails_stops_the_run_with_its_error(tmp_path, monkeypatch):
    def fail(self, index):
        raise OSError("disk on fire")

    monkeypatch.setattr(ToySource, "__getitem__", fail)
    with pytest.raises(ValueError, match="disk on fire"):
        loop.train(_config(), tmp_path)


@pytest.mark.parametrize("key", ["steps", "batch_size", "checkpoint_every"])
def test_counts_must_be_positive(tmp_path, key):
    with pytest.raises(ValueError, match=f"config.train.{key} must be at least 1; got 0"):
        loop.train(_config(**{key: 0}), tmp_path)
    assert not pathlib.Path(tmp_path / "checkpoints").exists()
