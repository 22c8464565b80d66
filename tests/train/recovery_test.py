"""NaN and exploding losses: no update, back to the last checkpoint, on past the batch, given up in the end."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loop_test import _assert_same, _config, _final
from toy_task import Toy

from ava_jax.train import loop, recovery
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.checkpoint import Checkpoints, restore_model


def _sick(**train):
    config = _config(**{"steps": 30, "max_recoveries": 20, "keep_checkpoints": 20, **train})
    config.data.poison = 5  # in one batch of every epoch
    return config


def test_a_nan_goes_back_names_its_samples_and_trains_on_past_them(tmp_path, capsys):
    assert loop.train(_sick(), tmp_path) == 30
    out = capsys.readouterr().out
    report = json.loads((tmp_path / "recoveries.json").read_text())
    assert not report["gave_up"] and len(report["failures"]) >= 4  # 30 steps are 5 epochs
    for failure in report["failures"]:
        assert failure["term"] == "loss fit" and failure["value"] == "nan" and {"index": "5"} in failure["samples"]
        assert 0 <= failure["back_to"] < failure["step"] <= failure["back_to"] + 3  # a checkpoint every 3
        assert f"step {failure['step']}: the loss fit is nan (samples (index" in out
        assert f"not applied; back to step {failure['back_to']} and on with the data after that batch" in out
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states.split(restore_model(tmp_path).model)[1:]))


@pytest.mark.slow
def test_recoveries_are_the_same_whatever_the_timing_and_wherever_a_run_is_cut(tmp_path, monkeypatch):
    loop.train(_sick(), tmp_path / "whole")
    loop.train(_sick(steps=11), tmp_path / "parts")
    loop.train(_sick(), tmp_path / "parts")
    _assert_same(_final(tmp_path / "whole"), _final(tmp_path / "parts"))
    for ready in (True, False):  # False: every step is waited for before the next batch; True: none is
        monkeypatch.setattr(loop.Feed, "ready", lambda self, ready=ready: ready)
        loop.train(_sick(), tmp_path / f"ready_{ready}")
        _assert_same(_final(tmp_path / "whole"), _final(tmp_path / f"ready_{ready}"))
    with Checkpoints(tmp_path / "whole") as a, Checkpoints(tmp_path / "parts") as b:
        assert a.recoveries(30) == b.recoveries(30)
        assert len(a.recoveries(30)) == len(json.loads((tmp_path / "whole" / "recoveries.json").read_text())["failures"])


def test_it_gives_up_with_a_report_and_a_whole_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="Gave up after 2 recoveries; .*recoveries.json has all of them, the checkpoint of step"):
        loop.train(_sick(max_recoveries=2), tmp_path)
    report = json.loads((tmp_path / "recoveries.json").read_text())
    assert report["gave_up"] and [failure["back_to"] is None for failure in report["failures"]] == [False, False, True]
    assert loop.train(_sick(max_recoveries=20), tmp_path) == 30  # allowed more, the same folder goes on


class _Exploding(Toy):
    """From step 120 on, three steps long, the loss is a million times itself; and once at step 110."""

    def loss(self, model, batch, *, step, key, terms):
        fit, mask = super().loss(model, batch, step=step, key=key, terms=terms)["fit"]
        large = jnp.where((step == 110) | ((step >= 120) & (step < 123)), 1e6, 1.0)
        return {"fit": (fit * large, mask), "size": (fit * 0, None)}


def test_spikes_are_not_applied_and_a_row_of_them_goes_back(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules["toy_task"], "Toy", _Exploding)
    config = _config(steps=125, spike_factor=20.0, spike_steps=3, max_recoveries=2, checkpoint_every=105, log_every=50)
    with pytest.raises(ValueError, match=r"^step 123: the loss exploded: .* of 3 steps in a row far over the median.*samples"):
        loop.train(config, tmp_path)
    out = capsys.readouterr().out
    assert out.count("step 111: the loss") == 3 and out.count("back to step 105 and on") == 2
    assert "is over 20 x the median of the last losses" in out
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.find() == 105
    config.train.spike_steps = 4  # patient enough: the row is passed without going back
    assert loop.train(config, tmp_path) == 125


def _step_once(config, scale):
    """One step of a full guard whose losses were all 1; the batch's targets times `scale`."""
    task = Toy(config)
    assets = task.prepare()
    parts = states.split(task.model(assets, rngs=states.model_rngs(0)))
    mesh = steps.device_mesh(4)
    state = states.initial_state(parts, task.optimizer(1, 1), 0)
    state = state._replace(guard=state.guard._replace(recent=jnp.ones_like(state.guard.recent), count=jnp.int32(7)))
    function = steps.step_function(task, task.optimizer(1, 1), parts.graphdef, config.loss_weights, mesh, spike_factor=10.0)
    step = steps.make_step(function, mesh)
    samples = [task.source("train", assets)[i] for i in (0, 1, 2, 4)]
    batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
    batch["y"], batch["mask"] = batch["y"] * scale, batch["mask"] * 0 + 1
    before = jax.device_get(state._replace(key=None))
    after, metrics = step(state, parts.constants, batch)
    return before, jax.device_get(after._replace(key=None)), jax.device_get(metrics)


@pytest.mark.parametrize("scale", [np.nan, np.inf, 1e3, 0.0])
def test_only_a_step_in_order_moves_the_state(scale):
    before, after, metrics = _step_once(_config(), scale)
    in_order = scale == 0.0
    assert metrics["applied"] == in_order and after.step == 1
    assert in_order == (metrics["loss"] <= 10.0)  # what the case is meant to be
    for name in ("params", "running", "opt_state"):
        same = [np.array_equal(a, b) for a, b in zip(*(jax.tree.leaves(getattr(s, name)) for s in (before, after)), strict=True)]
        assert not all(same) if in_order else all(same)
    assert after.guard.count == 7 + in_order and after.guard.spikes == (scale == 1e3)
    assert after.guard.recent[7] == (metrics["loss"] if in_order else 1.0)


def test_a_window_of_one_judges_by_the_last_loss_that_was_applied():
    task = Toy(_config())
    assets = task.prepare()
    parts, optimizer, mesh = states.split(task.model(assets, rngs=states.model_rngs(0))), task.optimizer(1, 1), steps.device_mesh(4)
    state = states.initial_state(parts, optimizer, 0, spike_window=1)
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, task.config.loss_weights, mesh, spike_factor=10.0), mesh)
    samples = [task.source("train", assets)[i] for i in (0, 1, 2, 4)]
    seen = []
    for scale in (1.0, 100.0, 2.0, 100.0, 5.0, 12.0):  # targets; the loss is about their square
        batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
        batch["y"] = batch["y"] * scale
        state, metrics = step(state, parts.constants, batch)
        seen.append((bool(metrics["applied"]), float(metrics["median"]), float(metrics["loss"])))
    assert [applied for applied, _, _ in seen] == [True, False, True, False, True, True]
    losses = [loss for _, _, loss in seen]
    assert np.isnan(seen[0][1]) and [median for _, median, _ in seen[1:]] == [losses[i] for i in (0, 0, 2, 2, 4)]


class _Small(Toy):
    """`fit` is always 1, and `size` what the batch says."""

    def loss(self, model, batch, *, step, key, terms):
        fit, _ = super().loss(model, batch, step=step, key=key, terms=terms)["fit"]
        return {"fit": (fit * 0 + 1, None), "size": (jnp.abs(batch["y"][:, :1]), None)}


def test_a_term_is_judged_by_itself_however_little_it_weighs():
    config = _config()
    config.loss_weights.size = 1e-6
    task = _Small(config)
    assets = task.prepare()
    parts, optimizer, mesh = states.split(task.model(assets, rngs=states.model_rngs(0))), task.optimizer(1, 1), steps.device_mesh(4)
    state = states.initial_state(parts, optimizer, 0, spike_window=1, spike_terms=1)
    how = {"spike_factor": 10.0, "spike_terms": ("size",)}
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh, **how), mesh)
    samples = [task.source("train", assets)[i] for i in (0, 1, 2, 4)]
    applied, told = [], []
    for scale in (1.0, 8.0, 100.0, 70.0):
        batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
        batch["y"] = batch["y"] * 0 + scale
        state, metrics = step(state, parts.constants, batch)
        applied.append(bool(metrics["applied"]))
        told.append(recovery.spiked(metrics))
    assert applied == [True, True, False, True] and told[2] == ("loss size", 100.0, 8.0) and state.guard.recent.shape == (2, 1)
    with pytest.raises(ValueError, match="spike_terms: 'sice' is no term that is computed. Did you mean size"):
        steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh, spike_terms=("sice",))
