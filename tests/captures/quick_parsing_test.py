"""What is parsed or computed in one go for a full data set is what it is one by one."""

import json

import numpy as np
import pytest
from calibration_files_test import entry, stored_k, stored_t

from ava_jax.captures import ava256, calibration, projection, tables

NAMES = ("seg_id", "frame_id")
_PLAIN = [
    "seg_id,frame_id\nA,1\nB,2\n", "seg_id,frame_id\nA,1\nB,2", "frame_id,seg_id\n1,A\n2,B\n", "seg_id,frame_id\nA;B!,007\n",
]  # fmt: skip
_OTHERS = [
    "", "\n", "seg_id,frame_id\n", "seg_id,frame_id", "seg_id,frame_id\nA\n1,2,3\n", "seg_id,frame_id\nA,1,\n", "seg_id,frame_id\nA,\n",
    "seg_id,frame_id\n\nA,1\n", "seg_id,frame_id\r\nA,1\r\n", 'seg_id,frame_id\n"A",1\n', "seg_id, frame_id\nA, 1\n", "a,b\nA,1\n",
    "seg_id,frame_id,more\nA,1,2\n", "seg_id;frame_id\nA;1\n", "seg_id,frame_id\nÄ,1\n", "seg_id,frame_id\nA,1\n\n", "seg_id,seg_id\nA,B\n",
    "seg_id,frame_id\nA\x1c,1\n", "seg_id,frame_id\nA,1\n,\n", "\nseg_id,frame_id\nA,1\n",
]  # fmt: skip


@pytest.mark.parametrize("text", _PLAIN)
def test_a_plain_list_is_read_as_the_csv_module_reads_it(tmp_path, monkeypatch, text):
    path = tmp_path / "frame_list.csv"
    path.write_text(text)
    assert tables._plain_columns(text, NAMES) is not None
    quick = tables.columns(path, NAMES)
    monkeypatch.setattr(tables, "_plain_columns", lambda *args: None)
    assert quick == tables.columns(path, NAMES) and len(quick[0]) >= 1


@pytest.mark.parametrize("text", _OTHERS)
def test_any_other_list_is_left_to_the_csv_module(text):
    assert tables._plain_columns(text, NAMES) is None


def rotations(count: int) -> np.ndarray:
    found = np.linalg.qr(np.random.default_rng(1).normal(size=(count, 3, 3)))[0]
    return found * np.sign(np.linalg.det(found))[:, None, None]


def entries(count: int = 40) -> dict:
    rng = np.random.default_rng(0)
    made = [
        entry(cameraId=str(400000 + i), K=stored_k(k00=7000.0 + i, k20=rng.normal()), T=stored_t(rotation, rng.normal(size=3) * 1000))
        for i, rotation in enumerate(rotations(count))
    ]
    return {one["cameraId"]: one for one in made}


def one_by_one(path, names, found) -> list[calibration.Camera]:
    return [calibration.camera(path, name, found[name]) for name in names]


def equal(cameras: calibration.Cameras, each: list[calibration.Camera]) -> bool:
    return all(np.array_equal(column, np.stack([camera[i] for camera in each])) for i, column in enumerate(cameras))


def test_cameras_are_those_of_one_by_one(tmp_path, monkeypatch):
    found = json.loads(json.dumps(entries()))
    names = sorted(found)[3:]
    calls, camera = [], calibration.camera
    monkeypatch.setattr(calibration, "camera", lambda *args, **kwargs: calls.append(args) or camera(*args, **kwargs))
    quick = calibration.cameras(tmp_path, names, found)
    assert not calls and equal(quick, one_by_one(tmp_path, names, found))
    assert quick.focal.shape == (37, 2) and quick.rotation.flags.c_contiguous and not quick.distorted.any()


_ODD = {
    "distortion": {"distortion": [0.0, 0.01, 0.0, 0.0]},
    "T of three columns": {"T": stored_t()[:, :3]},
    "T off by a little": {"T": stored_t(rotations(1)[0] + 3e-4)},
    "K with a small skew": {"K": stored_k(k10=0.01)},
    "K rounded": {"K": stored_k(k01=1e-9)},
}
_WRONG = {
    "mirrored": {"T": stored_t(-rotations(1)[0])},
    "not transposed": {"K": stored_k().T},
    "not finite": {"T": stored_t(translation=[0, np.nan, 0])},
    "focal negative": {"K": stored_k(k00=-1.0)},
    "words": {"K": "focal"},
    "distortion of words": {"distortion": ["a"]},
    "not orthonormal": {"T": stored_t(2 * rotations(1)[0])},
}


@pytest.mark.parametrize("kind", _ODD)
def test_odd_cameras_are_looked_at_one_by_one(tmp_path, kind):
    found = entries() | {"400007": entry(cameraId="400007", **_ODD[kind])}
    assert calibration._plainly_sound(list(found.values())) is None
    cameras = calibration.cameras(tmp_path, sorted(found), found)
    assert equal(cameras, one_by_one(tmp_path, sorted(found), found))
    assert cameras.distorted.tolist() == [name == "400007" and kind == "distortion" for name in sorted(found)]


@pytest.mark.parametrize("kind", _WRONG)
def test_wrong_cameras_are_named_as_one_by_one(tmp_path, kind):
    found = entries() | {"400007": entry(cameraId="400007", **_WRONG[kind])}
    with pytest.raises(ValueError, match="camera 400007") as one:
        one_by_one(tmp_path, sorted(found), found)
    with pytest.raises(ValueError, match="camera 400007") as all_of_them:
        calibration.cameras(tmp_path, sorted(found), found)
    assert str(one.value) == str(all_of_them.value)


@pytest.mark.parametrize("count", [1, 16, 17, 40])
def test_the_part_inside_is_that_of_each_camera_alone(tiny_capture, count):
    capture = ava256.load(next(tiny_capture.glob("*SYN001")))
    points = np.random.default_rng(0).normal(size=(300, 3)) * 150
    rng = np.random.default_rng(2)
    which = rng.integers(0, len(capture.cameras), count)
    rotation, translation = capture.rotation[which], capture.translation[which] + rng.normal(size=(count, 3)) * 300
    seen, span = projection.inside(points, capture, rotation, translation, which)
    height, width = capture.sensor
    for i in range(count):
        local = points @ rotation[i].T + translation[i]
        column, row = (local[:, :2] / local[:, 2:] * capture.focal[which[i]] + capture.principal[which[i]]).T
        there = (local[:, 2] > 0) & (column >= -0.5) & (column <= width - 0.5) & (row >= -0.5) & (row <= height - 0.5)
        assert seen[i] == there.mean()
        assert span[i] == pytest.approx(np.ptp(row[there]) / height if there.any() else 0.0, rel=1e-9)
    assert 0 < seen.mean() < 1
