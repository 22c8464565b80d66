"""Reading captures: samples, splits, gaps and damage."""

import json
import pathlib
import shutil
import zipfile

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from ava_jax.core import zbuffer
from ava_jax.core.types import Cameras
from ava_jax.data import archive, images, pipeline
from ava_jax.tasks.ava256 import capture, source
from ava_jax.core.sampling import Sampling


def make_config(root, **changes) -> ConfigDict:
    """The part of a config that reading looks at."""
    config = ConfigDict()
    config.data = ConfigDict({"root": str(root), "ids": "", "topology": "", "cameras": (), "downsample": 64})
    config.data.held_out = ConfigDict({"segments": ("EXP_free_face",), "last_frames": 0, "cameras": ()})
    config.model = ConfigDict({"texture_size": 32})
    config.eval = ConfigDict({"max_samples": 0, "unseen_camera_frames": ()})
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy that a test may damage."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


def decoders(root):
    return sorted(root.glob("*/decoder"))


def views(samples):
    """(identity, camera, frame) of all samples that can be read."""
    read = [samples[i] for i in range(len(samples))]
    return [(int(s["identity"]), int(s["camera_id"]), int(s["frame"])) for s in read if s is not None]


def test_a_sample_has_the_promised_arrays(tiny_capture):
    config = make_config(tiny_capture)
    assets = source.prepare(config)
    sample = source.source(config, "train", assets)[0]
    vertices = len(assets.arrays["vertices_mean"])
    expected = {
        "image": ((64, 41, 3), "uint8"), "texture": ((32, 32, 3), "uint8"), "neutral_texture": ((32, 32, 3), "uint8"),
        "vertices": ((vertices, 3), "float32"), "neutral_vertices": ((vertices, 3), "float32"),
        "camera_rotation": ((3, 3), "float32"), "camera_position": ((3,), "float32"),
        "focal": ((2,), "float32"), "principal": ((2,), "float32"),
        **{name: ((), "int32") for name in ("camera", "identity", "segment", "camera_id", "frame")},
    }  # fmt: skip
    assert {name: (value.shape, value.dtype.name) for name, value in sample.items()} == expected
    evaluated = source.source(config, "unseen_frames", assets)[0]
    assert evaluated["segmentation"].shape == (64, 41) and evaluated["segmentation"].dtype == np.uint8


def test_the_mesh_projects_onto_the_segmentation(tiny_capture):
    config = make_config(tiny_capture)
    assets = source.prepare(config)
    samples = source.source(config, "unseen_frames", assets)
    for index in range(len(samples)):
        sample = samples[index]
        camera = Cameras(*(sample[name] for name in ("camera_rotation", "camera_position", "focal", "principal")))
        triangle, _ = zbuffer.rasterize(zbuffer.project(sample["vertices"], camera), assets.arrays["faces"], 64, 41)
        assert np.mean((triangle >= 0) == (sample["segmentation"] > 0)) > 0.97


def test_assets_name_what_there_is(tiny_capture):
    assets = source.prepare(make_config(tiny_capture, **{"data.held_out.cameras": ("401168",)}))
    assert assets.names["identities"] == ["20260101--0900--SYN001", "20260102--0901--SYN002"]
    assert assets.names["cameras"] == ["400008", "400015", "400022"]  # of all captures, without the one held out
    assert assets.names["segments"] == sorted(assets.names["segments"]) and "EXP_neutral_peak" in assets.names["segments"]
    assert assets.arrays["texture_mean"].shape == (32, 32, 3) and assets.arrays["texture_mean"].dtype == np.float32
    assert assets.arrays["texture_std"].shape == () and assets.arrays["faces"].dtype == np.int32


def test_splits_share_nothing_and_lose_nothing(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.cameras": ("400022",), "data.held_out.last_frames": 2})
    assets = source.prepare(config)
    assert source.eval_splits(config) == ("unseen_frames", "unseen_cameras")
    sources = {split: source.source(config, split, assets) for split in ("train", "unseen_frames", "unseen_cameras")}
    seen = {split: set(views(samples)) for split, samples in sources.items()}
    assert [len(samples) for samples in sources.values()] == [2 * 2 * 4, 2 * 2 * 2, 2 * 6]
    assert len(set.union(*seen.values())) == sum(map(len, seen.values()))
    assert sum(map(len, seen.values())) == 2 * 3 * 6 - 1  # one listed image is missing
    assert {frame for _, _, frame in seen["unseen_frames"]} == {1012, 1015, 2012, 2015}
    assert {camera for _, camera, _ in seen["unseen_cameras"]} == {400022}


def test_the_held_out_segment_is_in_no_training_sample(tiny_capture):
    config = make_config(tiny_capture)
    assets = source.prepare(config)
    samples = source.source(config, "train", assets)
    free = assets.names["segments"].index("EXP_free_face")
    assert free not in {int(s["segment"]) for s in map(samples.__getitem__, range(len(samples))) if s is not None}
    assert source.eval_splits(config) == ("unseen_frames",)
    assert source.eval_splits(make_config(tiny_capture, **{"data.held_out.segments": ()})) == ()


def test_unseen_cameras_may_be_scored_on_some_frames(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.cameras": ("400022",), "eval.unseen_camera_frames": (0, 3, 99)})
    samples = source.source(config, "unseen_cameras", source.prepare(config))
    assert len(samples) == 4
    assert [frame for _, _, frame in views(samples)] == [1000, 2000, 2009]  # 1009 is the listed image that is missing
    assert samples[0]["camera"] == -1


def test_thinning_is_even_and_repeatable(tiny_capture):
    config = make_config(tiny_capture, **{"data.held_out.last_frames": 6, "eval.max_samples": 9})
    assets = source.prepare(config)
    samples = source.source(config, "unseen_frames", assets)
    assert len(samples) == 9
    everything = source.source(make_config(tiny_capture, **{"data.held_out.last_frames": 6}), "unseen_frames", assets)
    chosen = views(samples)
    assert set(chosen) <= set(views(everything))
    assert len({identity for identity, _, _ in chosen}) == 2 and len({frame for _, _, frame in chosen}) > 4
    assert views(source.source(config, "unseen_frames", assets)) == chosen


def test_only_chosen_cameras_and_captures_are_read(tiny_capture, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260102,SYN002,0901\n")
    config = make_config(tiny_capture, **{"data.ids": str(tmp_path / "ids.csv"), "data.cameras": ("401168", "400008")})
    assets = source.prepare(config)
    assert assets.names["identities"] == ["20260102--0901--SYN002"] and assets.names["cameras"] == ["401168"]
    assert len(source.source(config, "train", assets)) == 5


def test_strangers_have_index_minus_one(tiny_capture, own):
    other = decoders(own)[1].parent
    other.rename(own / "20270101--0000--NEW")
    shutil.rmtree(decoders(own)[0].parent)
    config = make_config(own)
    samples = source.source(config, "train", source.prepare(make_config(tiny_capture, **{"data.cameras": ("401168", "400008")})))
    assert samples[0]["identity"] == -1 and samples[0]["camera"] == -1 and samples[0]["camera_id"] == 400015
    described = source.describe({k: np.stack([v]) for k, v in samples[0].items()}, source.prepare(make_config(tiny_capture)))
    assert described == [{"identity": "unknown", "camera": "400015", "segment": "EXP_neutral_peak", "frame": 2000}]


def test_missing_images_are_counted_and_passed_over(tiny_capture):
    config = make_config(tiny_capture)
    samples = source.source(config, "train", source.prepare(config))
    assert samples.counts == {"listed": 30, "missing": 0, "unreadable": 0}
    batches = pipeline.iterator(samples, Sampling(5), seed=0, threads=2)
    for _ in range(12):
        assert next(batches)["image"].shape[0] == 5
    assert samples.counts == {"listed": 30, "missing": 1, "unreadable": 0}  # once, however often it is met


@pytest.mark.parametrize("part", ["kinematic_tracking/registration_vertices.zip", "uv_image/color.zip", "head_pose/head_pose.zip"])
def test_a_frame_without_surface_or_pose_is_passed_over(own, part):
    path = decoders(own)[0] / part
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    archive.write(path, [member for member in members if "001006" not in member[0]])
    config = make_config(own)
    samples = source.source(config, "train", source.prepare(config))
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
    samples = source.source(config, "train", source.prepare(config))
    read = [s for s in map(samples.__getitem__, range(len(samples))) if s is not None and s["identity"] == 0]
    own_frame = next(s for s in read if s["frame"] == 1003)
    np.testing.assert_array_equal(read[-1]["neutral_vertices"], own_frame["vertices"])
    np.testing.assert_array_equal(read[-1]["neutral_texture"], own_frame["texture"])
    archive.write(path, members[2:])
    with pytest.raises(ValueError, match="no frame of EXP_neutral_peak"):
        source.source(config, "train", source.prepare(config))[3]


def test_a_damaged_image_is_named_counted_and_passed_over(own, caplog):
    path = decoders(own)[1] / "image" / "cam401168.zip"
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    members[0] = (members[0][0], members[0][1][:200])
    archive.write(path, members)
    config = make_config(own)
    samples = source.source(config, "train", source.prepare(config))
    with caplog.at_level("WARNING"):
        found, again = views(samples), views(samples)
    assert (1, 401168, 2000) not in found and found == again
    assert samples.counts["unreadable"] == 1
    named = [r.getMessage() for r in caplog.records if "cam401168.zip, frame 2000" in r.getMessage()]
    assert len(named) == 1


def test_a_truncated_zip_is_an_error_at_once(own):
    path = decoders(own)[1] / "image" / "cam401168.zip"
    path.write_bytes(path.read_bytes()[:-40])
    config = make_config(own)
    with pytest.raises(ValueError, match=r"cam401168\.zip: not a whole zip"):
        source.source(config, "train", source.prepare(config))


def test_missing_segmentation_matters_to_evaluation_alone(own):
    shutil.rmtree(decoders(own)[0] / "segmentation_parts")
    config = make_config(own)
    assets = source.prepare(config)
    assert source.source(config, "train", assets)[0] is not None
    with pytest.raises(ValueError, match=r"segmentation_parts.*no such file"):
        source.source(config, "unseen_frames", assets)


def _spoil_calibration(text):
    return lambda root: (decoders(root)[0] / "camera_calibration.json").write_text(text)


def _spoil_frame_list(text):
    return lambda root: (decoders(root)[1] / "frame_list.csv").write_text(text)


def _remove(name):
    return lambda root: (decoders(root)[0] / name).unlink()


_SPOILERS = {
    "an empty root": (lambda root: [shutil.rmtree(d.parent) for d in decoders(root)], "no capture there"),
    "no calibration": (_remove("camera_calibration.json"), r"camera_calibration\.json: cannot be read"),
    "calibration that is no JSON": (_spoil_calibration("{"), r"camera_calibration\.json: must be"),
    "calibration of another form": (_spoil_calibration('{"KRT": [{"cameraId": "4", "K": [1]}]}'), r"camera_calibration\.json: must be"),
    "calibration of other cameras": (
        _spoil_calibration(json.dumps({"KRT": [{"cameraId": "4", "K": np.eye(3).tolist(), "T": np.eye(4).tolist()}]})), "no camera to use",
    ),
    "no frame list": (_remove("frame_list.csv"), r"frame_list\.csv: cannot be read"),
    "a frame list without frames": (_spoil_frame_list("seg_id,frame_id\n"), "columns seg_id,frame_id"),
    "a frame that is no number": (_spoil_frame_list("seg_id,frame_id\nEXP_a,x\n"), "frame_id must be a whole number"),
    "no topology": (lambda root: (root / "face_topology.obj").unlink(), r"face_topology\.obj: cannot be read"),
    "a topology of another mesh": (
        lambda root: (root / "face_topology.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nf 1/1 2/2 3/2\n"),
        "of 7921 vertices",
    ),
    "statistics that are missing": (_remove("kinematic_tracking/registration_vertices_variance.txt"), r"variance\.txt: cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", _SPOILERS)
def test_what_is_wrong_is_said_in_one_line(own, name):
    spoil, message = _SPOILERS[name]
    spoil(own)
    with pytest.raises(ValueError, match=message) as error:
        source.prepare(make_config(own))
    assert "\n" not in str(error.value)


def test_wrong_settings_are_said_in_one_line(tiny_capture):
    with pytest.raises(ValueError, match="config.data.root must name"):
        source.prepare(make_config(""))
    with pytest.raises(ValueError, match="held_out.cameras: no capture has 12345"):
        source.prepare(make_config(tiny_capture, **{"data.held_out.cameras": ("12345",)}))
    with pytest.raises(ValueError, match="SYN001: no camera to use"):
        source.prepare(make_config(tiny_capture, **{"data.cameras": ("400015",)}))
    config = make_config(tiny_capture)
    with pytest.raises(ValueError, match="split must be"):
        source.source(config, "validation", source.prepare(config))


def test_a_listed_capture_that_is_absent_is_named(tiny_capture, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260102,NOBODY,0901\n")
    with pytest.raises(ValueError, match="20260102--0901--NOBODY: no capture there"):
        source.prepare(make_config(tiny_capture, **{"data.ids": str(tmp_path / "ids.csv")}))


def test_vertices_of_another_mesh_are_an_error(own):
    config = make_config(own)
    assets = source.prepare(config)
    assets.arrays["vertices_mean"] = assets.arrays["vertices_mean"][:-1]
    with pytest.raises(ValueError, match="must have 7920 vertices"):
        source.source(config, "train", assets)[0]


@pytest.mark.data
def test_reads_the_reference_capture(test_data):
    config = make_config(test_data / "capture", **{"data.held_out.cameras": ("400018", "400051"), "data.downsample": 8})
    config.data.held_out.update(segments=(), last_frames=2)
    config.eval.unseen_camera_frames = (0, 6, 12, 18, 19)
    assets = source.prepare(config)
    sources = {split: source.source(config, split, assets) for split in ("train", "unseen_frames", "unseen_cameras")}
    assert {split: len(s) for split, s in sources.items()} == {"train": 864, "unseen_frames": 96, "unseen_cameras": 40}
    train = sources["train"]
    folder = capture.load(test_data / "capture" / assets.names["identities"][2])
    at = 2 * 12 * 18 + 5 * 18 + 7
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
