"""Captures of multiface read as ava-256's: the same samples, of the same heads."""

import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ava_jax.captures import ava256, camera_table, capture_set, reading, writing
from ava_jax.captures.multiface import recording
from ava_jax.data import images
from ava_jax.tasks.ava256.data import neutrals, source
from ava_jax.tasks.ava256.task import Ava256

NOTHING_HELD = {"segments": (), "cameras": (), "frames": (), "last_frames": 0}


def config_of(root: pathlib.Path, **data):
    import runpy

    configs = pathlib.Path(__file__).resolve().parents[2] / "configs"
    config = runpy.run_path(str(configs / "ava256.py"))["get_config"]("tiny")
    Ava256.test_config(config)
    config.data.root = str(root)
    config.data.update(data)
    return config


def samples_of(root: pathlib.Path, split: str = "train", **data):
    task = Ava256(config_of(root, **data))
    assets = task.prepare()
    found = source.source(task.captures, task.config, split, assets)
    return task, assets, {(int(s["frame"]), int(s["camera_id"])): s for s in map(found.__getitem__, range(len(found))) if s is not None}


def as_ava256(folder: pathlib.Path, root: pathlib.Path) -> pathlib.Path:
    """The same capture in ava-256's layout, pictures as the PNGs they are."""
    found = recording.load(folder)
    decoder = root / "20260101--0900--SYN001" / "decoder"
    frames = found.frames.tolist()
    cameras = [(c.name, 2 * c.k[(0, 1), (0, 1)], 2 * c.k[:2, 2], c.extrinsics[:, :3], c.extrinsics[:, 3]) for c in found.cameras]
    writing.calibration(decoder, [writing.Pinhole(*camera) for camera in cameras])
    for camera in found.cameras:
        writing.pictures(decoder, camera.name, ((n, data) for n in frames if (data := found.image(camera.name).read(n))), "png")
    writing.frame_list(decoder, zip(found.segments.tolist(), frames, strict=True))
    writing.poses(decoder, ((n, recording.pose(found.head_pose.read(n))) for n in frames))
    writing.vertices(decoder, ((n, recording.points(found.vertices.read(n))) for n in frames))
    writing.textures(decoder, ((n, data := found.texture().read(n), images.decode(data)) for n in frames))
    shutil.copy(folder.parent / ava256.TOPOLOGY, root)
    return root


def test_both_layouts_give_equal_samples(tiny_multiface, tmp_path):
    folder = sorted(tiny_multiface.glob("m--*"))[0]
    _, _, here = samples_of(folder, fill_unseen=False)
    _, _, there = samples_of(as_ava256(folder, tmp_path), fill_unseen=False)
    assert len(here) == 14 and here.keys() == there.keys()  # 5 frames, 3 cameras, and one photograph that is missing
    for key, sample in here.items():
        assert sample.keys() == there[key].keys()
        for name in sample:
            np.testing.assert_array_equal(sample[name], there[key][name], err_msg=name)


def test_the_generators_draw_the_same_heads(tiny_multiface, tiny_capture):
    """All but pictures, which ava-256's layout stores with losses, to the bit."""
    _, _, here = samples_of(tiny_multiface, fill_unseen=False)
    _, _, there = samples_of(tiny_capture)
    assert here.keys() == there.keys()
    for key, sample in here.items():
        for name in ("vertices", "neutral_vertices", "camera_rotation", "camera_position", "focal", "principal"):
            np.testing.assert_array_equal(sample[name], there[key][name], err_msg=name)
        assert np.abs(sample["image"].astype(int) - there[key]["image"]).mean() < 3
        seen = ~_grown(~sample["texture"].any(-1), 12)  # resized, the others are mixed with black
        assert 0.2 < seen.mean() < 1
        assert np.abs(sample["texture"].astype(int) - there[key]["texture"])[seen].mean() < 4


def test_texels_that_nobody_saw_take_the_mean(tiny_multiface):
    folder = sorted(tiny_multiface.glob("m--*"))[0]
    _, assets, filled = samples_of(folder)
    _, _, black = samples_of(folder, fill_unseen=False)
    key = next(iter(filled))
    texels = assets.arrays["texture_mean"].shape[0]
    found, plain = filled[key]["texture"], black[key]["texture"]
    assert found.shape == plain.shape == (texels, texels, 3)
    own = images.decode(recording.load(folder).texture().read(key[0]))  # 64 texels of the files
    mean = np.rint(assets.arrays["texture_mean"]).astype(int)
    scale = texels // len(own)
    unseen = ~own.any(-1).repeat(scale, 0).repeat(scale, 1)
    inner = unseen & ~_grown(~unseen, 3 * scale)
    assert inner.sum() > 100 and np.abs(found[inner] - mean[inner]).max() <= 1
    seen = ~_grown(unseen, 3 * scale)
    np.testing.assert_array_equal(found[seen], plain[seen])


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    from scipy import ndimage

    return ndimage.binary_dilation(mask, iterations=by)


def test_several_and_mixed_captures(tiny_multiface, tiny_capture, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(tiny_capture, mixed)
    for folder in tiny_multiface.glob("m--*"):
        (mixed / folder.name).symlink_to(folder)
    task, assets, _ = samples_of(mixed)
    assert [name[:3] for name in assets.names["identities"]] == ["202", "202", "m--", "m--"]
    rows = assets.names["cameras"]
    assert len([row for row in rows if row.startswith("multiface ")]) * 2 == len(rows)
    assert [rows[i] for i in assets.arrays["camera_anchors"]] == ["401168", "multiface 401168"]
    for capture in task.captures:
        assert [rows[i].removeprefix("multiface ") for i in camera_table.indices(capture, rows)] == list(capture.cameras)
    alike = [source.source(task.captures, task.config, split, assets)[0] for split in ("train", "unseen_frames")]
    assert alike[0].keys() | {"segmentation"} == alike[1].keys()
    found = source.source(task.captures, task.config, "train", assets)
    for index in (0, len(found) - 1):  # of either data set, read by another process
        there = pickle.loads(pickle.dumps(found.part(2))).read(index)
        assert all(np.array_equal(there[name], value) for name, value in found[index].items())
    with pytest.raises(ValueError, match="number other cameras alike"):
        samples_of(mixed, camera_table="position")


def test_held_out_frames_are_scored_over_the_mesh(tiny_multiface):
    """There is no segmentation: the silhouette stands for it."""
    _, _, held = samples_of(tiny_multiface, "unseen_frames")
    sample = next(iter(held.values()))
    labels = sample["segmentation"]
    assert labels.shape == sample["image"].shape[:2] and set(np.unique(labels)) == {0, reading.SILHOUETTE}
    assert 0.2 < (labels > 0).mean() < 0.8 and labels[len(labels) // 2, labels.shape[1] // 2]


def test_a_run_keeps_the_neutral_faces_as_it_sees_them(tiny_multiface, tmp_path):
    task, assets, found = samples_of(tiny_multiface)
    neutrals.write(task.captures, assets, tmp_path)
    sample = next(iter(found.values()))
    name = assets.names["identities"][int(sample["identity"])]
    face = neutrals.read(tmp_path, name, task.config.model.texture_size)
    np.testing.assert_array_equal(face.texture[0], sample["neutral_texture"])
    np.testing.assert_array_equal(face.vertices[0], sample["neutral_vertices"])


def test_without_a_neutral_segment_the_frame_nearest_to_the_mean_serves(tiny_multiface, tmp_path, capsys):
    folder = sorted(tiny_multiface.glob("m--*"))[0]
    copy = shutil.copytree(folder, tmp_path / folder.name)
    lines = [line for line in (copy / "frame_list.txt").read_text().splitlines() if "neutral" not in line]
    (copy / "frame_list.txt").write_text("\n".join(lines))
    found = capture_set.load(copy, topology=str(tiny_multiface / ava256.TOPOLOGY))
    assert "nearest to the mean mesh is taken for the neutral face" in capsys.readouterr().err
    (capture,) = found
    mean = recording.vertex_mean(copy / "vert_mean.bin")
    meshes = {n: recording.points(capture.vertices.read(n)) for n in capture.frames.tolist()}
    expected = min(meshes, key=lambda n: np.square(meshes[n] - mean).mean())
    assert reading.neutral_frame(found.archives, capture) == expected


def test_the_calibration_is_held_against_the_photographs(tiny_multiface, tmp_path, capsys):
    folder = sorted(tiny_multiface.glob("m--*"))[0]
    copy = shutil.copytree(folder, tmp_path / folder.name)
    shutil.copy(tiny_multiface / ava256.TOPOLOGY, tmp_path)
    for path in copy.glob("unwrapped_uv_1024/*/average/*.png"):
        path.write_bytes(images.encode(np.ascontiguousarray(images.decode(path.read_bytes())[::-1]), "png"))
    task = Ava256(config_of(tmp_path))
    task.source("train", task.prepare())
    assert "upside down" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mixed_run_trains(tiny_multiface, tiny_capture, tmp_path, compiling_quickly):
    """2 + 2 people: losses fall, and the camera that colours are told by keeps its own."""
    mixed = tmp_path / "mixed"
    shutil.copytree(tiny_capture, mixed)
    for folder in tiny_multiface.glob("m--*"):
        (mixed / folder.name).symlink_to(folder)
    small = {"data.downsample": 64, "model.width": 1 / 16, "model.step_size": 1 / 32, "train.steps": 12, "train.log_every": 1}
    small |= {
        "train.validate_every": 12,
        "train.checkpoint_every": 12,
        "train.picture_every": 0,
        "eval.batch_size": 2,
        "eval.max_samples": 2,
    }
    command = [sys.executable, "-m", "ava_jax.bin.ava", "train", "--config=ava256:tiny", f"--config.data.root={mixed}"]
    command += [f"--workdir={tmp_path / 'run'}", *(f"--config.{name}={value}" for name, value in small.items())]
    done = subprocess.run(command, env=os.environ | compiling_quickly, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [float(found) for found in re.findall(r"^step \d+/12  loss ([\d.]+)", done.stdout, re.M)]
    assert "8 cameras, 4 identities" in done.stdout and len(losses) == 12
    assert np.mean(losses[-4:]) < np.mean(losses[:4])
