"""Captures of a run, by name; what is held out of training."""

import numpy as np
import pytest

from ava_jax.captures import ava256, capture_set, splits

NAMES = ["20260101--0900--SYN001", "20260102--0901--SYN002"]


@pytest.fixture(scope="module")
def captures(tiny_capture):
    return capture_set.load(str(tiny_capture))


def test_captures_are_those_of_the_layout_in_order(captures, tiny_capture):
    assert [capture.name for capture in captures] == list(captures.by_name) == NAMES and len(captures) == 2
    alone = ava256.load(ava256.find(str(tiny_capture), "")[1])
    assert captures.captures[1].cameras == alone.cameras and (captures.captures[1].frames == alone.frames).all()
    assert captures.root == tiny_capture and captures.topology == tiny_capture / "face_topology.obj"
    assert captures.captures[0].subject == "SYN001" and captures.captures[0].image_size(16) == (256, 166)


def test_some_captures_cameras_and_another_topology(tiny_capture, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260102,SYN002,0901\n")
    found = capture_set.load(str(tiny_capture), str(tmp_path / "ids.csv"), cameras=["400015"], topology=str(tmp_path / "other.obj"))
    assert list(found.by_name) == NAMES[1:] and found.captures[0].cameras == ("400015",) and found.topology == tmp_path / "other.obj"


def test_a_capture_is_found_by_folder_and_by_subject(captures):
    assert captures.find("--identity", NAMES[1]) is captures.find("--identity", "SYN002") is captures.captures[1]
    with pytest.raises(ValueError, match=r"--driver=SYN02: there is none of that name; of 2, the nearest are SYN002, SYN001"):
        captures.find("--driver", "SYN02")


def test_a_rule_splits_cameras_and_frames(captures):
    capture = captures.captures[1]
    count, first = len(capture.frames), capture.cameras[0]
    rule = splits.HeldOut(segments=(str(capture.segments[0]),), last_frames=1, cameras=(first, "absent"), camera_frames=(0, 2, 99))
    frames = np.flatnonzero((capture.segments == capture.segments[0]) | (np.arange(count) == count - 1))
    train, unseen, camera = (rule.select(capture, split) for split in (splits.TRAIN, splits.UNSEEN_FRAMES, splits.UNSEEN_CAMERAS))
    assert unseen.frames.tolist() == frames.tolist() and train.frames.tolist() == np.setdiff1d(np.arange(count), frames).tolist()
    assert train.cameras.tolist() == unseen.cameras.tolist() == [1, 2] and camera.cameras.tolist() == [0]
    assert camera.frames.tolist() == [0, 2] and camera.count == 2
    nothing = splits.HeldOut(last_frames=1000)
    assert nothing.select(capture, splits.TRAIN).count == 0 and splits.HeldOut().select(capture, splits.UNSEEN_FRAMES).count == 0
