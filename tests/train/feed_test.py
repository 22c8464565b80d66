"""Batches read ahead: order, errors, and who frees them."""

import threading
import weakref

import numpy as np
import pytest

from ava_jax.train.feed import Feed


class Counting:
    """Batches [1] of 0, 1, 2, ...; `error` after `count` of them."""

    def __init__(self, count: int, error: BaseException):
        self.count, self.error, self.given = count, error, 0

    def __next__(self):
        if self.given == self.count:
            raise self.error
        self.given += 1
        return {"number": np.array([self.given - 1])}

    def get_state(self):
        return self.given

    def set_state(self, state):
        self.given = state


def put(batches):
    """One step's batch plus 100; those of several, stacked."""
    return {name: np.stack([batch[name] for batch in batches]).squeeze(0 if len(batches) == 1 else ()) + 100 for name in batches[0]}


def test_batches_come_in_order_each_with_the_position_after_it():
    with Feed(Counting(4, StopIteration()), put) as feed:
        fed = [feed.take() for _ in range(5)]
    assert fed[4] is None
    for n, item in enumerate(fed[:4]):
        assert item.steps == 1
        assert (item.read[0]["number"][0], item.arrays["number"][0], item.positions) == (n, n + 100, (n + 1,))


@pytest.mark.parametrize("error", [StopIteration(), ValueError("unreadable")])
def test_batches_of_a_call_are_put_together_and_what_is_left_at_the_end_comes_one_by_one(error):
    with Feed(Counting(7, error), put, steps=lambda taken: 1 if taken == 0 else 4) as feed:
        got = [feed.take() for _ in range(4)]
        if isinstance(error, StopIteration):
            assert feed.take() is None
        else:
            with pytest.raises(ValueError, match="unreadable"):
                feed.take()
    assert [item.steps for item in got] == [1, 4, 1, 1]
    assert [item.arrays["number"].tolist() for item in got] == [[100], [[101], [102], [103], [104]], [105], [106]]
    assert [item.positions for item in got] == [(1,), (2, 3, 4, 5), (6,), (7,)]


def test_it_goes_back_and_cuts_calls_anew():
    with Feed(Counting(100, StopIteration()), put, steps=lambda taken: 3 if taken % 3 == 0 else 1, taken=3) as feed:
        feed.take(), feed.take()
        feed.go_to(2, 5)
        got = [feed.take() for _ in range(2)]
    assert [[int(one["number"][0]) for one in item.read] for item in got] == [[2], [3, 4, 5]]


def test_it_goes_back_after_the_end():
    with Feed(Counting(2, StopIteration()), put) as feed:
        assert [feed.take() is None for _ in range(3)] == [False, False, True]
        feed.go_to(1, 1)
        assert feed.take().positions == (2,) and feed.take() is None


def test_what_cannot_be_put_on_the_devices_is_the_readers_error():
    with Feed(Counting(5, StopIteration()), lambda batches: 1 / 0) as feed, pytest.raises(ZeroDivisionError):
        feed.take()


def test_an_error_of_the_iterator_is_the_readers():
    with Feed(Counting(1, ValueError("unreadable")), put) as feed:
        assert feed.take().positions == (1,)
        with pytest.raises(ValueError, match="unreadable"):
            feed.take()


class Freed:
    """Notes the thread that it was freed in."""


def test_what_is_released_is_freed_in_the_thread_that_reads():
    threads, done = [], threading.Event()

    def note():
        threads.append(threading.current_thread())
        done.set()

    with Feed(Counting(1000, StopIteration()), put) as feed:
        spent = Freed()
        weakref.finalize(spent, note)
        feed.free(spent)
        del spent
        while not done.is_set() and feed.take() is not None:
            pass
        assert done.wait(10)
    assert threads and threads[0] is not threading.current_thread()
