"""Runs of multiface: imported and exported weights, videos, the adapted protocol, what an evaluation says."""

import pathlib
import runpy

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from ava_jax.bin._context import Context
from ava_jax.run import evaluation, report
from ava_jax.run.inference import Inference
from ava_jax.tasks.base import load_task
from ava_jax.tasks.multiface.apps import videos, weight_files
from ava_jax.tasks.multiface.evaluation import published
from ava_jax.tasks.multiface.model import weights
from ava_jax.tasks.multiface.task import Multiface
from ava_jax.train import config as configs
from ava_jax.train import loop
from ava_jax.train.checkpoint import restore_model

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    """A run of weights that were written to a file and imported, which has learnt nothing: read only."""
    folder = tmp_path_factory.mktemp("multiface")
    config = runpy.run_path(str(ROOT / "configs" / "multiface.py"))["get_config"]("tiny")
    configs.override(config, Multiface.synthesize(folder / "data", small=True))
    Multiface.test_config(config)
    task = load_task(config)
    model = task.model(task.prepare(), rngs=nnx.Rngs(jax.random.key(0, impl="rbg")))
    weight_files.write(folder / "weights.pth", model)
    imported, assets, taken = weight_files.read(folder / "weights.pth", config)
    assert taken == len(weights.state_dict(model))
    return Context().write_run(config, assets, imported, folder / "run")


def test_a_file_of_another_model_or_capture_is_told(run):
    config = restore_model(run).config
    file = run.parent / "weights.pth"
    for name, value, said in (("arch", "warp", "--config=multiface:base"), ("code", 5, "--config.model.code=4")):
        changed = config.copy_and_resolve_references()
        changed.model[name] = value
        with pytest.raises(ValueError, match=f"weights.pth: its {name} is .* give {said}"):
            weight_files.read(file, changed)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        weight_files.read(run / "none.pth", config)


def test_videos_show_truth_prediction_and_difference(run, tmp_path, capsys):
    restored = restore_model(run)
    compiled = Inference(restored.model).compile
    choice = videos.Choice("unseen_segments", segments=("EXP_free",), most=2)
    how = {"plain": True, "fps": 20.0}
    written = videos.write(compiled, restored.config, restored.assets, choice, tmp_path, **how)
    names = sorted(path.name for path in written)
    assert names[-1] == "frames.jpg" and sum(name.endswith(".mp4") for name in names) == videos.CAMERAS
    frames = sorted(next(path for path in written if path.is_dir()).iterdir())
    source = restored.task.source("unseen_segments", restored.assets)
    with Image.open(frames[0]) as picture:
        pixels = np.asarray(picture)
    truth = next(source[i]["image"] for i in range(len(source)) if source[i] is not None)
    height, width = truth.shape[:2]
    assert pixels.shape == (height + 44, 3 * width, 3) and np.array_equal(pixels[44:, :width], truth)
    assert pixels[44:, width:].any()
    assert videos.write(compiled, restored.config, restored.assets, choice, tmp_path, **how) == []
    assert "there already" in capsys.readouterr().out
    for wrong, said in (({"segments": ("E061",)}, "none that begins so"), ({"cameras": ("1",)}, "has none of it; the nearest are")):
        with pytest.raises(ValueError, match=said):
            videos.write(compiled, restored.config, restored.assets, choice._replace(**wrong), tmp_path / "other", **how)


def test_the_adapted_protocol_moves_encoder_and_colour_alone_and_says_so(run, tmp_path):
    restored = restore_model(run)
    before = weights.state_dict(restored.model)
    views = len(restored.task.source("unseen_segments", restored.assets))
    restored.config.eval.batch_size = 3  # is not that of training
    restored.config.loss_weights.screen = 0.0
    published.make_adapted(restored.config, "unseen_segments", views, f"{run}:0", passes=3)
    assert loop.train(restored.config, tmp_path / "adapted") == 3 * (views // 2)  # more than a pass
    adapted = restore_model(tmp_path / "adapted")
    after = weights.state_dict(adapted.model)
    moved = {key.partition(".")[0] for key in before if not np.array_equal(before[key], after[key])}
    assert moved == {"enc", "cc"}
    for one, said in ((restored, "ADAPTED: encoder, colour learnt on unseen_segments"), (restore_model(run), "honest")):
        assert any(line.startswith(said) for line in one.task.protocol({"unseen_segments": []}, one.assets).lines)


def test_the_constant_answer_scores_itself(run):
    """A model that answers with the means has the baseline's scores."""
    restored = restore_model(run)
    model = restored.model
    for layer in (model.decoder.mesh, model.decoder.ups[-1].layer):
        layer.magnitude[...] *= 0
        layer.bias[...] *= 0
    reports = evaluation.evaluate(restored.task, restored.assets, Inference(model).compile, ["unseen_segments"], threads=1)
    rows = reports["unseen_segments"].rows
    for row in rows:
        for name in ("tex", "vert", "tex_255", "psnr", "vert_mm"):
            np.testing.assert_allclose(row[name], row[f"constant_{name}"], rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(row["tex_255"], row["tex"] * float(restored.assets.arrays["texture_std"]) ** 2, rtol=1e-4)
    assert "constant tex" in report.tables(restored.task, reports)
