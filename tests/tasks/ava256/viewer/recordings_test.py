"""Recordings to play: of a file of codes, and of captures, which are encoded while they play."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.data.source import load_captures
from ava_jax.tasks.ava256.viewer.recordings import NO_NAME, Clip, Recordings

CONFIG = SimpleNamespace(model=SimpleNamespace(texture_size=32))
DRIVER, SEGMENT = "20260101--0900--SYN001", "EXP_all"


class Avatar:
    """A stand-in whose codes say how many faces it has encoded."""

    def __init__(self):
        self.encoded = 0

    def encode(self, texture, vertices, neutral_texture, neutral_vertices):
        assert texture.shape == neutral_texture.shape == (1, 32, 32, 3) and vertices.shape == neutral_vertices.shape
        self.encoded += 1
        return np.full((1, *codes_file.CODE), self.encoded, np.float32)


@pytest.fixture
def captures(tiny_capture):
    data = SimpleNamespace(root=str(tiny_capture), ids="", cameras=(), topology="", get=lambda name, default: default)
    found = load_captures(SimpleNamespace(data=data))
    found.by_name[DRIVER].segments[1:] = SEGMENT  # all but the neutral face
    return found


def _recordings(captures, codes=None):
    vertices = np.zeros((7921, 3), np.float32)
    avatar = Avatar()
    return Recordings(avatar, captures, CONFIG, Assets({"vertices_mean": vertices}, {}), codes), avatar


def test_a_clip_is_linear_between_frames_and_stays_within_what_is_ready():
    clip = Clip(4)
    assert clip.ready == 0
    for value in (0.0, 10.0):
        clip.add(np.full(codes_file.CODE, value, np.float32))
    assert [float(clip.at(x)[0, 0, 0]) for x in (-1, 0, 0.25, 1, 3)] == [0.0, 0.0, 2.5, 10.0, 10.0]
    clip.cut()
    assert (clip.ready, clip.count) == (2, 3)


def test_a_file_of_codes_plays_by_capture_and_segment():
    values = np.arange(5, dtype=np.float32)
    codes = codes_file.of(
        np.broadcast_to(values[:, None, None, None], (5, *codes_file.CODE)), ["a", "a", "b", "a", ""], ["x", "y", "x", "x", ""]
    )
    recordings, _ = _recordings(None, codes)
    assert recordings.segments == {"a": ("x", "y"), "b": ("x",), NO_NAME: (NO_NAME,)} and recordings.captures == ()
    clip = recordings.clip("a", "x")
    assert clip.ready == clip.count == 2 and [float(clip.at(i)[0, 0, 0]) for i in (0, 1)] == [0.0, 3.0]
    assert float(recordings.clip(NO_NAME, NO_NAME).at(0)[0, 0, 0]) == 4.0


def test_a_captures_segment_is_encoded_once_whoever_asks(captures):
    recordings, avatar = _recordings(captures)
    assert DRIVER in recordings.drivers and SEGMENT in recordings.segments[DRIVER]
    clip = recordings.clip(DRIVER, SEGMENT)
    assert clip.count > 1 and clip.ready == 0
    recordings.load(DRIVER, SEGMENT, going_on=lambda: clip.ready < 1)  # who asked is gone after the first frame
    assert clip.ready == 1
    threads = [threading.Thread(target=recordings.load, args=(DRIVER, SEGMENT), kwargs={"going_on": lambda: True}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clip.ready == clip.count == avatar.encoded
    assert [float(clip.at(i)[0, 0, 0]) for i in range(clip.count)] == list(range(1, clip.count + 1)), "in order"


def test_frames_that_cannot_be_read_are_left_out(captures, monkeypatch):
    from ava_jax.captures import reading

    recordings, avatar = _recordings(captures)
    clip, whole, damaged = recordings.clip(DRIVER, SEGMENT), reading.Reader.surface, int(captures.by_name[DRIVER].frames[2])

    def surface(self, capture, frame):
        if frame == damaged:
            raise reading.Unreadable(f"frame {frame}: damaged")
        return whole(self, capture, frame)

    before = clip.count
    monkeypatch.setattr(reading.Reader, "surface", surface)
    recordings.load(DRIVER, SEGMENT, going_on=lambda: True)
    assert clip.ready == clip.count == before - 1 == avatar.encoded
