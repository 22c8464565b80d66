"""Checkpoints hold everything and bring it back exactly."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_task import Toy, ToyModel, toy_config

from ava_jax.tasks.base import Optimizer, ParameterGroup
from ava_jax.train import config as configs
from ava_jax.train import loop, manifest, optimization, packing
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


class _Grouped(Toy):
    """Learns in two groups, one of them packed, with moments of another type."""

    def optimizer(self, steps, steps_per_epoch):
        last = ParameterGroup("last", optax.adam(0.1), ("layers/1",), elementwise=False)
        return Optimizer((last, ParameterGroup("rest", optax.adam(0.1, mu_dtype=jnp.bfloat16))), clip_norm=1.0)


def test_what_is_packed_together_is_no_matter_of_checkpoints(tmp_path, monkeypatch):
    config = toy_config()
    task = _Grouped(config)
    parts = states.split(task.model(task.prepare(), rngs=states.model_rngs(0)))

    def state(seed=None):
        fresh = states.initial_state(parts, task.optimizer(10, 1), 0)
        return fresh if seed is None else _filled(fresh, seed)._replace(step=jnp.int32(seed))

    saved = state(seed=4)
    assert list(saved.params.groups["rest"].arrays) == [packing.PACKED]
    with Checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(saved, {}, task.prepare(), config)
    stored_names = "".join(p.read_text() for p in (tmp_path / "checkpoints" / "4" / "training").glob("_METADATA"))
    assert "kernel" in stored_names and packing.PACKED not in stored_names
    monkeypatch.setattr(packing, "SMALL", 10)
    with Checkpoints(tmp_path) as checkpoints:
        restored, _ = checkpoints.restore_training(4, state())
    assert sorted(restored.params.groups["rest"].arrays) == ["layers/0/kernel", packing.PACKED]
    _equal(restored.params.tree(), saved.params.tree())
    _equal(packing.unpack_all(restored.opt_state), packing.unpack_all(saved.opt_state))
    mu = packing.unpack_all(restored.opt_state)["rest"][0].mu["layers"][0]["kernel"]
    assert mu.dtype == jnp.bfloat16 and mu.shape == (5, 8)


def test_training_is_not_gone_on_with_from_a_version_that_packed_the_optimisers_state(tmp_path):
    """As they were written then: `about` says no format. They are evaluated, and are the start of new runs."""
    config = toy_config()
    _saved(tmp_path / "old", config)
    folder = tmp_path / "old" / "checkpoints" / "3"
    about = folder / "about" / "metadata"
    said = json.loads(about.read_text())
    assert said.pop("format") == 2
    about.write_text(json.dumps(said))
    manifest.write(folder)
    with Checkpoints(tmp_path / "old") as checkpoints, pytest.raises(ValueError) as error:
        checkpoints.restore_training(3, _state(config)[0])
    assert str(error.value) == (
        f"{folder} is of an older version, whose optimiser's state this one cannot go on with. Begin a new run from its weights: "
        f"--config.train.init_from={tmp_path / 'old'} --workdir=NEW"
    )
    with pytest.raises(ValueError, match="Begin a new run from its weights"):
        loop.train(config, tmp_path / "old")
    before = optimization.by_path(states.split(restore_model(tmp_path / "old").model).params)
    config.train.update(init_from=str(tmp_path / "old"), steps=1)
    loop.train(config, tmp_path / "new")
    after = optimization.by_path(states.split(restore_model(tmp_path / "new", 0).model).params)
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_configs_of_older_versions_are_brought_up_to_date(tmp_path, monkeypatch):
    """The loop's keys by `configs.migrate`, the task's own by its class; a run goes on under a config of today."""
    old = toy_config()
    for key in ("epochs", "steps_per_call", "split", "trainable", "init_from", "init_filter", "spike_window", "patience"):
        del old.train[key]
    del old.data.on_device
    old.optimizer.rate = old.optimizer.learning_rate
    del old.optimizer["learning_rate"]

    class Renamed(Toy):
        @classmethod
        def migrate(cls, config):
            if "rate" in config.optimizer:
                with config.unlocked():
                    config.optimizer.learning_rate = config.optimizer.rate
                    del config.optimizer["rate"]

    with Checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(_state(toy_config(), 3)[0], {}, Toy(toy_config()).prepare(), old)
    monkeypatch.setattr("toy_task.Toy", Renamed)
    with Checkpoints(tmp_path) as checkpoints:
        about = checkpoints.about(3)
    assert about.config.to_dict() == toy_config().to_dict()
    assert configs.differences(about.config, toy_config()) == []
    assert restore_model(tmp_path).config.train.spike_window == 100


def test_a_config_given_to_the_loop_may_be_of_an_older_version_too(tmp_path):
    config = toy_config()
    del config.train.spike_window
    config.lock()
    assert loop.train(config, tmp_path) == 6 and config.train.spike_window == 100


def test_nearest_names():
    known = ["train.steps", "model.step_size", "train.batch_size", "eval.batch_size"]
    assert configs.nearest("steps", known) == configs.nearest("trian.steps", known) == " Did you mean train.steps?"
    assert configs.nearest("train.stps", known) == " Did you mean train.steps?"
    assert configs.nearest("evl.batch_size", known) == " Did you mean eval.batch_size?"
    assert configs.nearest("qqq", known) == ""


def test_a_config_that_lacks_a_key_of_the_loop_is_told_so(tmp_path):
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
