"""Packed captures read through the same door as zips: the same samples, order, positions; crops whose calibrations follow."""

import pickle
import runpy
import shutil
from pathlib import Path

import grain
import numpy as np
import pytest

from ava_jax.captures import capture_set, projection
from ava_jax.captures.ava256 import SENSOR
from ava_jax.captures.packed import crop, index, pack, plan, records, shards
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.packed.plan import Settings
from ava_jax.core import binding
from ava_jax.data import images, pipeline
from ava_jax.data.process_iterator import ProcessIterator
from ava_jax.tasks.base import load_task

_CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "ava256.py"
_SMALL = 20_000  # bytes: several shards of a kind


def _task(root, **changes):
    config = runpy.run_path(str(_CONFIGS))["get_config"]("tiny")
    config.data.root, config.data.downsample, config.data.max_unreadable = str(root), 64, 1.0
    config.update_from_flattened_dict(changes)
    return load_task(config)


@pytest.fixture(scope="module")
def packed(tiny_capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "set"
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    return out


@pytest.fixture(scope="module")
def cropped(tiny_capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("cropped") / "set"
    found = pack.pack(str(tiny_capture), out, Settings(crop="head", quality=100, margin=0.0))
    assert found.sensor == (56 * 64, 40 * 64) and not found.unreadable
    return out


def _equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one[name].dtype == other[name].dtype


@pytest.mark.parametrize("how", [{"threads": 2}, {"threads": 0, "readers": 2}], ids=["threads", "processes"])
def test_batches_and_positions_are_those_of_zips(tiny_capture, packed, how):
    """Resumed in the middle with the other's position, too: a run may go from zips to packed and back."""
    batches, states, counts = [], [], []
    for root in (tiny_capture, packed):
        task = _task(root)
        assets = task.prepare()
        source = task.source("train", assets)
        iterator = pipeline.iterator(source, task.sampling("train"), seed=3, **how)
        assert isinstance(iterator, ProcessIterator) == ("readers" in how)
        first = [next(iterator) for _ in range(6)]
        states.append(iterator.get_state())
        if len(states) == 2:
            iterator.set_state(states[0])
        batches.append(first + [next(iterator) for _ in range(6)])
        counts.append(source.counts)
    assert states[0] == states[1] and counts[0] == counts[1] and counts[0]["missing"] > 0
    for one, other in zip(*batches, strict=True):
        _equal(one, other)


def test_scored_and_predicted_samples_and_what_a_run_is_bound_to(tiny_capture, packed):
    tasks = [_task(root) for root in (tiny_capture, packed)]
    assets = [task.prepare() for task in tasks]
    binding.check(*assets, Path("RUN"))
    assert sorted(tasks[0].eval_splits(assets[0])) == sorted(tasks[1].eval_splits(assets[1]))
    for split in (*tasks[0].eval_splits(assets[0]), "predict"):
        one, other = (task.source(split, found) for task, found in zip(tasks, assets))
        assert len(one) == len(other) > 0
        for i in range(len(one)):
            assert (one[i] is None) == (other[i] is None)
            if one[i] is not None:
                _equal(one[i], other[i])


def test_every_record_is_where_the_index_says(tiny_capture, packed):
    zips, found = capture_set.load(str(tiny_capture)), capture_set.load(str(packed))
    assert sum(len(list((c.decoder.parent / index.RECORDS).iterdir())) for c in found) > 8
    read = 0
    for a, b in zip(zips, found, strict=True):
        assert a.cameras == b.cameras and a.sensor == b.sensor
        for camera in a.cameras:
            for x, y in ((a.image(camera), b.image(camera)), (a.segmentation(camera), b.segmentation(camera)), (a.texture, b.texture)):
                for number in [*a.frames.tolist(), 999_999]:
                    content = zips.archives.read(x, number)
                    assert content == found.archives.read(y, number)
                    assert found.archives.has(y, number) == (content is not None)
                    read += content is not None
    assert read > 50
    again = pickle.loads(pickle.dumps(found.archives))
    texture = zips.archives.read(a.texture, int(a.frames[0]))
    assert texture is not None and again.read(b.texture, int(b.frames[0])) == texture
    assert len(pickle.dumps(found.archives)) < 1000


def test_open_shards_are_bounded(packed):
    found = capture_set.load(str(packed))
    few = RecordArchives(open_shards=2)
    for capture in found:
        for camera in capture.cameras:
            for number in capture.frames.tolist():
                assert few.read(capture.image(camera), number) == found.archives.read(capture.image(camera), number)
                assert len(few._shards) <= 2


def test_packed_again_from_packed_is_the_same(packed, tmp_path):
    """And a set of which part is packed and part is zips reads whole."""
    pack.pack(str(packed), tmp_path / "again", Settings(), shard_bytes=1 << 30)
    one, other = capture_set.load(str(packed)), capture_set.load(str(tmp_path / "again"))
    for a, b in zip(one, other, strict=True):
        for camera in a.cameras:
            for number in a.frames.tolist():
                assert one.archives.read(a.image(camera), number) == other.archives.read(b.image(camera), number)


def test_zips_and_packed_captures_side_by_side(tiny_capture, packed, tmp_path):
    first, second = sorted(path.name for path in tiny_capture.glob("*--*"))
    shutil.copytree(tiny_capture / first, tmp_path / "both" / first)
    shutil.copytree(packed / second, tmp_path / "both" / second)
    shutil.copy(tiny_capture / "face_topology.obj", tmp_path / "both")
    one, other = (_task(root) for root in (tiny_capture, tmp_path / "both"))
    a, b = one.source("train", one.prepare()), other.source("train", other.prepare())
    for i in range(len(a)):
        if a.has(i):
            _equal(a[i], b[i])


def test_plain_grain_reads_the_shards(tiny_capture, packed):
    shards = sorted(map(str, packed.glob("*/records/image-*.arrayrecord")))
    dataset = grain.MapDataset.source(grain.sources.ArrayRecordDataSource(shards)).map(records.decode)
    zips = capture_set.load(str(tiny_capture))
    seen = set()
    for record in (dataset[i] for i in range(len(dataset))):
        path = zips.by_name[record.capture].image(record.camera)
        assert record.data == zips.archives.read(path, record.frame) and images.decode(record.data).shape == (64, 41, 3)
        seen.add((record.capture, record.camera, record.frame))
    listed = [
        (c.name, camera, int(f)) for c in zips for camera in c.cameras for f in c.frames if zips.archives.has(c.image(camera), int(f))
    ]
    assert seen == set(listed) and len(dataset) == len(listed)


def test_a_record_says_what_is_wrong_with_it():
    record = records.Record("20260101--0900--SYN001", "image/cam400029", 1003, b"picture")
    content = records.encode(record)
    assert records.decode(content) == record and record.camera == "400029"
    assert records.Record("a", "head_pose/head_pose", 0, b"").camera == ""
    with pytest.raises(ValueError, match="must begin with AVR1"):
        records.decode(b"PK\x03\x04" + content)
    for at in (5, 9, 20, len(content) - 1):
        with pytest.raises(ValueError, match="damaged"):
            records.decode(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_crops_show_the_same_pixels_and_their_cameras_the_same_rays(tiny_capture, cropped):
    """A pixel of a crop is a pixel of the whole image, with the ray that it had; labels are exact, colours as AVIF keeps them."""
    whole, part = (_task(root, **{"data.held_out.segments": ()}) for root in (tiny_capture, cropped))
    one, other = (task.source("train", task.prepare()) for task in (whole, part))
    assert len(one) == len(other)
    moved = set()
    for i in range(len(one)):
        assert one.has(i) == other.has(i)
        if not one.has(i):
            continue
        a, b = one[i], other[i]
        left, top = np.rint(a["principal"] - b["principal"]).astype(int).tolist()
        np.testing.assert_allclose(a["principal"] - b["principal"], [left, top], atol=1e-5)
        assert b["image"].shape == (56, 40, 3) and 0 <= left <= 1 and 0 <= top <= 8
        shown = np.ascontiguousarray(a["image"][top : top + 56, left : left + 40])
        np.testing.assert_array_equal(images.decode(images.encode(shown, "avif", quality=100, speed=shards.SPEED)), b["image"])
        assert np.abs(shown.astype(int) - b["image"]).mean() < 3.0  # quality 100 still halves the colours' resolution
        for name in a.keys() - {"image", "principal"}:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)
        moved.add((int(a["camera_id"]), left, top))
    assert len({(left, top) for _, left, top in moved}) > 1  # each camera its own


def test_labels_are_cropped_exactly(tiny_capture, cropped):
    zips, found = capture_set.load(str(tiny_capture)), capture_set.load(str(cropped))
    for a, b in zip(zips, found, strict=True):
        assert b.cropped and b.sensor == (56 * 64, 40 * 64)
        for i, camera in enumerate(a.cameras):
            left, top = (int(x) for x in np.rint((a.principal[i] - b.principal[i]) / 64))
            for number in a.frames.tolist():
                labels = images.decode_labels(zips.archives.read(a.segmentation(camera), number))
                expected = labels[top : top + 56, left : left + 40]
                np.testing.assert_array_equal(images.decode_labels(found.archives.read(b.segmentation(camera), number)), expected)


def test_the_whole_head_is_in_its_crop(cropped):
    found = capture_set.load(str(cropped))
    assert projection.require(found.archives, found.captures) == []
    for capture in found:
        boxes = crop.boxes(found.archives, capture)
        assert (boxes[:, :2] > 0).all() and (boxes[:, 2:] < np.array(capture.sensor[::-1]) - 1).all()  # none touches the edge


def test_a_run_begun_on_whole_images_does_not_go_on_with_crops(tiny_capture, cropped):
    one, other = (_task(root).prepare() for root in (tiny_capture, cropped))
    with pytest.raises(ValueError, match=r"RUN: the run goes on with the data that it was begun with alone; sensor differs"):
        binding.check(one, other, Path("RUN"))


def test_predictions_without_photographs_are_of_the_crops_size(cropped):
    task = _task(cropped)
    assert task.captures.image_size(64) == (56, 40)


def test_resized_images_are_those_that_the_loader_would_make(tiny_capture, tmp_path):
    out = tmp_path / "half"
    pack.pack(str(tiny_capture), out, Settings(downsample=128, quality=100))
    zips, found = capture_set.load(str(tiny_capture)), capture_set.load(str(out))
    capture, other = zips.captures[0], found.captures[0]
    assert other.sensor == capture.sensor and (other.principal == capture.principal).all() and not other.cropped
    number, camera = int(capture.frames[0]), capture.cameras[0]
    expected = images.decode(zips.archives.read(capture.image(camera), number), (32, 20), whole=capture.sensor)
    small = images.decode(found.archives.read(other.image(camera), number))
    np.testing.assert_array_equal(small, images.decode(images.encode(expected, "avif", quality=100, speed=shards.SPEED)))


def test_sizes_of_crops():
    """One size for all, in eights, as far as there is image; corners that keep a box in the middle, or at the edge."""
    found = {"a": {"1": np.array([400.0, 400.0, 799.0, 1199.0])}, "b": {"1": np.array([0.0, 0.0, 399.0, 399.0])}}
    size = crop.decide(found, 4, (500, 333), 0.1)
    assert size == (248, 128)  # 201 + 2 x 20.1 rows and 101 + 2 x 10.1 columns: 243 and 123 whole ones
    assert crop.corners(found["a"], ["1"], 4, (500, 333), size, 0.1) == {"1": (86, 76)}
    assert crop.corners(found["b"], ["1"], 4, (500, 333), size, 0.1) == {"1": (0, 0)}
    assert crop.decide({"a": {"1": np.array([0.0, 0.0, 1331.0, 1999.0])}}, 4, (500, 333), 0.1) == (500, 333)
    with pytest.raises(ValueError, match="camera 1 needs a crop of 243 x 123"):
        crop.corners(found["a"], ["1"], 4, (500, 333), (200, 200), 0.1)


def test_heights():
    assert [plan.downsample_of(height, SENSOR) for height in (4096, 2048, 1024, 512, 64)] == [1, 2, 4, 8, 64]
    assert plan.downsample_of(128, (256, 166)) == 2, "of an own rig"
    with pytest.raises(ValueError, match="--height must be the sensor's 4096 over a whole number; got 500, the nearest are 455 or 512"):
        plan.downsample_of(500, SENSOR)
