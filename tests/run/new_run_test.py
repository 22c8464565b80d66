"""A run begun with a model that was not trained here: read back, trained on, and refused where there is one."""

import jax
import numpy as np
import pytest
from toy_task import Toy, toy_config

from ava_jax.bin._context import Context
from ava_jax.run.new_run import write_run
from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints, restore_model


def imported(config):
    """A model, all of whose values are one half, and its assets."""
    task = Toy(config)
    assets = task.prepare()
    parts = states.split(task.model(assets, rngs=states.model_rngs(1)))
    return assets, states.merge(parts._replace(params=jax.tree.map(lambda x: 0 * x + 0.5, parts.params)))


def test_it_is_read_back_by_its_folder_alone(tmp_path):
    config = toy_config()
    assets, model = imported(config)
    assert write_run(config, assets, model, tmp_path / "run") == tmp_path / "run"
    restored = Context().restore(tmp_path / "run", "0")
    assert restored.step == 0 and restored.config.to_dict() == config.to_dict()
    for leaf in jax.tree.leaves(states.split(restored.model).params):
        np.testing.assert_array_equal(leaf, 0.5)
    assert (tmp_path / "run" / "config.json").is_file() and (tmp_path / "run" / "starts.jsonl").read_text().count("\n") == 1


def test_training_goes_on_from_it(tmp_path, capsys):
    config = toy_config()
    config.train.steps = 2
    config.optimizer.learning_rate = 1e-6
    assets, model = imported(config)
    write_run(config, assets, model, tmp_path)
    assert loop.train(config, tmp_path) == 2
    assert "resuming after 0" in capsys.readouterr().out
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 2
    for leaf in jax.tree.leaves(states.split(restore_model(tmp_path).model).params):
        np.testing.assert_allclose(leaf, 0.5, atol=1e-4)


def test_a_run_that_is_there_is_left_alone(tmp_path):
    config = toy_config()
    assets, model = imported(config)
    write_run(config, assets, model, tmp_path)
    before = (tmp_path / "starts.jsonl").read_text()
    with pytest.raises(ValueError, match="holds a run already; take another --workdir"):
        write_run(config, assets, model, tmp_path)
    with pytest.raises(ValueError, match="--workdir is missing"):
        Context().write_run(config, assets, model, None)
    assert (tmp_path / "starts.jsonl").read_text() == before
