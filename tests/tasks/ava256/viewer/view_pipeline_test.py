"""Drawing for many clients: coarse first, then whole; a change interrupts; nobody waits for another; who is gone costs nothing.

The avatar is a stand-in: see `view_stage`.
"""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from view_stage import LONGER, WAIT, Stage

from ava_jax.tasks.ava256.data.codes_file import CODE
from ava_jax.tasks.ava256.viewer import drawing, eyes, pipeline
from ava_jax.tasks.ava256.viewer.recordings import Clip


def shows(x: float, *, finished: bool = True):
    return lambda sent: sent.image[0, 0, 0] == x and (sent.finished or not finished)


def test_a_picture_comes_coarse_and_whole_then_finer_until_it_is_whole():
    with Stage(tile=0.004) as stage:
        client = stage.client()
        client.look(7)
        client.wait(shows(7))
    heights = [sent.level[0] for sent in client.sent]
    height, width = eyes.picture_size(1.0, LONGER)
    assert heights[0] <= height // 2 and heights == sorted(heights), "coarse, then finer"
    assert [sent.finished for sent in client.sent] == [False] * (len(heights) - 1) + [True]
    last = client.sent[-1].image
    assert last.shape == (height, width, 3) and (last[..., 1] == 1).all()
    rows = last[:, 0, 2].astype(int)
    assert (np.diff(rows) >= 0).all() and rows[-1] - rows[0] > 80, "tiles lie where they belong"
    assert (last[..., 2] == last[:, :1, 2]).all()


def test_quick_devices_draw_whole_pictures_at_once(monkeypatch):
    clock = itertools.count(0.0, 1e-6)  # it is quick, whatever else the machine does
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(perf_counter=clock.__next__))
    with Stage() as stage:
        client = stage.client()
        client.look(1)
        client.wait(shows(1))
        client.look(2)  # by now it is known how quick it is
        client.wait(shows(2))
    seconds = [sent for sent in client.sent if sent.image[0, 0, 0] == 2]
    assert len(seconds) == 1 and seconds[0].finished


def test_a_change_interrupts_the_fine_picture():
    with Stage(tile=0.02) as stage:
        client = stage.client()
        client.look(1)
        client.wait(shows(1, finished=False))
        client.look(2)
        client.wait(shows(2, finished=False))
        client.look(3)
        before = len(stage.drawn)
        client.wait(shows(3))
    assert not any(sent.finished for sent in client.sent if sent.image[0, 0, 0] != 3)
    late = [x for x, _ in stage.drawn[before + 3 :]]
    assert set(late) == {3.0}, "nothing more is drawn of what was wanted before"


def test_clients_all_get_an_answer_before_any_gets_a_fine_picture():
    with Stage(tile=0.01) as stage:
        stage.allow_drawing.clear()
        clients = [stage.client() for _ in range(3)]
        for x, client in enumerate(clients):
            client.look(10 + x)
        until = time.monotonic() + WAIT
        while len(stage.decoded) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)
        stage.allow_drawing.set()
        for x, client in enumerate(clients):
            client.wait(shows(10 + x))
        total = len(stage.drawn)
    answered = max(client.drawn_before[0] for client in clients)
    assert answered < total / 2, "answers came while most was still to be drawn"
    assert all({sent.image[0, 0, 0] for sent in client.sent} == {10 + x} for x, client in enumerate(clients)), "each its own"


def test_who_is_gone_costs_nothing():
    with Stage(tile=0.02) as stage:
        lost, other = stage.client(), stage.client()
        lost.look(1)
        lost.wait(shows(1, finished=False))
        stage.pipeline.remove(lost.session)
        other.look(4)
        other.wait(shows(4))  # what was at work is ended
        before, count = len(stage.drawn), len(lost.sent)
        lost.look(2)
        other.look(3)
        other.wait(shows(3))
    assert {x for x, _ in stage.drawn[before:]} == {3.0} and len(lost.sent) == count


def test_slow_decoding_does_not_hold_up_the_camera(monkeypatch):
    """The colours of the last place are shown until those of the new one are decoded; a new expression must be waited for."""
    monkeypatch.setattr(pipeline, "_QUICK_DECODE", 0.0)  # all decoding is slow
    with Stage() as stage:
        client = stage.client()
        client.look(1)
        client.wait(shows(1))
        stage.allow_decoding.clear()
        client.look(2)
        client.wait(shows(2, finished=False))
        stage.allow_decoding.set()
        client.wait(lambda sent: sent.finished and (2.0, 2.0) in stage.drawn)
    assert stage.drawn.index((2.0, 1.0)) < stage.drawn.index((2.0, 2.0))


def test_people_layers_and_expressions():
    offset = np.zeros(CODE, np.float32)
    offset[0, 0, 0] = 5.0
    with Stage() as stage:
        client = stage.client("B")
        client.look(1)
        client.wait(lambda sent: sent.image[0, 0, 1] == 2)
        client.change(offset=offset)
        client.wait(lambda sent: sent.image[0, 0, 1] == 7)
        client.change(person="A", layer=drawing.MESH)
        client.wait(lambda sent: sent.image[0, 0, 1] == 6 and sent.wanted.layer == drawing.MESH)
        client.change(frame_code=offset * 2, strength=0.5, offset=np.zeros(CODE, np.float32))
        client.wait(lambda sent: sent.image[0, 0, 1] == 5)  # 1 + (10 - 1) / 2, rounded down


def test_a_clip_plays_and_begins_again():
    codes = np.zeros((5, *CODE), np.float32)
    codes[:, 0, 0, 0] = [0, 10, 20, 30, 40]
    with Stage() as stage:
        client = stage.client()
        client.look(1)
        client.session.play(clip=Clip(5, codes), position=0.0, rate=20.0, playing=True)
        stage.pipeline.notify()
        client.wait(lambda sent: sent.image[0, 0, 1] >= 30)
        client.wait(lambda sent: sent.image[0, 0, 1] < 10 and sent.wanted.version > client.sent[0].wanted.version + 10)
        client.session.play(playing=False, position=2.0)
        stage.pipeline.notify()
        client.wait(lambda sent: sent.finished and sent.image[0, 0, 1] == 20)
        time.sleep(0.1)
        count = len(stage.drawn)
        time.sleep(0.1)
        assert len(stage.drawn) == count, "at rest nothing is drawn"


def test_a_face_that_cannot_be_read_is_told_and_the_old_one_stays():
    class People(dict):
        def __missing__(self, name):
            raise ValueError(f"{name}: no such face")

    with Stage() as stage:
        stage.pipeline._people = People(stage.pipeline._people)
        client = stage.client()
        client.look(1)
        client.wait(shows(1))
        client.change(person="C")
        client.look(2)
        client.wait(shows(2))
    assert client.told == ["C: no such face"] and client.session.wanted.person == "A"


@pytest.mark.parametrize("part", ["_draw", "_decode"])
def test_an_error_ends_all_threads_and_is_kept_for_the_main_one(part):
    class Broken(Stage):
        def _fail(self, *args, **kwargs):
            raise MemoryError("no room")

    setattr(Broken, part, Broken._fail)
    with Broken() as stage:
        client = stage.client()
        client.look(1)
        for thread in stage.pipeline._threads:
            thread.join(WAIT)
            assert not thread.is_alive()
    assert isinstance(stage.pipeline.failure, MemoryError)
