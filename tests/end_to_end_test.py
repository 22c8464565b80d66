"""Every shipped config, its tiny form shrunk further: trains, saves, resumes, comes back to be scored and to predict."""

import contextlib
import io
import json
import pathlib
import runpy
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import pytest

from ava_jax.data import pipeline
from ava_jax.run import evaluation, prediction
from ava_jax.run.inference import Inference
from ava_jax.tasks.base import RestoredRun, Task, task_class
from ava_jax.train import config as configs
from ava_jax.train import loop
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints, restore_model

pytestmark = pytest.mark.slow

CONFIGS = sorted((pathlib.Path(__file__).resolve().parents[1] / "configs").glob("*.py"))


class Example(NamedTuple):
    """A shipped config that was trained on data made from nothing.

    Attributes:
      config: as it was trained.
      folder: holds the runs `whole`, of three steps, and `parts`, of two and then one.
      resumed: what the last start printed.
      whole, parts: their models.
    """

    config: ml_collections.ConfigDict
    folder: pathlib.Path
    resumed: str
    whole: RestoredRun
    parts: RestoredRun


@pytest.fixture(scope="module", params=CONFIGS, ids=[path.stem for path in CONFIGS])
def example(request, tmp_path_factory) -> Example:
    """Trains it in one go, and again in two."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    config = runpy.run_path(str(request.param))["get_config"]("tiny")
    cls = task_class(config)
    configs.override(config, cls.synthesize(folder / "data", small=True))
    cls.test_config(config)
    config.train.update({"steps": 3, "log_every": 1, "picture_every": 10, "checkpoint_every": 2})
    assert loop.train(config, folder / "whole") == 3
    config.train.steps = 2
    loop.train(config, folder / "parts")
    config.train.steps = 3
    with contextlib.redirect_stdout(io.StringIO()) as out:
        loop.train(config, folder / "parts")
    return Example(config, folder, out.getvalue(), *(restore_model(folder / name) for name in ("whole", "parts")))


def test_it_resumes_and_says_so(example):
    parts = example.folder / "parts"
    assert "resuming after 2" in example.resumed
    starts = [json.loads(line) for line in (parts / "starts.jsonl").read_text().splitlines()]
    assert [start["step"] for start in starts] == [0, 2] and (parts / "config.json").is_file()
    with Checkpoints(parts) as checkpoints:
        assert checkpoints.about(3).config.to_dict() == example.config.to_dict()


def test_pictures_are_drawn_at_the_end(example):
    if type(example.whole.task).pictures is Task.pictures:
        pytest.skip("the task draws none")
    assert list((example.folder / "parts" / "pictures").glob("0000003_*.png"))


def test_in_parts_it_reaches_what_it_reaches_in_one_go(example):
    leaves = [jax.tree.leaves(states.split(r.model)[1:]) for r in (example.whole, example.parts)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns(example):
    fresh = example.whole.task.model(example.whole.assets, rngs=states.model_rngs(example.config.seed))
    before, after = (jax.tree.leaves(states.split(model).params) for model in (fresh, example.whole.model))
    assert np.mean([np.any(a != b) for a, b in zip(before, after, strict=True)]) > 0.9


def test_a_batch_is_predicted_scored_and_described(example):
    _, assets, task, model, _ = example.whole
    split = task.eval_splits(assets)[0]
    batch = next(pipeline.iterator(task.source(split, assets), task.sampling(split), seed=0, threads=0))
    count = len(next(iter(batch.values())))
    scores = task.score(jax.device_get(Inference(model).compile(task.predict)(batch)), batch, assets)
    assert set(scores) == {score.name for score in task.scores} and len(task.describe(batch, assets)) == count
    assert all(np.shape(values) == (count,) for values in scores.values())


def test_a_split_is_evaluated(example):
    _, assets, task, model, _ = example.whole
    split = task.eval_splits(assets)[0]
    report = evaluation.evaluate(task, assets, Inference(model).compile, [split], threads=0)[split]
    assert len(report.rows) == len(task.source(split, assets)) and report.unreadable == 0
    first = task.scores[0].name
    assert all(np.isfinite(row[first]) for row in report.rows)


def test_a_prediction_is_written(example, tmp_path):
    _, assets, task, model, _ = example.whole
    if type(task).export is Task.export:
        pytest.skip("the task writes none")
    split = task.eval_splits(assets)[0]
    written = prediction.predict(task, assets, Inference(model).compile, split, tmp_path / "out", threads=0, max_samples=1)
    assert written and all(path.stat().st_size > 0 and path.is_relative_to(tmp_path / "out") for path in written)
