"""A run that starts from another run's weights, learns a part of them, on any split."""

import jax
import numpy as np
import pytest
from flax import nnx
from loop_test import _assert_same, _config, _final
from toy_task import Toy, ToySource

from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import restore_model
from ava_jax.train.initialization import source_of, start_from
from ava_jax.train.optimization import by_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with checkpoints of steps 3 and 6; read only."""
    folder = tmp_path_factory.mktemp("trained")
    loop.train(_config(steps=6, keep_checkpoints=2), folder)
    return folder


def _variables(run, step=None):
    return _by_path(states.split(restore_model(run, step).model))


def _by_path(parts):
    return jax.device_get(by_path(parts.params) | by_path(parts.running))


def _fresh(task=Toy):
    task = task(_config())
    return states.split(task.model(task.prepare(), rngs=states.model_rngs(task.config.seed)))


def _differ(a, b):
    return {name for name in a if not np.array_equal(a[name], b[name])}


def test_a_run_is_named_with_or_without_a_step(tmp_path):
    for text, step in (("a/b", None), ("a/b:12", 12), ("a/b:best", "best"), ("C:/b", None), ("a:x", None)):
        run, found = source_of(text)
        assert found == step and str(run) == (text if step is None else text.rpartition(":")[0])


def test_all_is_taken_at_the_first_start_and_nothing_when_it_resumes(trained, tmp_path, capsys):
    loop.train(_config(steps=3, init_from=f"{trained}:3"), tmp_path / "parts")
    assert f"75 of 75 parameters taken from {trained}, step 3\n" in capsys.readouterr().out
    assert not _differ(_variables(tmp_path / "parts", 0), _variables(trained, 3))
    loop.train(_config(steps=6, init_from=f"{trained}:3"), tmp_path / "parts")
    assert "taken from" not in capsys.readouterr().out
    loop.train(_config(steps=6, init_from=f"{trained}:3"), tmp_path / "whole")
    _assert_same(_final(tmp_path / "whole"), _final(tmp_path / "parts"))


def test_a_part_is_taken_and_the_rest_stays_fresh(trained):
    found, told = start_from(_fresh(), str(trained), ("layers/0", "largest"))
    assert told == f"48 of 75 parameters taken from {trained}, step 6; fresh: layers/1/bias, layers/1/kernel"
    assert _differ(_by_path(found), _variables(trained)) == {"layers/1/kernel", "layers/1/bias"}
    assert _differ(_by_path(found), _by_path(_fresh())) == {"layers/0/kernel", "layers/0/bias", "largest"}


def test_what_is_missing_or_of_another_shape_is_named_in_a_line(trained):
    class Larger(Toy):
        def model(self, assets, *, rngs):
            model = super().model(assets, rngs=rngs)
            model.layers[0].bias = nnx.Param(np.zeros((1, 8), np.float32))
            model.added = nnx.Param(np.zeros(2, np.float32))
            return model

    with pytest.raises(ValueError) as error:
        start_from(_fresh(Larger), str(trained), ())
    assert str(error.value) == (
        f"config.train.init_from: {trained}, step 6, must have what this model takes; it differs in added (absent), layers/0/bias ((8,), "
        'not (1, 8)). Leave these out with config.train.init_filter, as in ("decoder/",).'
    )
    with pytest.raises(ValueError, match=r"init_filter: 'layer/0' matches .*no parameter's path. Did you mean layers/0"):
        start_from(_fresh(Larger), str(trained), ("layer/0",))
    _, told = start_from(_fresh(Larger), str(trained), ("layers/./kernel",))
    assert told.startswith("64 of 77 parameters taken") and told.endswith("; fresh: added, layers/0/bias, layers/1/bias")


def test_a_run_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere/checkpoints: no checkpoint there"):
        loop.train(_config(init_from=str(tmp_path / "nowhere")), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_frozen_parameters_stay_bit_for_bit_are_told_and_resumed(trained, tmp_path, capsys):
    loop.train(_config(steps=6, init_from=str(trained), trainable=("layers/1",)), tmp_path / "whole")
    assert "model:   75 parameters (layers 75), of which 48 do not learn" in capsys.readouterr().out
    assert _differ(_variables(tmp_path / "whole"), _variables(trained)) - {"largest"} == {"layers/1/kernel", "layers/1/bias"}
    for steps in (3, 6):
        loop.train(_config(steps=steps, init_from=str(trained), trainable=("layers/1",)), tmp_path / "parts")
    assert not _differ(_variables(tmp_path / "whole"), _variables(tmp_path / "parts"))


def test_gradients_are_not_taken_by_frozen_parameters():
    """By its program: nothing is multiplied for the gradient of a frozen first layer."""
    from ava_jax.train import step as steps

    def products(trainable):
        task = Toy(_config())
        parts = states.split(task.model(task.prepare(), rngs=states.model_rngs(0)))
        optimizer, mesh = task.optimizer(1, 1), steps.device_mesh(4)
        state = states.initial_state(parts, optimizer, 0, trainable=trainable)
        step = steps.step_function(task, optimizer, parts.graphdef, task.config.loss_weights, mesh)
        sample = ToySource()[0]
        batch = {name: np.stack([value] * 4) for name, value in sample.items()}
        return str(jax.make_jaxpr(step)(state, parts.constants, batch)).count("dot_general[")

    # Forward: a product per layer. Backward: one for each layer's weights, and one that leads to the first layer.
    assert (products(()), products(("layers/1",)), products(("layers/0",))) == (5, 3, 4)


def test_another_split_is_learned_from(tmp_path, monkeypatch):
    asked = []
    source = Toy.source
    monkeypatch.setattr(Toy, "source", lambda self, split, assets: (asked.append(split), source(self, split, assets))[1])
    loop.train(_config(steps=8, split="unseen"), tmp_path)  # more than an epoch, which would be the end of a split to be scored
    assert asked == ["unseen"]


def test_how_many_losses_judge_a_spike_is_the_configs():
    task = Toy(_config())
    parts = states.split(task.model(task.prepare(), rngs=states.model_rngs(0)))
    assert states.initial_state(parts, task.optimizer(1, 1), 0, spike_window=1).guard.recent.shape == (1,)
