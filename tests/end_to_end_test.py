"""Every shipped config, its tiny form shrunk further: trains, saves, resumes, comes back for evaluation."""

import json
import pathlib
import runpy

import jax
import ml_collections
import numpy as np
import pytest

from ava_jax.data import pipeline
from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints, restore_model

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[1] / "configs").glob("*.py"))


def shrink(config: ml_collections.ConfigDict, captures: pathlib.Path) -> ml_collections.ConfigDict:
    """As little work as the config's task can do, on captures of a few small images."""
    config.data.root = str(captures)
    config.data.downsample = 64
    config.model.width = 1 / 16
    config.model.step_size = 1 / 32
    config.model.guided_steps = 2
    config.train.batch_size = 2
    config.eval.batch_size = 2
    config.eval.max_samples = 2
    config.train.steps = 3
    config.train.log_every = 1
    config.train.picture_every = 10
    config.train.checkpoint_every = 2
    return config


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Programs are compiled once for all runs of this module."""
    before = {name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")}
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("path", CONFIGS, ids=[p.stem for p in CONFIGS])
def test_a_shipped_config_trains_resumes_and_is_restored(path, tiny_capture, tmp_path, cache, capsys):
    config = shrink(runpy.run_path(str(path))["get_config"]("tiny"), tiny_capture)
    assert loop.train(config, tmp_path / "whole") == 3
    config.train.steps = 2
    loop.train(config, tmp_path / "parts")
    config.train.steps = 3
    capsys.readouterr()
    loop.train(config, tmp_path / "parts")
    assert "resuming after 2" in capsys.readouterr().out
    assert list((tmp_path / "parts" / "pictures").glob("0000003_*.png"))
    starts = [json.loads(line) for line in (tmp_path / "parts" / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 2] and (tmp_path / "parts" / "config.json").is_file()

    whole, parts = (restore_model(tmp_path / name) for name in ("whole", "parts"))
    leaves = [jax.tree.leaves(states.split(r.model)[1:]) for r in (whole, parts)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)
    fresh = jax.tree.leaves(states.split(whole.task.model(whole.assets, rngs=states.model_rngs(config.seed))).params)
    trained = jax.tree.leaves(states.split(whole.model).params)
    assert np.mean([np.any(a != b) for a, b in zip(fresh, trained, strict=True)]) > 0.9

    split = whole.task.eval_splits[0]
    batch = next(pipeline.iterator(whole.task.source(split, whole.assets), whole.task.sampling(split), seed=0, threads=0))
    graphdef, *variables = states.split(whole.model)
    scores = jax.jit(lambda v, b: whole.task.evaluate(states.merge(states.Split(graphdef, *v)), b))(variables, batch)
    assert all(values.shape == (2,) for values in scores.values()) and len(whole.task.describe(batch, whole.assets)) == 2
    with Checkpoints(tmp_path / "parts") as checkpoints:
        assert checkpoints.about(3).config.to_dict() == config.to_dict()
