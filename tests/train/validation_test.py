"""Validation while training, and checkpoints kept by it."""

import numpy as np
import pytest
from loop_test import _config
from toy_task import Toy, ToySource, toy_config

from ava_jax.train import loop, scores
from ava_jax.train.checkpoint import Checkpoints, restore_model


def _held_out(**train):
    config = _config(**{"steps": 12, "validate_every": 3, "keep_best": 1, **train})
    config.data.held_out = True
    return config


def test_validation_is_logged_and_the_best_checkpoint_is_kept(tmp_path, capsys, monkeypatch):
    scores = {3: 4.0, 6: 2.0, 9: 3.0, 12: 5.0}

    def falling(self, state):
        return {"distance": scores[int(state.step)]}

    monkeypatch.setattr(loop.plan.Validation, "scores", falling)
    loop.train(_held_out(keep_checkpoints=1), tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [6, 12] and checkpoints.scores() == {6: -2.0, 12: -5.0}
        assert checkpoints.find("best") == 6 and checkpoints.find() == 12
    out = capsys.readouterr().out
    assert "validation on 5 samples of unseen every 3" in out
    assert "the last 1 kept and the best 1 by validation distance, the less the better" in out
    assert "step 6/12  validation distance 2" in out
    assert f"; best by validation distance, the less the better: step 6 ({Toy.scores[0].format(2.0)})" in out
    assert b"validation/distance" in b"".join(p.read_bytes() for p in tmp_path.glob("events*"))


def test_a_run_ends_once_it_gets_no_better(tmp_path, capsys, monkeypatch):
    """The state before the first step competes too; a run that was stopped meanwhile counts on."""
    scores = {0: 5.0, 3: 4.0, 6: 4.5, 9: 4.2, 12: 1.0}

    def given(self, state):
        return {"distance": scores[int(state.step)]}

    monkeypatch.setattr(loop.plan.Validation, "scores", given)
    config = _held_out(patience=2, checkpoint_every=3)
    assert loop.train(config, tmp_path / "whole") == 9
    assert "done: step 9, as none of the last 2 validations was the best; best by validation distance" in capsys.readouterr().out
    with Checkpoints(tmp_path / "whole") as checkpoints:
        assert checkpoints.find() == 9 and checkpoints.find("best") == 3
    assert loop.train(_held_out(patience=2, checkpoint_every=3, steps=6), tmp_path / "parts") == 6
    assert loop.train(config, tmp_path / "parts") == 9
    capsys.readouterr()
    assert loop.train(config, tmp_path / "parts") == 9
    assert "done already: step 9, none of the last 2 validations was the best" in capsys.readouterr().out
    assert loop.train(_held_out(patience=3, checkpoint_every=3), tmp_path / "parts") == 12
    config.data.held_out = False
    assert loop.train(config, tmp_path / "nothing held out") == 12


def test_scores_are_means_over_what_is_defined(tmp_path, monkeypatch):
    """By hand, of the six samples that are chosen of 24: one batch of four, and one of two that is filled up."""
    found = {}
    real = loop.plan.Validation.scores

    def kept(self, state):
        batches = [self.source[i] for i in range(len(self.source))]
        batch = {name: np.stack([sample[name] for sample in batches]) for name in batches[0]}
        assert list(batch["index"]) == [0, 5, 9, 14, 18, 23]
        found["want"] = float(np.mean(self.task.score(self.predict(state, batch), batch, self.assets)["distance"]))
        return found.setdefault("got", real(self, state))

    monkeypatch.setattr(loop.plan.Validation, "scores", kept)
    loop.train(_held_out(steps=3, validate_samples=6), tmp_path)
    np.testing.assert_allclose(found["got"]["distance"], found["want"], rtol=1e-6)
    assert np.isnan(found["got"]["undefined"])


def test_the_test_does_not_choose_the_best_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Toy, "eval_splits", lambda self, assets: ("test_people",))
    loop.train(_held_out(steps=3), tmp_path)
    assert "validation" not in capsys.readouterr().out.replace("no validation", "")


def test_with_nothing_held_out_the_training_loss_decides(tmp_path):
    config = _held_out(keep_checkpoints=1, steps=30)
    config.data.held_out = False
    loop.train(config, tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        scores = checkpoints.scores()
        assert max(scores, key=scores.get) in checkpoints.steps() and len(checkpoints.steps()) <= 2


def test_validation_changes_nothing_that_is_learned(tmp_path):
    from loop_test import _assert_same, _final

    loop.train(_held_out(), tmp_path / "with")
    config = _held_out()
    config.data.held_out = False
    loop.train(config, tmp_path / "without")
    _assert_same(_final(tmp_path / "with"), _final(tmp_path / "without"))


def test_a_score_that_the_task_lacks_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match="must be a score of the task, distance, undefined; got 'distanc'. Did you mean distance"):
        loop.train(_held_out(best_score="distanc"), tmp_path)


def test_the_direction_is_the_scores_own_with_the_older_minus_or_without():
    """`-distance` says what the declaration says already; a minus turns nothing around."""
    task = Toy(toy_config())
    assert scores.named(task, "distance") == scores.named(task, "-distance") and not scores.named(task, "-distance").higher_is_better


def test_a_task_without_scores_is_not_validated(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Toy, "scores", ())
    loop.train(_held_out(steps=3), tmp_path)
    out = capsys.readouterr().out
    assert "no validation" in out and "the best 1 by the training loss, the less the better" in out


def test_scores_other_than_declared_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Toy, "score", lambda self, prediction, batch, assets: {"distanse": batch["index"]})
    with pytest.raises(ValueError, match="Toy.score gave 'distanse', which Toy.scores does not declare. Did you mean distance"):
        loop.train(_held_out(steps=3), tmp_path)


def test_samples_that_cannot_be_read_are_told_before_the_first_step(tmp_path, monkeypatch):
    source = Toy.source

    class Empty(ToySource):
        def __getitem__(self, index):
            return None

    monkeypatch.setattr(Toy, "source", lambda self, split, assets: Empty() if split == "unseen" else source(self, split, assets))
    with pytest.raises(ValueError, match="none of the 5 samples of unseen can be read; config.train.validate_samples = 0 goes without"):
        loop.train(_held_out(), tmp_path)


@pytest.mark.parametrize("item", ["model", "about"])
def test_where_the_best_is_damaged_the_next_best_is_taken(tmp_path, capsys, monkeypatch, item):
    monkeypatch.setattr(loop.plan.Validation, "scores", lambda self, state: {"distance": float(state.step)})
    loop.train(_held_out(), tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        best, second = sorted(checkpoints.scores())[:2]
        assert checkpoints.find("best") == best
        for path in (tmp_path / "checkpoints" / str(best) / item).rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-1])
        assert checkpoints.find("best") == second
    assert f"checkpoints/{best} is damaged" in capsys.readouterr().err
    assert restore_model(tmp_path, "best").step == second
