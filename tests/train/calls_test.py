"""Several steps per dispatch: where calls end, and that nothing else changes."""

import os
import re
import signal

import numpy as np
import pytest
from loop_test import _assert_same, _config, _final

from ava_jax.train import calls, loop
from ava_jax.train.calls import Cuts
from ava_jax.train.checkpoint import Checkpoints


def _walk(cuts: Cuts, taken: int = 0) -> list[int]:
    ends = [taken]
    while ends[-1] < cuts.last:
        ends.append(ends[-1] + cuts.steps(ends[-1]))
    return ends


@pytest.mark.parametrize("per_call, every, last", [(4, (10, 8), 33), (1, (5,), 7), (64, (10, 20), 50), (3, (100,), 2), (7, (7, 14), 28)])
def test_calls_end_where_something_is_due_and_are_of_two_lengths(per_call, every, last):
    cuts = Cuts(per_call, every, last)
    ends = _walk(cuts)
    assert ends[-1] == last
    assert {b - a for a, b in zip(ends, ends[1:])} <= {1, min(per_call, *every)}
    for n in every:
        assert set(range(0, last + 1, n)) <= set(ends)
    for start in ends:  # a run that is cut at the end of a call makes the same calls
        assert _walk(cuts, start) == ends[ends.index(start) :]


def test_as_few_calls_as_the_boundaries_allow():
    assert _walk(Cuts(16, (50,), 100)) == [0, 16, 32, 48, 49, 50, 66, 82, 98, 99, 100]
    assert _walk(Cuts(64, (50,), 100)) == [0, 50, 100]  # no call is longer than what is between two log lines


def test_metrics_are_by_step_whether_of_one_or_of_several():
    metrics = {"loss": np.float32([1, 2]), "losses": {"fit": np.float32([3, 4])}}
    assert calls.by_step(metrics, 2) is not metrics and calls.by_step(metrics, 2)["losses"]["fit"].tolist() == [3, 4]
    assert calls.by_step({"loss": np.float32(2.5)}, 1)["loss"].tolist() == [2.5]


def _sick(**train):
    config = _config(**{"steps": 120, "max_recoveries": 20, "keep_checkpoints": 20, "checkpoint_every": 12, "log_every": 12, **train})
    config.train.picture_every = 24
    config.data.update(poison=5, samples=120)  # in one batch of every epoch, which is 26 steps long
    return config


def _recoveries(workdir):
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.recoveries(checkpoints.find())


def test_four_steps_per_call_make_the_same_recoveries_and_the_same_parameters(tmp_path):
    loop.train(_sick(), tmp_path / "one")
    loop.train(_sick(steps_per_call=4), tmp_path / "four")
    assert len(_recoveries(tmp_path / "one")) >= 4
    assert any((failure["step"] - 1) % 4 < 3 for failure in _recoveries(tmp_path / "one"))  # steps of its call came after it
    assert _recoveries(tmp_path / "one") == _recoveries(tmp_path / "four")
    _assert_same(_final(tmp_path / "one"), _final(tmp_path / "four"))
    loop.train(_sick(steps_per_call=4, steps=31), tmp_path / "parts")
    loop.train(_sick(steps_per_call=4), tmp_path / "parts")
    _assert_same(_final(tmp_path / "one"), _final(tmp_path / "parts"))


def test_what_is_due_happens_after_exactly_the_steps_that_it_should(tmp_path, capsys):
    config = _config(steps=23, steps_per_call=4, log_every=6, picture_every=10, checkpoint_every=7, keep_checkpoints=9, validate_every=9)
    config.data.held_out = True
    assert loop.train(config, tmp_path) == 23
    out = capsys.readouterr().out
    assert [int(n) for n in re.findall(r"^step (\d+)/23 +loss", out, re.MULTILINE)] == [6, 12, 18, 23]
    assert [int(n) for n in re.findall(r"^step (\d+)/23 +validation", out, re.MULTILINE)] == [9, 18]
    assert [p.name for p in sorted((tmp_path / "pictures").iterdir())] == [f"00000{n}_output.png" for n in (10, 20, 23)]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [0, 7, 14, 21, 23]
    assert "up to 4 steps per call, a log line every 6 steps" in out
    assert re.findall(r"^compiling (.*) took", out, re.MULTILINE) == ["4 steps per call", "the step"]


def test_the_data_may_end_within_a_call(tmp_path, capsys, monkeypatch):
    import toy_task

    monkeypatch.setattr(toy_task.Toy, "sampling", lambda self, split: toy_task.Sampling(4, epochs=2))
    config = _config(steps=100, steps_per_call=8, log_every=50, checkpoint_every=50)
    config.data.missing = False
    assert loop.train(config, tmp_path) == 12  # 2 x 24 / 4: a call of 8, and 4 single steps
    assert "the data ended after step 12 of 100" in capsys.readouterr().out


def test_an_interrupt_finishes_the_call_saves_and_the_next_run_goes_on_bit_for_bit(tmp_path, capsys, monkeypatch):
    config = _config(steps=60, steps_per_call=5, log_every=30, checkpoint_every=30, picture_every=30)
    loop.train(config, tmp_path / "whole")
    collect = loop._Loop._collect_metrics

    def interrupted(self, pending):
        if self.taken == 10 and not self.interrupt.requested:
            os.kill(os.getpid(), signal.SIGTERM)
        collect(self, pending)

    monkeypatch.setattr(loop._Loop, "_collect_metrics", interrupted)
    stopped = loop.train(config, tmp_path / "parts")
    assert stopped in (10, 15) and f"stopped by SIGTERM: step {stopped} is saved" in capsys.readouterr().out
    monkeypatch.undo()
    assert loop.train(config, tmp_path / "parts") == 60
    _assert_same(_final(tmp_path / "whole"), _final(tmp_path / "parts"))


def test_at_least_one_step_per_call(tmp_path):
    with pytest.raises(ValueError, match="config.train.steps_per_call must be at least 1; got 0"):
        loop.train(_config(steps_per_call=0), tmp_path)
