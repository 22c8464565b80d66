"""The protocol of the evaluation, end to end: a model whose pictures are known scored on captures on disk, and the same by hand.

The model is the real one with its primitives made transparent: what it shows is colour offsets and, for a camera seen in training, a
background of one colour. Truth, masks, means and PSNR and SSIM are computed here anew, from the files, in NumPy alone.
"""

import csv
import io
import pathlib
import runpy
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ava_jax.run import evaluation, inference, prediction, report
from ava_jax.tasks.base import load_task
from ava_jax.train import state as states

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
SIZE = (64, 41)  # height, width at downsample 64


@pytest.fixture(scope="module")
def run(tiny_capture):
    """Task, assets and the model, in the split of two last frames and one camera."""
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.root = str(tiny_capture)
    config.data.downsample = 64
    config.data.held_out.segments = ()
    config.data.held_out.last_frames = 2
    config.model.width = 1 / 16
    config.model.step_size = 1 / 32
    config.eval.batch_size = 4
    config.eval.unseen_camera_frames = (0, 3)
    config.data.held_out.cameras = (load_task(config).prepare().names["cameras"][0],)
    task = load_task(config)
    assets = task.prepare()
    model = task.model(assets, rngs=states.model_rngs(0))
    rng = np.random.default_rng(0)
    model.assembler.running_scale[...] = jnp.full_like(model.assembler.running_scale[...], 40.0)
    model.geometry_decoder.bias[...] = jnp.full_like(model.geometry_decoder.bias[...], -2000.0)
    model.background.last.weight[...] = jnp.zeros_like(model.background.last.weight[...])
    model.background.last.bias[...] = jnp.array([1.0, 2.0, 8.0])  # behind: 125, 150, 300
    model.calibration.camera_offset[...] = jnp.asarray(rng.uniform(-20, 20, model.calibration.camera_offset.shape), jnp.float32)
    model.calibration.identity_offset[...] = jnp.asarray(rng.uniform(0, 40, model.calibration.identity_offset.shape), jnp.float32)
    return task, assets, model


def on_disk(folder: pathlib.Path, kind: str, camera: str, frame: int) -> np.ndarray:
    """A picture as Pillow reads it: colours resized by its default filter, labels by nearest neighbour."""
    suffix = "avif" if kind == "image" else "png"
    with zipfile.ZipFile(folder / "decoder" / kind / f"cam{camera}.zip") as archive:
        picture = Image.open(io.BytesIO(archive.read(f"cam{camera}/{frame:06d}.{suffix}")))
        picture.load()
    size = SIZE[::-1]
    return np.asarray(picture.resize(size) if kind == "image" else picture.resize(size, Image.Resampling.NEAREST), np.float64)


def psnr_by_hand(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    errors = [(image[r, c] - truth[r, c]) ** 2 for r, c in np.argwhere(mask)]
    return 10 * np.log10(255**2 / np.mean(errors))


def ssim_by_hand(image: np.ndarray, truth: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, over all windows that lie in the picture whole, and the three channels."""
    line = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    window = np.outer(line, line) / line.sum() ** 2

    def weighted(x: np.ndarray) -> np.ndarray:
        return (np.lib.stride_tricks.sliding_window_view(x, (11, 11), axis=(0, 1)) * window).sum((-2, -1))

    mx, my = weighted(image), weighted(truth)
    vx, vy, vxy = weighted(image**2) - mx**2, weighted(truth**2) - my**2, weighted(image * truth) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


def test_scores_of_known_pictures_are_those_computed_by_hand(run, tiny_capture, tmp_path):
    task, assets, model = run
    reports = evaluation.evaluate(task, assets, inference.Inference(model).compile, task.eval_splits(assets), threads=0)
    report.write(tmp_path, 0, task, assets, reports)
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = task.config.data.held_out.cameras[0]
    calibration = model.calibration
    camera_offset, identity_offset = (np.asarray(x[...], np.float64) for x in (calibration.camera_offset, calibration.identity_offset))
    seen = {"unseen_frames": set(), "unseen_cameras": set()}
    for row in rows:
        place, frame = (row["identity"], row["camera"]), int(row["frame"])
        truth = on_disk(tiny_capture / row["identity"], "image", row["camera"], frame)
        face = ~np.isin(on_disk(tiny_capture / row["identity"], "segmentation_parts", row["camera"], frame), (0, 3))
        colour = identity_offset[assets.names["identities"].index(row["identity"])]
        if row["split"] == "unseen_frames":
            colour = colour + camera_offset[assets.names["cameras"].index(row["camera"])] + [125.0, 150.0, 300.0]
        else:
            assert row["camera"] == held_out
            colour = colour + camera_offset.mean(0)  # the mean of the cameras seen in training, and no background
        assert (colour > 255).any() or row["split"] == "unseen_cameras", "clipping makes a difference"
        image = np.broadcast_to(np.clip(colour, 0, 255), truth.shape)
        assert float(row["face_psnr"]) == pytest.approx(psnr_by_hand(image, truth, face), abs=2e-3), place
        if row["split"] == "unseen_frames":
            assert float(row["psnr"]) == pytest.approx(psnr_by_hand(image, truth, np.ones(SIZE, bool)), abs=2e-3), place
            assert float(row["ssim"]) == pytest.approx(ssim_by_hand(image, truth), abs=2e-4), place
            assert float(row["l1"]) == pytest.approx(np.abs(image - truth).mean(), rel=1e-4), place
        else:
            assert row["psnr"] == row["ssim"] == row["l1"] == "", "the whole image of such a camera is not scored"
        seen[row["split"]].add((*place, frame))
    assert all(seen.values()) and sum(map(len, seen.values())) == len(rows), "no image twice"

    for split, of in seen.items():
        mine = [row for row in rows if row["split"] == split]
        score = "psnr" if split == "unseen_frames" else "face_psnr"
        found = report.summary(task, reports[split])
        assert found["scores"][score]["mean"] == pytest.approx(np.mean([float(row[score]) for row in mine]))
        for identity, means in found["by"]["identity"].items():
            values = [float(row[score]) for row in mine if row["identity"] == identity]
            assert (means[score]["mean"], means[score]["images"]) == (pytest.approx(np.mean(values)), len(values))


def test_the_split_is_the_protocols(run, tiny_capture):
    """Unseen frames: the last two of each list on the cameras seen. Unseen cameras: the frames asked for, on those held out."""
    task, assets, _ = run
    held_out = task.config.data.held_out.cameras[0]
    for split in task.eval_splits(assets):
        source = task.source(split, assets)
        samples = [sample for sample in map(source.__getitem__, range(len(source))) if sample is not None]
        for index, identity in enumerate(assets.names["identities"]):
            with open(tiny_capture / identity / "decoder" / "frame_list.csv", newline="") as file:
                frames = [int(row["frame_id"]) for row in csv.DictReader(file)]
            with_images = {path.stem.removeprefix("cam") for path in (tiny_capture / identity / "decoder" / "image").glob("*.zip")}
            wanted = frames[-2:] if split == "unseen_frames" else [frames[0], frames[3]]
            cameras = with_images - {held_out} if split == "unseen_frames" else with_images & {held_out}
            found = {(str(s["camera_id"]), int(s["frame"])) for s in samples if s["identity"] == index}
            # One image of the procedural captures is missing on purpose.
            assert found <= {(c, f) for c in cameras for f in wanted} and len(found) >= len(cameras) * len(wanted) - 1


def test_predictions_are_pngs_of_the_pictures_that_are_scored(run, tmp_path):
    task, assets, model = run
    files = prediction.predict(task, assets, inference.Inference(model).compile, "unseen_frames", tmp_path, threads=0, max_samples=3)
    source = task.source("unseen_frames", assets)
    samples = [source[0], source[round((len(source) - 1) / 2)], source[len(source) - 1]]
    assert len(files) == 3
    for path, sample in zip(files, samples, strict=True):
        row = task.describe({name: value[None] for name, value in sample.items()}, assets)[0]
        name = f"{row['identity']}/{row['segment']}/{row['frame']:06d}_cam{row['camera']}.png"
        assert path == tmp_path / name
        colour = np.asarray(model.calibration.identity_offset[...])[sample["identity"]]
        colour = colour + np.asarray(model.calibration.camera_offset[...])[sample["camera"]] + [125.0, 150.0, 300.0]
        picture = np.asarray(Image.open(path), np.float64)
        assert picture.shape == (*SIZE, 3) and np.abs(picture - np.clip(colour, 0, 255)).max() <= 0.51


@pytest.mark.slow
def test_no_photographs_are_needed_for_a_prediction(run):
    task, assets, model = run
    source = task.source("unseen_frames", assets)
    sample = next(sample for sample in map(source.__getitem__, range(len(source))) if sample is not None)
    batch = {name: np.asarray(value)[None] for name, value in sample.items()}
    with_targets = task.predict(model, batch)
    without = task.predict(model, {name: value for name, value in batch.items() if name not in ("image", "segmentation")})
    assert set(without) == {"image"} and set(with_targets) == {"image", "scores", "vertex_distances"}
    np.testing.assert_array_equal(without["image"], with_targets["image"])
    with pytest.raises(ValueError, match="ava256: samples without image and segmentation cannot be scored"):
        task.score(without, batch, assets)
