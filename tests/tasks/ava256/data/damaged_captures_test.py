"""Captures with files that are missing, damaged or of something else: one line, or passed over and counted."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from capture_splits import decoders, make_config, prepare, read_split, views

from ava_jax.core.sampling import Sampling, UnreadableData
from ava_jax.data import archive, mesh_files, pipeline


def test_a_truncated_zip_is_an_error_at_once(own):
    path = decoders(own)[1] / "image" / "cam401168.zip"
    path.write_bytes(path.read_bytes()[:-40])
    config = make_config(own)
    with pytest.raises(ValueError, match=r"cam401168\.zip: not a whole zip"):
        read_split(config, "train", prepare(config))


def test_missing_segmentation_matters_to_evaluation_alone(own):
    shutil.rmtree(decoders(own)[0] / "segmentation_parts")
    config = make_config(own)
    assets = prepare(config)
    assert read_split(config, "train", assets)[0] is not None
    with pytest.raises(ValueError, match=r"segmentation_parts.*no such file"):
        read_split(config, "unseen_frames", assets)


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
    "calibration without a rotation": (
        _spoil_calibration(json.dumps({"KRT": [{"cameraId": "401168", "K": np.eye(3).tolist(), "T": np.ones((4, 4)).tolist()}]})),
        "must begin with a rotation",
    ),
    "no topology": (lambda root: (root / "face_topology.obj").unlink(), r"face_topology\.obj: cannot be read"),
    "a topology of another mesh": (
        lambda root: (root / "face_topology.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nf 1/1 2/2 3/2\n"),
        "of 7921 vertices",
    ),
    "statistics that are missing": (_remove("kinematic_tracking/registration_vertices_variance.txt"), r"variance\.txt: cannot be read"),
}  # fmt: skip


def test_a_frame_list_of_another_capture_is_an_error_at_once(own):
    (decoders(own)[0] / "frame_list.csv").write_text("seg_id,frame_id\nEXP_neutral_peak,7\nEXP_jaw_open,8\n")
    config = make_config(own)
    with pytest.raises(ValueError, match="SYN001.*frame_list.csv does not match the zips: of the 6 images .* 0 are there"):
        read_split(config, "train", prepare(config))


@pytest.mark.parametrize("name", _SPOILERS)
def test_what_is_wrong_is_said_in_one_line(own, name):
    spoil, message = _SPOILERS[name]
    spoil(own)
    with pytest.raises(ValueError, match=message) as error:
        prepare(make_config(own))
    assert "\n" not in str(error.value)


def test_wrong_settings_are_said_in_one_line(tiny_capture):
    with pytest.raises(ValueError, match="config.data.root must name"):
        prepare(make_config(""))
    with pytest.raises(ValueError, match="held_out.cameras: no capture has 12345"):
        prepare(make_config(tiny_capture, **{"data.held_out.cameras": ("12345",)}))
    with pytest.raises(ValueError, match="SYN001: no camera to use"):
        prepare(make_config(tiny_capture, **{"data.cameras": ("400015",)}))
    config = make_config(tiny_capture)
    with pytest.raises(ValueError, match="split must be"):
        read_split(config, "validation", prepare(config))


def test_a_listed_capture_that_is_absent_is_named(tiny_capture, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260102,NOBODY,0901\n")
    with pytest.raises(ValueError, match="20260102--0901--NOBODY: no capture there"):
        prepare(make_config(tiny_capture, **{"data.ids": str(tmp_path / "ids.csv")}))


def _rewrite(path, change):
    """Rewrites a zip's members: `change` takes (position, content) and gives the new content."""
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    archive.write(path, [(name, change(i, content)) for i, (name, content) in enumerate(members)])


_BROKEN = {
    "an image": ("image/cam401168.zip", lambda data: data[:300], 1),
    "an image of another kind": ("image/cam401168.zip", lambda data: b"<html>404</html>", 1),
    "a texture": ("uv_image/color.zip", lambda data: data[:300], 3),
    "a mesh": ("kinematic_tracking/registration_vertices.zip", lambda data: data[:-40], 3),
    "a mesh of another size": ("kinematic_tracking/registration_vertices.zip", lambda data: mesh_files.write_vertices(np.zeros((5, 3))), 3),
    "a mesh with NaN": ("kinematic_tracking/registration_vertices.zip", lambda data: data[:-4] + b"\xff\xff\xff\xff", 3),
    "a head pose": ("head_pose/head_pose.zip", lambda data: b"1 0 0 0 0 1 0 0", 3),
    "a head pose with NaN": ("head_pose/head_pose.zip", lambda data: data.replace(data.split()[0], b"nan", 1), 3),
}  # fmt: skip


@pytest.mark.parametrize("kind", _BROKEN)
def test_what_does_not_decode_is_named_counted_and_passed_over(own, kind, caplog):
    name, spoil, lost = _BROKEN[kind]
    path = decoders(own)[1] / name
    _rewrite(path, lambda i, data: spoil(data) if i == 2 else data)
    config = make_config(own)
    samples = read_split(config, "train", prepare(config))
    with caplog.at_level("WARNING"):
        found, again = views(samples), views(samples)
    assert len(found) == 29 - lost and found == again and not [view for view in found if view[0] == 1 and view[2] == 2006 and lost == 3]
    assert samples.counts == {"listed": 30, "missing": 1, "unreadable": lost}
    named = [r.getMessage() for r in caplog.records if r.getMessage().startswith(f"Passed over: {path}, frame 2006: ")]
    assert len(named) == lost  # once a sample, not every epoch


@pytest.mark.parametrize("most, stops", [(0.05, True), (0.2, False)])
def test_past_a_share_of_the_data_damage_stops_the_run(own, most, stops):
    for camera in ("400015", "401168"):
        _rewrite(decoders(own)[1] / f"image/cam{camera}.zip", lambda i, data: data[:300] if i < 2 else data)  # 4 of 29
    config = make_config(own, **{"data.max_unreadable": most})
    samples = read_split(config, "train", prepare(config))
    batches = pipeline.iterator(samples, Sampling(5, per_visit=2, window=3), seed=0, threads=2)
    if not stops:
        assert sum(len(next(batches)["image"]) for _ in range(60)) == 300
        return
    with pytest.raises(UnreadableData) as error:
        for _ in range(60):
            next(batches)
    message = str(error.value)
    assert re.match(r"data: \d+ of the 2\d\d samples read cannot be decoded, more than the share of 0\.05 .*max_unreadable", message)
    assert message.count(".zip, frame 200") == 3 and "\n" not in message


def test_a_damaged_neutral_face_is_named(own):
    _rewrite(decoders(own)[0] / "uv_image/color.zip", lambda i, data: data[:300] if i == 0 else data)
    config = make_config(own)
    samples = read_split(config, "train", prepare(config))
    assert {identity for identity, _, _ in views(samples)} == {1} and samples.counts["unreadable"] == 14
