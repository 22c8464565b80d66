"""The camera in front of a face, and the neutral frame: found without decoding an image."""

import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from ava_jax.captures import capture_set, reading
from ava_jax.captures.front import front_camera
from ava_jax.core import cameras as geometry
from ava_jax.data import archive, images, mesh_files


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy of the captures that a test may damage."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


@pytest.fixture(autouse=True)
def nothing_is_decoded(monkeypatch):
    for module, name in ((images, "decode"), (images, "decode_labels"), (mesh_files, "read_vertices")):
        monkeypatch.setattr(module, name, lambda *args: pytest.fail("an image or a mesh was decoded"))


def load(root):
    return capture_set.load(str(root))


def change(path, member_of):
    """Rewrites a zip: `member_of(i, content)` gives each member's content, or None to leave it out."""
    with zipfile.ZipFile(path) as z:
        members = [(name, member_of(i, z.read(name))) for i, name in enumerate(z.namelist())]
    archive.write(path, [(name, content) for name, content in members if content is not None])


def frontality_by_frame(captures, capture):
    """Of each camera at each frame, from the files themselves: f64 [C, N]."""
    with zipfile.ZipFile(capture.head_pose) as z:
        poses = [np.array(z.read(name).split(), float).reshape(3, 4) for name in sorted(z.namelist())]
    return np.stack([geometry.frontality(geometry.head_to_camera(capture.rotation, capture.translation, p)[1]) for p in poses], axis=1)


def test_it_is_the_one_that_the_first_images_of_all_cameras_give(tiny_capture):
    """By each camera's own first image, as decoding them would find it; from any subset of the cameras."""
    captures = load(tiny_capture)
    for capture in captures:
        there = reading.availability(captures.archives, capture, range(3), segmentation=False, threads=1)
        first = there.argmax(1)
        own = frontality_by_frame(captures, capture)[np.arange(3), first]
        for subset in ([0, 1, 2], [2, 1, 0], [0, 1], [1, 2], [0, 2], [1]):
            expected = capture.cameras[max(subset, key=lambda i: own[i])]
            assert front_camera(captures.archives, capture, [capture.cameras[i] for i in subset]) == expected


def test_missing_and_unreadable_poses_are_passed_over(own):
    expected = front_camera(load(own).archives, load(own).captures[0], load(own).captures[0].cameras)
    path = load(own).captures[0].head_pose
    change(path, lambda i, pose: None if i == 0 else b"1 0 0" if i == 1 else pose)
    captures = load(own)
    assert front_camera(captures.archives, captures.captures[0], captures.captures[0].cameras) == expected
    change(path, lambda i, pose: b"1 0 0")
    captures = load(own)
    with pytest.raises(ValueError, match="SYN001.*no camera has an image of a frame whose head pose can be read"):
        front_camera(captures.archives, captures.captures[0], captures.captures[0].cameras)


def test_a_camera_without_images_is_not_chosen(own):
    captures = load(own)
    capture = captures.captures[1]
    order = np.argsort(-frontality_by_frame(captures, capture)[:, 0])
    assert front_camera(captures.archives, capture, capture.cameras) == capture.cameras[order[0]]
    change(capture.image(capture.cameras[order[0]]), lambda i, image: None)
    again = load(own)
    assert front_camera(again.archives, again.captures[1], again.captures[1].cameras) == capture.cameras[order[1]]


def test_the_neutral_frame_is_the_first_complete_one_of_its_segment(own):
    captures = load(own)
    capture = captures.captures[0]
    assert reading.neutral_frame(captures.archives, capture) == capture.frames[capture.segments == "EXP_neutral_peak"][0]
    text = (capture.decoder / "frame_list.csv").read_text().replace("EXP_jaw_open", "EXP_neutral_peak")
    (capture.decoder / "frame_list.csv").write_text(text)
    change(capture.texture, lambda i, texture: None if i == 0 else texture)
    captures = load(own)
    assert reading.neutral_frame(captures.archives, captures.captures[0]) == 1003
    change(capture.vertices, lambda i, mesh: None)
    captures = load(own)
    with pytest.raises(ValueError, match="SYN001.*no frame of EXP_neutral_peak has both vertices and texture"):
        reading.neutral_frame(captures.archives, captures.captures[0])
