"""Reading captures: samples, splits, gaps and damage."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from capture_splits import decoders, eval_splits, make_config, prepare, read_split, views
from PIL import Image

from ava_jax.captures import ava256
from ava_jax.core import zbuffer
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Cameras
from ava_jax.data import archive, images, pipeline, zip_directory
from ava_jax.tasks.ava256.data import sample_rows


def test_a_sample_has_the_promised_arrays(tiny_capture):
    config = make_config(tiny_capture)
    assets = prepare(config)
    sample = read_split(config, "train", assets)[0]
    vertices = len(assets.arrays["vertices_mean"])
    expected = {
        "image": ((64, 41, 3), "uint8"), "texture": ((32, 32, 3), "uint8"), "neutral_texture": ((32, 32, 3), "uint8"),
        "vertices": ((vertices, 3), "float32"), "neutral_vertices": ((vertices, 3), "float32"),
        "camera_rotation": ((3, 3), "float32"), "camera_position": ((3,), "float32"),
        "focal": ((2,), "float32"), "principal": ((2,), "float32"),
        **{name: ((), "int32") for name in ("camera", "identity", "segment", "camera_id", "frame")},
    }  # fmt: skip
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == expected
    evaluated = read_split(config, "unseen_frames", assets)[0]
    assert evaluated["segmentation"].shape == (64, 41) and evaluated["segmentation"].dtype == np.uint8


def test_the_mesh_projects_onto_the_segmentation(tiny_capture):
    config = make_config(tiny_capture)
    assets = prepare(config)
    samples = read_split(config, "unseen_frames", assets)
    for index in range(len(samples)):
        sample = samples[index]
        camera = Cameras(*(sample[name] for name in ("camera_rotation", "camera_position", "focal", "principal")))
        triangle, _ = zbuffer.rasterize(zbuffer.project(sample["vertices"], camera), assets.arrays["faces"], 64, 41)
        assert np.mean((triangle >= 0) == (sample["segmentation"] > 0)) > 0.97


def test_assets_name_what_there_is(tiny_capture):
    assets = prepare(make_config(tiny_capture, **{"data.held_out.cameras": ("401168",)}))
    assert assets.names["identities"] == ["20260101--0900--SYN001", "20260102--0901--SYN002"]
    assert assets.names["cameras"] == ["400008", "400015", "400022"]  # of all captures, without the one held out
    assert assets.names["segments"] == sorted(assets.names["segments"]) and "EXP_neutral_peak" in assets.names["segments"]
    assert assets.arrays["texture_mean"].shape == (32, 32, 3) and assets.arrays["texture_mean"].dtype == np.float32
    assert assets.arrays["texture_std"].shape == () and assets.arrays["faces"].dtype == np.int32


def test_splits_share_nothing_and_lose_nothing(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.cameras": ("400022",), "data.held_out.last_frames": 2})
    assets = prepare(config)
    assert eval_splits(config) == ("unseen_frames", "unseen_cameras")
    sources = {split: read_split(config, split, assets) for split in ("train", "unseen_frames", "unseen_cameras")}
    seen = {split: set(views(samples)) for split, samples in sources.items()}
    assert [len(samples) for samples in sources.values()] == [2 * 2 * 4, 2 * 2 * 2, 2 * 6]
    assert len(set.union(*seen.values())) == sum(map(len, seen.values()))
    assert sum(map(len, seen.values())) == 2 * 3 * 6 - 1  # one listed image is missing
    assert {frame for _, _, frame in seen["unseen_frames"]} == {1012, 1015, 2012, 2015}
    assert {camera for _, camera, _ in seen["unseen_cameras"]} == {400022}


def test_everything_can_be_predicted_from_without_photographs(tiny_capture, own):
    config = make_config(tiny_capture, **{"data.held_out.cameras": ("400022",)})
    assets = prepare(config)
    samples = read_split(config, "predict", assets)
    assert len(samples) == len(set(views(samples))) == 2 * 3 * 6, "of the image that is missing too"
    for folder in ("image", "segmentation_parts"):
        for decoder in decoders(own):
            shutil.rmtree(decoder / folder)
    without = read_split(make_config(own), "predict", assets)
    assert len(without) >= len(samples), "every camera that is calibrated"
    trained = read_split(config, "train", assets)[0]
    assert set(without[0]) == set(trained) - {"image"}
    same = next(
        s for s in map(without.__getitem__, range(len(without))) if all(s[k] == trained[k] for k in ("identity", "camera_id", "frame"))
    )
    for name, value in same.items():
        np.testing.assert_array_equal(value, trained[name])


def test_the_held_out_segment_is_in_no_training_sample(tiny_capture):
    config = make_config(tiny_capture)
    assets = prepare(config)
    samples = read_split(config, "train", assets)
    free = assets.names["segments"].index("EXP_free_face")
    assert free not in {int(s["segment"]) for s in map(samples.__getitem__, range(len(samples))) if s is not None}
    assert eval_splits(config) == ("unseen_frames",)
    assert eval_splits(make_config(tiny_capture, **{"data.held_out.segments": ()})) == ()


def test_unseen_cameras_may_be_scored_on_some_frames(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.cameras": ("400022",), "eval.unseen_camera_frames": (0, 3, 99)})
    samples = read_split(config, "unseen_cameras", prepare(config))
    assert len(samples) == 4
    assert [frame for _, _, frame in views(samples)] == [1000, 2000, 2009]  # 1009 is the listed image that is missing
    assert samples[0]["camera"] == -1


def test_thinning_is_even_and_repeatable(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.last_frames": 6, "eval.max_samples": 9})
    assets = prepare(config)
    samples = read_split(config, "unseen_frames", assets)
    assert len(samples) == 9
    everything = read_split(make_config(tiny_capture, **{"data.held_out.last_frames": 6}), "unseen_frames", assets)
    chosen = views(samples)
    assert set(chosen) <= set(views(everything))
    assert len({identity for identity, _, _ in chosen}) == 2 and len({frame for _, _, frame in chosen}) > 4
    assert views(read_split(config, "unseen_frames", assets)) == chosen


def test_only_chosen_cameras_and_captures_are_read(tiny_capture, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260102,SYN002,0901\n")
    config = make_config(tiny_capture, **{"data.ids": str(tmp_path / "ids.csv"), "data.cameras": ("401168",)})
    assets = prepare(config)
    assert assets.names["identities"] == ["20260102--0901--SYN002"] and assets.names["cameras"] == ["401168"]
    assert len(read_split(config, "train", assets)) == 5


def test_strangers_have_index_minus_one(tiny_capture, own):
    other = decoders(own)[1].parent
    other.rename(own / "20270101--0000--NEW")
    shutil.rmtree(decoders(own)[0].parent)
    config = make_config(own)
    samples = read_split(config, "train", prepare(make_config(tiny_capture, **{"data.cameras": ("401168", "400008")})))
    assert samples[0]["identity"] == -1 and samples[0]["camera"] == -1 and samples[0]["camera_id"] == 400015
    described = sample_rows.describe({k: np.stack([v]) for k, v in samples[0].items()}, prepare(make_config(tiny_capture)))
    assert described == [{"identity": "unknown", "camera": "400015", "segment": "EXP_neutral_peak", "frame": 2000}]


def test_missing_images_are_counted_and_passed_over(tiny_capture):
    config = make_config(tiny_capture)
    samples = read_split(config, "train", prepare(config))
    assert samples.counts == {"listed": 30, "missing": 1, "unreadable": 0}  # known before any is read
    batches = pipeline.iterator(samples, Sampling(5), seed=0, threads=2)
    for _ in range(12):
        assert next(batches)["image"].shape[0] == 5
    assert samples.counts == {"listed": 30, "missing": 1, "unreadable": 0}


@pytest.mark.parametrize("part", ["kinematic_tracking/registration_vertices.zip", "uv_image/color.zip", "head_pose/head_pose.zip"])
def test_a_frame_without_surface_or_pose_is_passed_over(own, part):
    path = decoders(own)[0] / part
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    archive.write(path, [member for member in members if "001006" not in member[0]])
    config = make_config(own)
    samples = read_split(config, "train", prepare(config))
    assert {frame for identity, _, frame in views(samples) if identity == 0} == {1000, 1003, 1009, 1012}
    assert samples.counts["missing"] == 3 + 1  # the frame in three cameras, and the image that was missing before


def test_the_neutral_face_is_the_first_complete_frame_of_its_segment(own):
    decoder = decoders(own)[0]
    text = (decoder / "frame_list.csv").read_text().replace("EXP_jaw_open", "EXP_neutral_peak")
    (decoder / "frame_list.csv").write_text(text)
    path = decoder / "uv_image" / "color.zip"
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    archive.write(path, members[1:])  # 001000 has vertices and no texture
    config = make_config(own)
    samples = read_split(config, "train", prepare(config))
    read = [s for s in map(samples.__getitem__, range(len(samples))) if s is not None and s["identity"] == 0]
    own_frame = next(s for s in read if s["frame"] == 1003)
    np.testing.assert_array_equal(read[-1]["neutral_vertices"], own_frame["vertices"])
    np.testing.assert_array_equal(read[-1]["neutral_texture"], own_frame["texture"])
    archive.write(path, members[2:])
    with pytest.raises(ValueError, match="no frame of EXP_neutral_peak"):
        read_split(config, "train", prepare(config))[3]


def test_a_frame_is_decoded_once_for_its_views(tiny_capture, monkeypatch):
    """Read in order from several threads: each texture once, though three cameras share it."""
    config = make_config(tiny_capture)
    samples, decode, textures = read_split(config, "train", prepare(config)), images.decode, []
    monkeypatch.setattr(
        images, "decode", lambda data, size, **k: (textures.append(data) if size == (32, 32) else 0) or decode(data, size, **k)
    )
    order = Sampling(5, shuffle=False, epochs=1, drop_remainder=False)
    assert sum(len(batch["image"]) for batch in pipeline.iterator(samples, order, seed=0, threads=4)) == 29
    assert len(textures) == 10 + 2  # frames, and the neutral faces


def test_visits_resume_exactly_and_processes_share_an_epoch(tiny_capture):
    config = make_config(tiny_capture)
    samples = read_split(config, "train", prepare(config))
    seen = []
    for process in range(2):
        share = {"seed": 2, "threads": 2, "process_index": process, "process_count": 2}
        order = Sampling(4, epochs=2, drop_remainder=False, per_visit=2, window=3)
        whole = [batch["image"].sum() for batch in pipeline.iterator(samples, order, **share)]
        first = pipeline.iterator(samples, order, **share)
        next(first), next(first)
        again = pipeline.iterator(samples, order, **share)
        again.set_state(json.loads(json.dumps(first.get_state())))
        assert [batch["image"].sum() for batch in again] == whole[2:]
        for batch in pipeline.iterator(samples, order, **share):
            seen += zip(batch["identity"].tolist(), batch["camera_id"].tolist(), batch["frame"].tolist(), strict=True)
    assert sorted(seen) == sorted(2 * views(samples))


def test_a_second_start_reads_no_directory_of_a_zip(own, monkeypatch):
    config = make_config(own)
    assets = prepare(config)
    first = read_split(config, "train", assets)
    monkeypatch.setattr(zip_directory, "read", lambda path: pytest.fail(f"{path} was read again"))
    again = read_split(config, "train", assets)
    assert again.counts == first.counts and again[0]["frame"] == 1000


@pytest.mark.data
def test_reads_the_reference_capture(test_data):
    config = make_config(test_data / "capture", **{"data.held_out.cameras": ("400018", "400051"), "data.downsample": 8})
    config.data.held_out.update(segments=(), last_frames=2)
    config.eval.unseen_camera_frames = (0, 6, 12, 18, 19)
    assets = prepare(config)
    sources = {split: read_split(config, split, assets) for split in ("train", "unseen_frames", "unseen_cameras")}
    assert {split: len(s) for split, s in sources.items()} == {"train": 864, "unseen_frames": 96, "unseen_cameras": 40}
    train = sources["train"]
    folder = ava256.load(test_data / "capture" / assets.names["identities"][2])
    at = 2 * 18 * 12 + 7 * 12 + 5
    sample, frame = train[at], int(folder.frames[7])
    camera = assets.names["cameras"][5]
    assert (sample["identity"], sample["camera"], sample["frame"]) == (2, 5, frame)
    with zipfile.ZipFile(folder.image(camera)) as z, z.open(f"cam{camera}/{frame:06d}.avif") as file:
        expected = np.asarray(Image.open(file).resize((2668 // 8, 4096 // 8)))
    np.testing.assert_array_equal(sample["image"], expected)
    with zipfile.ZipFile(folder.texture) as z:
        np.testing.assert_array_equal(sample["texture"], images.decode(z.read(f"color/{frame:06d}.avif"), (32, 32)))
    cameras = Cameras(*(sample[name] for name in ("camera_rotation", "camera_position", "focal", "principal")))
    triangle, _ = zbuffer.rasterize(zbuffer.project(sample["vertices"], cameras), assets.arrays["faces"], 512, 333)
    labels = images.decode_labels(archive.Archives().read(folder.segmentation(camera), frame), (512, 333))
    assert np.mean((triangle >= 0) == (labels > 0)) > 0.99
