"""How long a run is: steps, or epochs of the data; and samples in order."""

import pytest
import toy_task
from loop_test import _assert_same, _config, _final
from toy_task import Toy

from ava_jax.train import check, loop

make = Toy.optimizer


def _epochs(count, **train):
    return _config(**{"steps": 0, "epochs": count, "checkpoint_every": 100, "picture_every": 100, **train})


def test_epochs_are_as_many_steps_as_their_samples_fill(tmp_path, capsys, monkeypatch):
    told = []
    monkeypatch.setattr(Toy, "optimizer", lambda self, *steps: told.append(steps) or make(self, *steps))
    config = _epochs(3, batch_size=5)
    assert loop.train(config, tmp_path / "epochs") == 12  # 24 samples are 4 batches of 5
    out = capsys.readouterr().out
    assert "steps:   12 of 5 samples (train.epochs = 3, of 4 steps each)" in out and "step 12/12" in out
    assert loop.train(_config(steps=12, batch_size=5, checkpoint_every=100, picture_every=100), tmp_path / "steps") == 12
    assert told == [(12, 4), (12, 4)]
    _assert_same(_final(tmp_path / "epochs"), _final(tmp_path / "steps"))
    capsys.readouterr()
    assert loop.train(config, tmp_path / "epochs") == 12
    assert capsys.readouterr().out == f"{tmp_path / 'epochs'}: done already: 12 of 12 steps. --config.train.epochs=... trains on.\n"
    assert loop.train(_epochs(4, batch_size=5), tmp_path / "epochs") == 16
    assert "resuming after 12" in capsys.readouterr().out


def test_an_epoch_of_less_than_a_batch_is_a_step(tmp_path):
    assert loop.train(_epochs(2, batch_size=32), tmp_path) == 2


def test_a_check_counts_epochs_too(tmp_path, capsys):
    check.check(_epochs(2, steps_per_call=2), tmp_path)
    out = capsys.readouterr().out
    assert "steps:   12 of 4 samples (train.epochs = 2, of 6 steps each)" in out and "check passed" in out


@pytest.mark.parametrize(
    "train, message",
    [
        ({"steps": 5, "epochs": 2}, r"config.train.steps = 5 and config.train.epochs = 2: one decides; set the other to 0\."),
        ({"steps": 0, "epochs": 0}, r"config.train.steps must be at least 1; got 0\. Or config.train.epochs says how long\."),
        ({"steps": 0, "epochs": -1}, r"config.train.epochs must be at least 0; got -1\."),
    ],
)
def test_one_of_both_decides(tmp_path, train, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        loop.train(_config(**train), tmp_path)


@pytest.mark.parametrize("held", [False, True])
def test_samples_may_be_trained_on_in_order_one_per_step(tmp_path, monkeypatch, held):
    seen = []
    monkeypatch.setattr(toy_task.Toy, "sampling", lambda self, split: toy_task.Sampling(1, shuffle=False))
    monkeypatch.setattr(loop._Loop, "_collect_metrics", _noting(seen))
    config = _epochs(2, batch_size=1, log_every=24, steps_per_call=6)
    config.data.update(missing=False)
    config.data.on_device = held
    assert loop.train(config, tmp_path) == 48
    assert seen == 2 * list(range(24))


def _noting(seen):
    collect = loop._Loop._collect_metrics

    def noted(self, pending):
        if pending is not None:
            seen.extend(int(i) for read in pending.read for i in self.run.batch(read)["index"])
        collect(self, pending)

    return noted
