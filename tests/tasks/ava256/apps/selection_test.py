"""What a user names on the command line, found in captures on disk."""

import pathlib
import runpy

import numpy as np
import pytest

from ava_jax.core import cameras as geometry
from ava_jax.tasks.ava256.apps import selection
from ava_jax.tasks.ava256.data import source

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def config(tiny_capture):
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.root = str(tiny_capture)
    config.data.downsample = 128
    return config


@pytest.fixture(scope="module")
def captures(config):
    return source.load_captures(config)


@pytest.fixture(scope="module")
def assets(captures, config):
    return source.prepare(captures, config)


def test_by_default_held_out_frames_from_the_front(captures, config, assets):
    capture = captures.captures[0]
    held_out = np.flatnonzero(capture.segments == "EXP_free_face")
    assert selection.frames(config, capture).tolist() == held_out.tolist() and len(held_out)
    everywhere = selection.read(captures, config, assets, capture, capture.cameras, np.arange(1))
    front = max(everywhere, key=lambda s: geometry.frontality(s["camera_position"]))
    assert selection.camera(captures, assets, capture) == str(front["camera_id"])


def test_a_segment_and_a_camera_by_name(captures, config, assets):
    capture = captures.captures[1]
    camera, segment = capture.cameras[-1], str(capture.segments[0])
    assert selection.camera(captures, assets, capture, camera) == camera
    frames = selection.frames(config, capture, segment)
    assert frames.tolist() == np.flatnonzero(capture.segments == segment).tolist()
    samples = selection.read(captures, config, assets, capture, [camera], frames)
    assert all(s["camera_id"] == int(camera) and s["identity"] == 1 for s in samples)
    assert [s["frame"] for s in samples] == capture.frames[frames].tolist()


def test_frames_without_a_photograph_are_left_out(captures, config, assets):
    capture = captures.captures[0]
    every = np.arange(len(capture.frames))
    there = {camera: selection.photographed(captures, capture, camera, every) for camera in capture.cameras}
    for camera, frames in there.items():
        samples = selection.read(captures, config, assets, capture, [camera], every)
        assert [s["frame"] for s in samples] == capture.frames[frames].tolist() and 0 < len(samples) <= len(every)
    with pytest.raises(ValueError, match="has an image of none of the 0 frames asked for"):
        selection.photographed(captures, capture, capture.cameras[0], every[:0])


def test_a_wrong_name_gets_the_nearest(captures, config, assets):
    capture = captures.captures[0]
    near = r"there is none of that name; of \d+, the nearest are .*"
    with pytest.raises(ValueError, match=rf"--segment=EXP_free_facex: {near}EXP_free_face"):
        selection.frames(config, capture, "EXP_free_facex")
    with pytest.raises(ValueError, match=rf"--camera={capture.cameras[0]}x: {near}{capture.cameras[0]}"):
        selection.camera(captures, assets, capture, capture.cameras[0] + "x")


def test_files_are_named_by_subjects_and_by_whole_names_of_strangers():
    known = ["20260101--0900--A", "20260102--0900--B", "20270102--0900--B"]
    assert selection.file_name(known[0], known, known) == "A"
    assert selection.file_name(known[1], known, known) == known[1], "of one subject there are two"
    assert selection.file_name("20280101--0900--C", known, ["20280101--0900--C"]) == "20280101--0900--C"
