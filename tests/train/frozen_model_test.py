"""A model that holds another run's, frozen: neither trained nor saved, restored when it is built."""

import shutil

import jax
import numpy as np
import pytest
from flax import nnx
from loop_test import _config
from toy_task import Toy, ToyModel

from ava_jax.core.variables import Constant, freeze
from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import restore_model
from ava_jax.train.optimization import by_path


class Head(nnx.Module):
    """Learns what is left of another run's answer."""

    def __init__(self, shift, body, *, rngs):
        self.own = ToyModel(shift, rngs=rngs)
        self.body = freeze(body)

    @property
    def largest(self):
        return self.own.largest

    def __call__(self, x):
        self.body.largest[...] += 1.0  # what a frozen part does to its own state is dropped
        return self.own(x) + self.body(x)


class OnTop(Toy):
    def model(self, assets, *, rngs):
        return Head(assets.arrays["shift"], self.restore(self.config.data.body).model, rngs=rngs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, and one on top of it."""
    folder = tmp_path_factory.mktemp("runs")
    loop.train(_config(steps=3), folder / "body")
    config = _config(steps=3)
    config.task = "frozen_model_test:OnTop"
    config.data.body = str(folder / "body")
    loop.train(config, folder / "head")
    return folder


def test_a_frozen_model_is_a_constant_of_the_same_arrays():
    model = ToyModel(np.zeros(3, np.float32), rngs=nnx.Rngs(0))
    model.tied = model.layers[0].kernel
    frozen = freeze(model)
    parts, x = states.split(frozen), np.ones((2, 5), np.float32)
    assert not jax.tree.leaves((parts.params, parts.running)) and len(jax.tree.leaves(parts.constants)) == 6
    np.testing.assert_array_equal(frozen(x), model(x))
    assert frozen.tied is frozen.layers[0].kernel and isinstance(frozen.tied, Constant)
    assert isinstance(model.tied, nnx.Param), "the module itself is left as it is"
    np.testing.assert_array_equal(jax.grad(lambda x: frozen(x).sum())(x), jax.grad(lambda x: model(x).sum())(x))


def test_it_is_neither_trained_nor_saved_but_restored(runs):
    restored = restore_model(runs / "head")
    parts, body = states.split(restored.model), states.split(restore_model(runs / "body").model)
    assert all(name.startswith("own/") for name in (*by_path(parts.params), *by_path(parts.running)))
    found, want = by_path(parts.constants), by_path(body.params)
    for name in want:
        np.testing.assert_array_equal(found[f"body/{name}"], want[name])
    fresh = OnTop(restored.config, restore=restore_model)
    started = by_path(states.split(fresh.model(restored.assets, rngs=states.model_rngs(restored.config.seed))).params)
    assert all(not np.array_equal(started[name], leaf) for name, leaf in by_path(parts.params).items())
    (stored,) = (p.read_text() for p in (runs / "head" / "checkpoints" / "3" / "model").glob("_METADATA"))
    assert "own" in stored and "body" not in stored


def test_without_the_other_run_it_is_told(runs, tmp_path):
    shutil.copytree(runs / "head", tmp_path / "head")
    with pytest.raises(FileNotFoundError, match="gone/checkpoints: no checkpoint there"):
        restore_model(tmp_path / "head", overrides={"data.body": str(tmp_path / "gone")})
