"""Checkpoints hold everything and bring it back exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_task import Toy, ToyModel, toy_config

from ava_jax.train import config as configs
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints, restore_model
from ava_jax.train.state import TrainState


def _filled(tree, seed):
    """Every array replaced by random values of its type: nothing can pass by being fresh."""
    rng = np.random.default_rng(seed)

    def fill(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.key(int(rng.integers(1000)))
        return jnp.asarray(rng.integers(0, 1000, x.shape), x.dtype) + (jnp.asarray(0.25, x.dtype) if x.dtype.kind == "f" else 0)

    return jax.tree.map(fill, tree)


def _state(config, seed=None) -> tuple[TrainState, ToyModel]:
    task = Toy(config)
    model = task.model(task.prepare(), rngs=states.model_rngs(config.seed))
    fresh = states.initial_state(states.split(model), task.optimizer(10, 1), 0)
    return (fresh if seed is None else _filled(fresh, seed)._replace(step=jnp.int32(seed))), model


def _equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_everything_comes_back_exactly(tmp_path):
    config = toy_config()
    assets = Toy(config).prepare()
    state, model = _state(config, seed=7)
    position = {"next_index": 12, "nested": {"epoch": 1}}
    with Checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(state, position, assets, config)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 7
        restored, place = checkpoints.restore_training(7, _state(config)[0])
        _equal(restored, state)
        assert place == position
        about = checkpoints.about(7)
        assert about.config.to_dict() == config.to_dict()
        assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= set(about.versions)
        found = checkpoints.assets(7)
        _equal(found.arrays, assets.arrays)
        assert found.names == assets.names


def test_the_state_may_be_overwritten_while_it_is_written(tmp_path):
    config = toy_config()
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s._replace(key=None)), donate_argnums=0)
    with Checkpoints(tmp_path, write=True) as checkpoints:
        states_saved = []
        for seed in (1, 2, 3):
            state, _ = _state(config, seed)
            states_saved.append(jax.device_get(jax.tree.map(jnp.copy, state._replace(key=None))))
            checkpoints.save(state, {}, Toy(config).prepare(), config)
            jax.block_until_ready(overwrite(state))
        checkpoints.wait()
        for seed, want in zip((1, 2, 3), states_saved, strict=True):
            _equal(checkpoints.restore_training(seed, _state(config)[0])[0]._replace(key=None), want)


def test_a_model_is_restored_from_the_folder_alone(tmp_path):
    config = toy_config()
    with Checkpoints(tmp_path, write=True) as checkpoints:
        for seed in (5, 9):
            state, _ = _state(config, seed)
            checkpoints.save(state, {}, Toy(config).prepare(), config)
    restored = restore_model(tmp_path, overrides={"data.root": "elsewhere"})
    parts = states.split(restored.model)
    _equal(parts.params, state.params.tree())
    _equal(parts.running, state.running)
    np.testing.assert_array_equal(restored.model.shift[...], [1, 2, 3])  # a constant, rebuilt
    assert restored.step == 9 and restored.config.data.root == restored.task.config.data.root == "elsewhere"
    assert restored.assets.names == {"colours": ["red", "green"]}
    assert restore_model(tmp_path, 5).step == 5


def test_only_the_last_are_kept_and_a_broken_one_is_passed_over(tmp_path):
    config = toy_config()
    with Checkpoints(tmp_path, write=True, keep=2) as checkpoints:
        for seed in (1, 2, 3):
            checkpoints.save(_state(config, seed)[0], {}, Toy(config).prepare(), config)
    broken = tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp"  # what a killed process leaves
    (broken / "model").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.find() == 3
        assert broken.is_dir()
        with pytest.raises(FileNotFoundError, match="no checkpoint of step 1; there are 2, 3"):
            checkpoints.find(1)
    with Checkpoints(tmp_path, write=True) as checkpoints:
        assert checkpoints.latest() == 3
        checkpoints.save(_state(config, 4)[0], {}, Toy(config).prepare(), config)
        checkpoints.wait()
        assert not broken.is_dir() and checkpoints.latest() == 4


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere/checkpoints: no checkpoint there. Train first"):
        restore_model(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="no checkpoint there"):
        restore_model(tmp_path)


def test_configs_survive_json_and_differences_are_named():
    config = toy_config()
    config.data.cameras = ("a", "b")
    config.eval.step_size = 1.0 / 256
    assert configs.from_json(configs.to_json(config)).to_dict() == config.to_dict()
    other = config.copy_and_resolve_references()
    other.train.steps, other.data.root, other.train.log_every, other.eval.batch_size = 99, "x", 1, 8
    assert configs.differences(config, other) == []
    other.optimizer.learning_rate = 0.1
    other.data.cameras = ("a",)
    del other.data.poison
    assert configs.differences(config, other) == [
        "data.cameras (saved ('a', 'b'), now ('a',))",
        "data.poison (saved -1, now 'absent')",
        "optimizer.learning_rate (saved 0.05, now 0.1)",
    ]


def _saved(tmp_path, config):
    with Checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(_state(config, 3)[0], {}, Toy(config).prepare(), config)


def test_one_older_than_a_key_of_the_config_names_the_key(tmp_path, monkeypatch):
    old = toy_config()
    _saved(tmp_path, old)

    class Newer(Toy):
        def model(self, assets, *, rngs):
            assert self.config.data.added >= 0
            return super().model(assets, rngs=rngs)

    monkeypatch.setattr("toy_task.Toy", Newer)
    with pytest.raises(ValueError, match=r"checkpoints/3: its config has no key 'added', which this version needs"):
        restore_model(tmp_path)
    assert restore_model(tmp_path, overrides={"data.added": 1}).config.data.added == 1
    with pytest.raises(ValueError, match=r"the config has no key 'dta.root'. Did you mean data.root\?"):
        restore_model(tmp_path, overrides={"dta.root": "x"})


def test_one_of_another_model_is_refused_in_a_line(tmp_path, monkeypatch):
    _saved(tmp_path, toy_config())

    class Larger(Toy):
        def model(self, assets, *, rngs):
            from flax import nnx

            model = super().model(assets, rngs=rngs)
            model.layers[0] = nnx.Linear(5, 9, rngs=rngs)
            return model

    monkeypatch.setattr("toy_task.Toy", Larger)
    with pytest.raises(ValueError, match=r"checkpoints/3 \(written by .*jax .*\) does not fit the model that its config makes here: "):
        restore_model(tmp_path)


def test_nearest_names():
    known = ["train.steps", "model.step_size", "train.batch_size", "eval.batch_size"]
    assert configs.nearest("steps", known) == configs.nearest("trian.steps", known) == " Did you mean train.steps?"
    assert configs.nearest("train.stps", known) == " Did you mean train.steps?"
    assert configs.nearest("evl.batch_size", known) == " Did you mean eval.batch_size?"
    assert configs.nearest("qqq", known) == ""


def test_a_config_that_lacks_a_key_of_the_loop_is_told_so(tmp_path):
    from ava_jax.train import loop

    config = toy_config()
    del config.train.keep_best
    with pytest.raises(ValueError, match="the config has no key 'keep_best', which this version needs"):
        loop.train(config, tmp_path)


def test_where_no_checkpoint_has_a_score_there_is_no_best(tmp_path):
    config = toy_config()
    with Checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(_state(config, seed=7)[0], {}, Toy(config).prepare(), config)
        checkpoints.wait()
        with pytest.raises(ValueError, match="no checkpoint there has a score"):
            checkpoints.find("best")
