"""Samples of a capture of multiface: what they hold, which there are, and what is said of captures that are damaged."""

import json
import pathlib
import pickle
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from ava_jax.captures.multiface import layout, recording
from ava_jax.core import zbuffer
from ava_jax.core.sampling import UnreadableData
from ava_jax.core.types import Cameras
from ava_jax.data import images
from ava_jax.tasks.multiface.data import packed, source, splits


def config_of(root: pathlib.Path, **data) -> ConfigDict:
    held = {"segments": data.pop("held_out", ("EXP_ROM", "EXP_free_face"))}
    return ConfigDict({"data": {"root": str(root), "held_out": held, "downsample": 32, **data}, "eval": {"max_samples": 0}})


@pytest.fixture
def capture(tiny_multiface) -> pathlib.Path:
    """The one that lacks a photograph; read only."""
    return sorted(tiny_multiface.glob("m--*"))[0]


@pytest.fixture
def copy(capture, tmp_path) -> pathlib.Path:
    """One to be damaged."""
    return shutil.copytree(capture, tmp_path / capture.name)


def test_a_sample_is_what_the_files_hold(capture):
    config = config_of(capture)
    assets = source.prepare(config)
    samples = source.source(config, "train", assets, image=True)
    found = recording.load(capture)
    krt = {camera.name: camera for camera in found.cameras}
    sample = samples[1]
    frame, camera = int(sample["frame"]), str(sample["camera_id"])
    assert [camera.name for camera in found.cameras][int(sample["camera"])] == camera
    raw = images.decode(found.texture(camera).read(frame))
    np.testing.assert_array_equal(sample["texture"], raw[::-1])
    np.testing.assert_array_equal(sample["average_texture"], images.decode(found.texture().read(frame))[::-1])
    np.testing.assert_array_equal(sample["image"], images.decode(found.image(camera).read(frame)))
    np.testing.assert_array_equal(sample["vertices"].tobytes(), found.vertices.read(frame))
    assert (raw == 0).any() and assets.arrays["texture_mean"].shape == raw.shape
    # Through world space by KRT and the head pose, in KRT's pixels, whose centres are at i + 0.5.
    pose = recording.pose(found.head_pose.read(frame))
    world = sample["vertices"] @ pose[:, :3].T + pose[:, 3]
    seen = krt[camera].extrinsics[:, :3] @ world.T + krt[camera].extrinsics[:, 3:]
    expected = (krt[camera].k @ seen)[:2] / seen[2] / config.data.downsample - 0.5
    point = sample["camera_rotation"] @ sample["vertices"].T + sample["camera_translation"][:, None]
    np.testing.assert_allclose(point[:2] / point[2] * sample["focal"][:, None] + sample["principal"][:, None], expected, atol=1e-3)
    centre = pose[:, :3].T @ (-krt[camera].extrinsics[:, :3].T @ krt[camera].extrinsics[:, 3] - pose[:, 3])
    np.testing.assert_allclose(sample["view_direction"], centre / np.linalg.norm(centre), atol=1e-6)


def test_the_texture_is_of_the_photograph(capture):
    """Colours read at the mesh's pixels agree with the photograph's where v runs up, not where it runs down."""
    config = config_of(capture, downsample=32)
    assets = source.prepare(config)
    sample = source.source(config, "train", assets, image=True)[0]
    size = sample["image"].shape[:2]
    camera = Cameras(sample["camera_rotation"], sample["camera_position"], sample["focal"], sample["principal"])
    triangle, weights = zbuffer.rasterize(zbuffer.project(sample["vertices"], camera), assets.arrays["faces"], *size)
    seen = triangle >= 0
    uv = np.einsum("pc,pcl->pl", weights[seen], assets.arrays["uvs"][assets.arrays["face_uvs"][triangle[seen]]])
    texels = len(sample["texture"])
    column, row = np.clip((uv * texels).astype(int), 0, texels - 1).T
    there = sample["texture"][row, column].any(-1)
    correlation = [
        np.corrcoef(texture[row, column][there].ravel(), sample["image"][seen][there].ravel())[0, 1]
        for texture in (sample["texture"], sample["texture"][::-1])
    ]
    assert correlation[0] > 0.9 > correlation[1]


def test_what_splits_hold(capture, tmp_path):
    config = config_of(capture)
    assets = source.prepare(config)
    cameras = assets.names["cameras"]
    train = source.source(config, "train", assets)
    assert source.eval_splits(config, assets) == ("unseen_segments",)
    held = source.source(config, "unseen_segments", assets)
    every = source.source(config, "predict", assets)
    assert len(every) == len(train) + len(held) == 6 * len(cameras)
    assert {row["segment"] for row in source.describe(stack(held), assets)} == {"EXP_free_face"}
    assert "texture" not in every[0] and "image" not in every[0]
    # The published lists: of cameras by use, and of beginnings of segments.
    listed = tmp_path / "cameras.json"
    listed.write_text(json.dumps({"full": {"train": cameras[:2], "test": cameras, "visual": []}}))
    config.data.split = str(listed)
    assert source.eval_splits(config, assets) == ("unseen_segments", "unseen_cameras")
    assert {row["camera"] for row in source.describe(stack(source.source(config, "unseen_cameras", assets)), assets)} == {cameras[2]}
    assert len(source.source(config, "train", assets)) == len(train) * 2 // 3
    segments = tmp_path / "segments.json"
    segments.write_text('{"segment": ["EXP_brows", "EXP_j"]}')
    config.data.held_out.segments = splits.test_segments(segments)
    rows = source.describe(stack(source.source(config, "unseen_segments", assets)), assets)
    assert {row["segment"] for row in rows} == {"EXP_brows", "EXP_jaw_open"}


def stack(samples):
    read = [sample for sample in map(samples.__getitem__, range(len(samples))) if sample is not None]
    return {name: np.stack([sample[name] for sample in read]) for name in read[0]}


def test_a_missing_photograph_is_passed_over_where_one_is_needed(capture):
    config = config_of(capture)
    assets = source.prepare(config)
    with_images, without = (source.source(config, "train", assets, image=image) for image in (True, False))
    assert with_images.counts["missing"] == 1 and without.counts["missing"] == 0
    (gap,) = [i for i in range(len(with_images)) if not with_images.has(i)]
    assert with_images[gap] is None and without[gap] is not None


def test_another_process_reads_the_same(capture):
    config = config_of(capture)
    samples = source.source(config, "train", source.prepare(config))
    there, here = pickle.loads(pickle.dumps(samples.part(2))).read(2), samples[2]
    assert all(np.array_equal(there[name], here[name]) for name in here)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("frame_list.txt", b"EXP_a 000001\nEXP_b 000001\n", "frame 1 is there twice, in EXP_a and in EXP_b"),
        ("frame_list.txt", b"EXP_a one\n", "line 1: must be 'SEGMENT FRAME'"),
        ("frame_list.txt", b"EXP_a 99999999999\n", "a frame must be 2147483647 at most"),
        ("KRT", b"401168\n1 0\n", "must have 8 lines per camera"),
        ("vert_mean.bin", b"12345", "rows of three float32"),
        ("tex_var.txt", b"-1", "must hold a variance"),
        ("vert_var.txt", b"0", "the variance is 0"),
        ("tex_mean.png", b"\x89PNG\r\n", "cannot be decoded"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(copy, file, content, message):
    (copy / file).write_bytes(content)
    with pytest.raises(ValueError, match=message) as e:
        source.prepare(config_of(copy))
    assert str(copy / file) in str(e.value) and "\n" not in str(e.value)


def test_what_a_config_names_must_be_there(tiny_multiface, capture):
    for config, message in (
        (config_of(capture, cameras=("401169",)), "config.data.cameras: no capture has 401169"),
        (config_of(capture, frames=(7,)), "has no frame 7"),
        (config_of(capture, held_out=("EXP",)), "leaves none of its 6 frames"),
        (config_of(tiny_multiface), "has 2 captures"),
        (config_of(capture / "images"), "no capture of multiface"),
        (config_of(""), "it is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            source.prepare(config)
    with pytest.raises(ValueError, match="the nearest are train"):
        source.source(config_of(capture), "trian", source.prepare(config_of(capture)))


def test_damaged_samples_are_counted_and_too_many_end_it(copy):
    for path in (copy / layout.TEXTURES).glob("*/average/*.png"):
        path.write_bytes(path.read_bytes()[:200])
    config = config_of(copy)
    samples = source.source(config, "train", source.prepare(config))
    assert samples[0] is None and samples.counts["unreadable"] == 1
    with pytest.raises(UnreadableData, match="average/001000.png"):
        for i in range(300):
            samples.note(i % len(samples), str(samples.read(i % len(samples))))


def test_meshes_that_do_not_fit_are_told(copy):
    mesh = next((copy / layout.MESHES).glob("EXP_neutral_peak/*.bin"))
    for data, message in ((mesh.read_bytes()[:-12], "must have 7921 vertices"), (b"\xff" * 36, "finite"), (b"", "rows of three")):
        mesh.write_bytes(data)
        config = config_of(copy)
        assert message in source.source(config, "train", source.prepare(config)).read(0)


def test_a_packed_copy_gives_the_same_samples(capture, tmp_path):
    out = tmp_path / "packed"
    report = packed.pack(capture, out, image=True, downsample=32)
    assert (report.frames, report.views, report.unreadable) == (6, 18, [])
    sources = []
    for root in (capture, out):
        config = config_of(root)
        assets = source.prepare(config)
        sources.append(source.source(config, "train", assets, image=True))
    plain, copy_ = sources
    assert plain.counts == copy_.counts and plain.counts["missing"] == 1
    for i in range(len(plain)):
        assert plain.has(i) == copy_.has(i)
        if plain.has(i):
            here, there = plain[i], pickle.loads(pickle.dumps(copy_.part(2))).read(i)
            assert here.keys() == there.keys()
            for name in here:
                np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    assert len(pickle.dumps(copy_.part(2))) < 50_000  # the arrays are mapped anew
    with pytest.raises(ValueError, match="packed with photographs of --downsample=32"):
        config = config_of(out, downsample=16)
        source.source(config, "train", source.prepare(config), image=True)
    with pytest.raises(ValueError, match="another capture was packed there"):
        packed.pack(capture, out)
    with pytest.raises(ValueError, match="nothing that ava multiface pack wrote"):
        packed.pack(capture, capture)


def test_packing_goes_on_where_it_was_stopped(copy, tmp_path, monkeypatch):
    out, decode = tmp_path / "packed", packed.Files.texture
    first, last = (next((copy / layout.TEXTURES).glob(f"{segment}/4*/*.png")) for segment in ("EXP_neutral_peak", "EXP_free_face"))
    for bad in (first, last):  # one in a frame that is packed before the stop, one after it
        bad.write_bytes(b"no picture")
    read = []

    def stops(self, number, camera):
        read.append(number)
        if len(read) == 8:  # in the third of six frames
            raise KeyboardInterrupt
        return decode(self, number, camera)

    monkeypatch.setattr(packed.Files, "texture", stops)
    with pytest.raises(KeyboardInterrupt):
        packed.pack(copy, out)
    assert not packed.is_one(out)
    monkeypatch.undo()
    report = packed.pack(copy, out)
    assert report.views == 16 and len(report.unreadable) == 2
    assert all(str(bad) in " ".join(report.unreadable) for bad in (first, last))
    config = config_of(out)
    assert source.source(config, "train", source.prepare(config)).counts["missing"] == 1
    (out / "packed" / "texture.npy").write_bytes(b"")
    with pytest.raises(ValueError, match="texture.npy: cannot be read"):
        source.source(config, "train", source.prepare(config))
