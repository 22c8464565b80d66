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


def test_by_default_the_first_person_in_held_out_frames_from_the_front(captures, config, assets):
    shot = selection.find(captures, config, assets)
    capture = captures.captures[0]
    assert shot.identity == shot.driver == capture.name
    held_out = capture.frames[capture.segments == "EXP_free_face"]
    assert set(s["frame"] for s in shot.samples) <= set(held_out) and len(shot.samples) > 0
    everywhere = selection.read(captures, config, assets, capture, capture.cameras, np.arange(1))
    front = max(everywhere, key=lambda s: geometry.frontality(s["camera_position"]))
    assert shot.camera == str(front["camera_id"])


def test_a_subject_a_segment_and_a_camera_by_name(captures, config, assets):
    first, second = captures.captures[:2]
    capture = second
    camera, segment = capture.cameras[-1], str(capture.segments[0])
    names = {"identity": first.name, "driver": second.name.rpartition("--")[2], "segment": segment, "camera": camera}
    shot = selection.find(captures, config, assets, **names)
    assert (shot.identity, shot.driver, shot.camera) == (first.name, second.name, camera)
    assert all(s["camera_id"] == int(camera) and s["identity"] == 1 for s in shot.samples)
    assert shot.person["identity"] == 0
    assert [s["frame"] for s in shot.samples] == capture.frames[capture.segments == segment].tolist()
    assert shot.name == f"{first.name.rpartition('--')[2]}_by_{second.name.rpartition('--')[2]}_cam{camera}"
    assert len(selection.find(captures, config, assets, **names, most=1).samples) == 1


def test_frames_that_are_missing_are_left_out(captures, config, assets):
    capture = captures.captures[0]
    frames = np.arange(len(capture.frames))
    samples = selection.read(captures, config, assets, capture, capture.cameras[:1], frames)
    assert 0 < len(samples) <= len(frames)
    assert all(sample is not None for sample in samples)


@pytest.mark.parametrize("name", ["identity", "driver", "segment", "camera"])
def test_a_wrong_name_gets_the_nearest(captures, config, assets, name):
    capture = captures.captures[0]
    right = {
        "identity": capture.name.rpartition("--")[2],
        "driver": capture.name.rpartition("--")[2],
        "segment": "EXP_free_face",
        "camera": capture.cameras[0],
    }[name]
    with pytest.raises(ValueError, match=rf"--{name}={right}x: there is none of that name; of \d+, the nearest are .*{right}"):
        selection.find(captures, config, assets, **{name: right + "x"})
