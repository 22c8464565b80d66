"""Batches read by processes: the same as those of threads, whatever fails; shared memory comes back; nothing is left running."""

import gc
import json
import os
import signal
import time

import numpy as np
import pytest

from ava_jax.core.sampling import Sampling, UnreadableData
from ava_jax.data import pipeline
from ava_jax.data.process_iterator import ProcessIterator


class Numbers:
    """Samples 0 .. n-1 of two arrays; `gaps` are absent, `faults` cannot be decoded, `raising` raise, `killing` ends the process."""

    def __init__(self, n, *, gaps=(), faults=(), raising=(), killing=(), most=10**9, odd=()):
        self.n, self.gaps, self.faults, self.raising, self.killing, self.most = n, gaps, faults, raising, killing, most
        self.odd = odd
        self.noted = []

    def __len__(self):
        return self.n

    def __repr__(self):
        return "Numbers"

    def part(self, count):
        return self

    def has(self, index):
        return index not in self.gaps

    def read(self, index):
        if index in self.killing:
            os.kill(os.getpid(), signal.SIGKILL)
        if index in self.raising:
            raise OSError("disk on fire")
        if index in self.gaps:
            return None
        if index in self.faults:
            return f"{index} is damaged"
        return {"i": np.int32(index), "row": np.full((3, 5 if index in self.odd else 4), index, np.float32), "pid": np.int64(os.getpid())}

    def note(self, index, fault):
        self.noted.append((index, fault))
        if sum(bool(fault) for _, fault in self.noted) > self.most:
            raise UnreadableData("too many")

    def __getitem__(self, index):
        found = self.read(index)
        if found is not None:
            self.note(index, found if isinstance(found, str) else "")
        return None if isinstance(found, str) else found


class Views(Numbers):
    """Frames seen by cameras, in groups of a frame each."""

    def __init__(self, frames, cameras, **how):
        super().__init__(frames * cameras, **how)
        self.groups = [(frames, cameras)]


def numbers(batch):
    for i, row in zip(batch["i"], batch["row"]):
        np.testing.assert_array_equal(row, np.full_like(row, i))  # rows are of one sample
    return batch["i"].tolist()


def both(make, sampling, *, readers, seed=3, count=12):
    """Batches and positions by threads and by processes."""
    found = []
    for how in ({"threads": 2}, {"threads": 0, "readers": readers}):
        iterator = pipeline.iterator(make(), sampling, seed=seed, **how)
        got = []
        for _ in range(count):
            try:
                batch = next(iterator)
            except StopIteration:
                got.append("end")
                break
            got.append((numbers(batch), iterator.get_state()))
        found.append(got)
    assert isinstance(iterator, ProcessIterator)
    return found


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("what", [{}, {"gaps": (3, 7, 8)}, {"faults": (0, 5)}, {"gaps": tuple(range(0, 20, 2)), "faults": (1, 3, 5, 7)}])
def test_the_same_batches_and_positions_as_threads(readers, what):
    sampling = Sampling(4, per_visit=3, window=2)
    threads, processes = both(lambda: Views(7, 3, **what), sampling, readers=readers)
    assert threads == processes


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("what", [{}, {"gaps": (4,)}, {"faults": (9,)}])
def test_a_finite_split_ends_alike(drop, what):
    sampling = Sampling(4, shuffle=False, epochs=1, drop_remainder=drop)
    threads, processes = both(lambda: Numbers(10, **what), sampling, readers=2)
    assert threads == processes and threads[-1] == "end"


def test_resuming_is_exact_between_threads_and_any_number_of_readers():
    source = Numbers(23, gaps=(2, 3), faults=(11,))
    first = pipeline.iterator(source, Sampling(4), seed=5, threads=2)
    for _ in range(9):
        next(first)
    state = json.loads(json.dumps(first.get_state()))
    expected = [numbers(next(first)) for _ in range(9)]
    for readers in (1, 2, 5):
        again = pipeline.iterator(source, Sampling(4), seed=5, threads=0, readers=readers)
        next(again)
        again.set_state(state)  # with samples under way
        assert [numbers(next(again)) for _ in range(9)] == expected
    back = pipeline.iterator(source, Sampling(4), seed=5, threads=2)
    back.set_state(state)
    assert [numbers(next(back)) for _ in range(9)] == expected


def test_batches_are_views_of_shared_memory_that_comes_back():
    iterator = pipeline.iterator(Numbers(40), Sampling(4), seed=0, threads=0, readers=2, held=3)
    batch = next(iterator)
    blocks = iterator._blocks
    assert batch["row"].base is not None and batch["row"].ctypes.data % 64 == 0
    kept = batch["row"][1:]  # a part keeps it
    before = kept.copy()
    del batch
    for _ in range(3 * blocks.count):
        next(iterator)
    np.testing.assert_array_equal(kept, before)
    del kept
    gc.collect()
    assert blocks.free + len(iterator._open) == blocks.count


def test_a_caller_that_keeps_all_batches_gets_copies_and_loses_nothing():
    iterator = pipeline.iterator(Numbers(40), Sampling(4, shuffle=False), seed=0, threads=0, readers=2, held=2)
    kept = [next(iterator) for _ in range(30)]
    assert [numbers(batch) for batch in kept] == [[(4 * i + j) % 40 for j in range(4)] for i in range(30)]


def test_faults_are_counted_by_the_source_of_this_process():
    source = Numbers(8, faults=(2,))
    iterator = pipeline.iterator(source, Sampling(3, shuffle=False, epochs=1), seed=0, threads=0, readers=2)
    assert numbers(next(iterator)) == [0, 1, 3] and (2, "2 is damaged") in source.noted
    with pytest.raises(UnreadableData, match="too many"):
        for _ in pipeline.iterator(Numbers(20, faults=(2, 4, 6, 8), most=2), Sampling(2, shuffle=False), seed=0, threads=0, readers=2):
            pass


@pytest.mark.parametrize(
    "what, error, words",
    [
        ({"raising": (5,)}, ValueError, "sample 5 of Numbers: disk on fire"),
        ({"odd": (5,)}, ValueError, r"sample 5 of Numbers: row is float32 \[3, 5\]; that of those before it is float32 \[3, 4\]"),
        ({"killing": (5,)}, ChildProcessError, r"killed by SIGKILL \(out of memory\?\); config.data.read_processes = 0"),
        ({"gaps": range(8)}, ValueError, "none of the 8 samples of Numbers can be read"),
        ({"faults": range(8)}, ValueError, "none of the 8 samples of Numbers can be read"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(what, error, words):
    with pytest.raises(error, match=words) as raised:
        for _ in pipeline.iterator(Numbers(8, **what), Sampling(2, shuffle=False), seed=0, threads=0, readers=2):
            pass
    assert "\n" not in str(raised.value)


def test_processes_end_with_the_iterator():
    iterator = pipeline.iterator(Numbers(8), Sampling(2), seed=0, threads=0, readers=2)
    pids = {int(pid) for _ in range(8) for pid in next(iterator)["pid"]}
    assert len(pids) == 2 and os.getpid() not in pids
    del iterator
    gc.collect()
    deadline = time.monotonic() + 120
    while pids and time.monotonic() < deadline:
        pids = {pid for pid in pids if os.path.exists(f"/proc/{pid}")}
    assert not pids


def test_a_source_that_cannot_be_taken_apart_is_read_in_threads():
    class Plain:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return {"i": np.int32(index)}

    assert not isinstance(pipeline.iterator(Plain(), Sampling(2), seed=0, threads=0, readers=2), ProcessIterator)


def test_a_whole_source_in_order_by_processes_is_what_threads_read():
    found = [list(pipeline.read_in_order(Numbers(70), 8, threads=2, readers=readers)) for readers in (0, 2)]
    assert [count for _, count in found[1]] == [count for _, count in found[0]]
    for (ours, _), (theirs, _) in zip(*found):
        for name in ("i", "row"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert {*found[1][0][0]["pid"].tolist()} & {os.getpid()} == set()  # processes did read
