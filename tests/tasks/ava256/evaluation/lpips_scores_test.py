"""LPIPS among the scores: where its networks' weights come from, what is left out without them, what is refused."""

import pathlib
import runpy
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from ava_jax.data import torch_writer
from ava_jax.metrics import lpips
from ava_jax.tasks.ava256.evaluation import networks
from ava_jax.tasks.ava256.task import Ava256

CONFIG = pathlib.Path(__file__).resolve().parents[4] / "configs" / "ava256.py"
B, H, W = 2, 64, 41


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = lpips.shapes("alex").items()
    return {name: (np.abs(rng.standard_normal(shape)) / np.sqrt(np.prod(shape[1:]))).astype(np.float32) for name, shape in sizes}


@pytest.fixture
def package(tmp_path, monkeypatch, weights):
    """A package `lpips` that has weights and cannot be imported, as without PyTorch; and AlexNet's file."""
    folder = tmp_path / "packages" / "lpips"
    (folder / "weights" / "v0.1").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('no torch')")
    linear = {name: value for name, value in weights.items() if name.startswith("lin")}
    torch_writer.write_state_dict(folder / "weights" / "v0.1" / "alex.pth", linear)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "lpips", raising=False)
    features = {name: value for name, value in weights.items() if name.startswith("features")}
    torch_writer.write_state_dict(tmp_path / "alex.pth", features | {"classifier.1.weight": np.zeros((2, 2), np.float32)})
    save_file(features, tmp_path / "alex.safetensors")
    return tmp_path


def task_of(capture, **files) -> Ava256:
    config = runpy.run_path(str(CONFIG))["get_config"]("tiny")
    config.data.root, config.data.downsample = str(capture), 64
    with config.unlocked():
        config.eval.update(files)
    return Ava256(config)


class Noise:
    """Instead of an avatar: the photographs, some grey levels off."""

    def reconstruct_with_mesh(self, batch, size=None):
        return batch["image"] + np.random.default_rng(1).normal(0, 20, batch["image"].shape).astype(np.float32), batch["vertices"]


def batch() -> dict[str, np.ndarray]:
    segmentation = np.zeros((B, H, W), np.uint8)
    segmentation[0, 10:50, 10:30] = 2
    return {
        "image": np.random.default_rng(2).integers(0, 256, (B, H, W, 3)).astype(np.uint8),
        "segmentation": segmentation,
        "vertices": np.zeros((B, 5, 3), np.float32),
        "camera": np.array([0, -1], np.int32),
        "identity": np.array([0, 0], np.int32),
    }


def test_scores_are_of_the_image_the_face_and_in_corrected_colours(tiny_capture, package, weights):
    task = task_of(tiny_capture, lpips_alex=str(package / "alex.pth"))
    assert {score.name for score in task.scores} >= {"lpips_alex", "face_lpips_alex", "cc_lpips_alex"}
    assert "lpips_vgg" not in {score.name for score in task.scores}
    assert task.lpips.line() == "LPIPS 0.1, alex: input -1..1, whole image; LPIPS left out without --lpips_vgg"
    samples = batch()
    prediction = task.predictor(lambda fn: lambda *args: fn(Noise(), *args))(samples)
    found = {name: np.asarray(value) for name, value in prediction["scores"].items()}
    assert {score.name for score in task.scores} == {*found, "vertex_error"}
    image, truth = np.asarray(prediction["image"]), samples["image"]
    masked = np.where(samples["segmentation"][..., None] == 2, image, truth)
    expected = np.asarray(lpips.lpips(weights, "alex", np.concatenate([image[:1], masked[:1]]), truth[:1]))
    np.testing.assert_allclose([found["lpips_alex"][0], found["face_lpips_alex"][0]], expected, rtol=1e-5)
    assert 0 < found["face_lpips_alex"][0] < found["lpips_alex"][0] and found["cc_lpips_alex"][0] > 0
    assert all(np.isnan(found[f"{kind}lpips_alex"][1]) for kind in ("", "face_", "cc_")), "not seen, and without a face"


def test_weights_are_read_from_either_format_without_importing_the_package(package, weights):
    for name in ("alex.pth", "alex.safetensors"):
        found = networks.Lpips({"alex": str(package / name)}).load()["alex"]
        assert set(found) == set(weights)
        for key, value in weights.items():
            np.testing.assert_array_equal(found[key], value)
    assert "lpips" not in sys.modules


def test_without_weights_there_is_no_column(tiny_capture):
    task = task_of(tiny_capture)
    assert not [score for score in task.scores if "lpips" in score.name]
    assert task.lpips.line() == "LPIPS left out without --lpips_alex and --lpips_vgg"


def test_mistakes_are_one_line(tiny_capture, package, monkeypatch):
    files = {"lpips_alex": str(package / "alex.pth"), "lpips_vgg": str(package / "alex.pth")}
    with pytest.raises(FileNotFoundError, match="nowhere.pth: there is no such file; LPIPS needs torchvision's weights"):
        networks.Lpips({"alex": "nowhere.pth"}).load()
    (package / "packages" / "lpips" / "weights" / "v0.1" / "vgg.pth").write_bytes((package / "alex.pth").read_bytes())
    with pytest.raises(ValueError, match=r"alex.pth: must have features.0.weight \[64, 3, 3, 3\], .* vgg16-.* as \[64, 3, 11, 11\]"):
        networks.Lpips({"vgg": files["lpips_vgg"]}).load()
    (package / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.safetensors: no safetensors file, or a damaged one"):
        networks.Lpips({"alex": str(package / "broken.safetensors")}).load()
    task = task_of(tiny_capture, lpips_alex=files["lpips_alex"])
    task.config.data.downsample = 140
    with pytest.raises(ValueError, match="--lpips_alex: images must be at least 31 pixels on a side; these are 29 x 19"):
        task.predictor(lambda fn: fn)
    monkeypatch.setattr(networks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="the package lpips, which is not installed: pip install --no-deps lpips"):
        networks.Lpips({"alex": files["lpips_alex"]}).load()
