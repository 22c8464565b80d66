"""Order, resuming and errors of the batch iterator."""

import json

import numpy as np
import pytest

from ava_jax.core.sampling import Sampling, UnreadableData
from ava_jax.data import pipeline


class Numbers:
    """Samples 0 .. n-1; `gaps` cannot be read, `faults` raise."""

    def __init__(self, n, gaps=(), faults=()):
        self.n, self.gaps, self.faults = n, gaps, faults

    def __len__(self):
        return self.n

    def __repr__(self):
        return "Numbers"

    def __getitem__(self, i):
        if i in self.faults:
            raise OSError("disk on fire")
        return None if i in self.gaps else {"i": np.int32(i), "row": np.full(3, i, np.float32)}


class Views(Numbers):
    """Frames seen by cameras, in groups of a frame each."""

    def __init__(self, frames, cameras, gaps=()):
        super().__init__(frames * cameras, gaps)
        self.groups = [(frames, cameras)]


FROM_VERSION_0_1 = [[17, 22, 4, 2], [3, 10, 13, 19], [8, 7, 1, 16]]  # batches of four from the third on, of 23 samples, seed 5


def take(iterator, count):
    return [next(iterator)["i"].tolist() for _ in range(count)]


def test_batches_are_stacked():
    batch = next(pipeline.iterator(Numbers(8), Sampling(4), seed=0, threads=0))
    assert batch["i"].shape == (4,) and batch["row"].shape == (4, 3)
    np.testing.assert_array_equal(batch["row"][:, 0], batch["i"])


def test_the_order_follows_from_the_seed_alone():
    orders = {
        (seed, threads): take(pipeline.iterator(Numbers(50), Sampling(4), seed=seed, threads=threads), 30)
        for seed in (0, 1) for threads in (0, 1, 5)
    }  # fmt: skip
    assert orders[0, 0] == orders[0, 1] == orders[0, 5] != orders[1, 0]
    flat = np.concatenate(orders[0, 0])
    assert sorted(flat[:50]) == sorted(flat[50:100]) == list(range(50))
    assert flat[:50].tolist() != flat[50:100].tolist()  # each epoch has an order of its own


def test_unreadable_samples_are_passed_over_and_batches_stay_full():
    batches = take(pipeline.iterator(Numbers(10, gaps=(3, 7)), Sampling(4), seed=0, threads=2), 10)
    assert all(len(batch) == 4 for batch in batches)
    assert sorted(np.concatenate(batches)[:8]) == [0, 1, 2, 4, 5, 6, 8, 9]


def test_a_finite_split_is_read_once_in_order():
    iterator = pipeline.iterator(Numbers(10, gaps=(4,)), Sampling(4, shuffle=False, epochs=1, drop_remainder=False), seed=0, threads=2)
    assert [b["i"].tolist() for b in iterator] == [[0, 1, 2, 3], [5, 6, 7, 8], [9]]


def test_resuming_is_exact_with_any_number_of_threads():
    source = Numbers(23, gaps=(2, 3, 11))
    first = pipeline.iterator(source, Sampling(4), seed=5, threads=3)
    take(first, 9)  # into the second epoch
    state = json.loads(json.dumps(first.get_state()))
    expected = take(first, 12)
    for threads in (0, 1, 4):
        again = pipeline.iterator(source, Sampling(4), seed=5, threads=threads)
        again.set_state(state)
        assert take(again, 12) == expected
    assert again.get_state() == first.get_state()


def test_a_running_iterator_can_be_set_back():
    iterator = pipeline.iterator(Numbers(23), Sampling(4), seed=5, threads=2)
    state = iterator.get_state()
    start = take(iterator, 5)
    iterator.set_state(state)
    assert take(iterator, 5) == start


def test_resuming_is_exact_in_visits_and_over_processes():
    source, sampling = Views(11, 6, gaps=(2, 3, 40)), Sampling(4, per_visit=4, window=3)
    for process in range(2):
        share = {"seed": 5, "process_index": process, "process_count": 2}
        first = pipeline.iterator(source, sampling, threads=3, **share)
        take(first, 13)
        state = json.loads(json.dumps(first.get_state()))
        expected = take(first, 40)
        again = pipeline.iterator(source, sampling, threads=1, **share)
        again.set_state(state)
        assert take(again, 40) == expected


def test_processes_together_read_each_sample_once_in_visits():
    source, sampling = Views(11, 6, gaps=(2, 3, 40)), Sampling(2, per_visit=4, window=3, epochs=2, drop_remainder=False)
    shares = [pipeline.iterator(source, sampling, seed=1, threads=2, process_index=i, process_count=2) for i in range(2)]
    seen = [int(i) for share in shares for batch in share for i in batch["i"]]
    assert sorted(seen) == sorted(2 * [i for i in range(66) if i not in source.gaps])


@pytest.mark.parametrize("change", [{"seed": 1}, {"n": 24}, {"process_count": 2}, {"per_visit": 2}, {"window": 2}, {"shuffle": False}])
def test_a_state_of_another_order_is_refused(change):
    state = pipeline.iterator(Numbers(23), Sampling(4), seed=0, threads=0).get_state()
    settings = {"n": 23, "seed": 0, "process_count": 1} | change
    n, seed, count = (settings.pop(name) for name in ("n", "seed", "process_count"))
    other = pipeline.iterator(Numbers(n), Sampling(4, **settings), seed=seed, threads=0, process_count=count)
    with pytest.raises(ValueError, match="resuming needs the .* start anew in another --workdir"):
        other.set_state(state)


def test_a_state_from_before_orders_had_names_is_refused():
    iterator = pipeline.iterator(Numbers(23), Sampling(4), seed=0, threads=0)
    old = {name: value for name, value in iterator.get_state().items() if name not in ("order", "per_visit", "window")}
    with pytest.raises(ValueError, match="the order of the saved run, of an earlier version"):
        iterator.set_state(old)


def test_a_source_that_gives_up_is_heard_as_it_speaks():
    class Faulty(Numbers):
        def __getitem__(self, i):
            raise UnreadableData("data: 9 of 10 cannot be decoded.")

    with pytest.raises(UnreadableData) as error:
        next(pipeline.iterator(Faulty(8), Sampling(2), seed=0, threads=2))
    assert str(error.value) == "data: 9 of 10 cannot be decoded."


def test_processes_share_every_batch_and_see_each_sample_once():
    shares = [pipeline.iterator(Numbers(24), Sampling(8), seed=0, threads=1, process_index=i, process_count=2) for i in range(2)]
    seen = [take(share, 3) for share in shares]
    assert all(len(batch) == 4 for share in seen for batch in share)
    assert sorted(np.concatenate(seen).ravel()) == list(range(24))
    with pytest.raises(ValueError, match="multiple of the 2 processes"):
        pipeline.iterator(Numbers(24), Sampling(7), seed=0, threads=1, process_index=0, process_count=2)


def test_errors_name_the_sample():
    iterator = pipeline.iterator(Numbers(4, faults=(2,)), Sampling(1, shuffle=False), seed=0, threads=2)
    take(iterator, 2)
    with pytest.raises(ValueError, match="sample 2 of Numbers: disk on fire"):
        next(iterator)


def test_a_source_without_a_readable_sample_is_an_error_not_a_wait():
    with pytest.raises(ValueError, match="none of the 3 samples of Numbers"):
        next(pipeline.iterator(Numbers(3, gaps=(0, 1, 2)), Sampling(2), seed=0, threads=2))
    with pytest.raises(ValueError, match="has no samples"):
        pipeline.iterator(Numbers(0), Sampling(2), seed=0, threads=2)


@pytest.mark.parametrize("threads", [0, 2])
def test_in_order_the_last_batch_is_filled_up(threads):
    batches = list(pipeline.read_in_order(Numbers(8, gaps=(1,)), 3, threads=threads))
    assert [count for _, count in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.stack([batch["i"] for batch, _ in batches]), [[0, 2, 3], [4, 5, 6], [7, 7, 7]])


def test_in_order_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        next(pipeline.read_in_order(Numbers(0), 3, threads=0))


@pytest.mark.parametrize("process, processes", [(0, 1), (1, 2)])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(4),
        Sampling(2, shuffle=False),
        Sampling(4, per_visit=4, window=3),
        Sampling(4, epochs=3),
        Sampling(4, shuffle=False, epochs=3, drop_remainder=False),
    ],
)
def test_indices_are_those_of_the_batches_and_either_goes_on_where_the_other_was(sampling, process, processes):
    source = Views(11, 6, gaps=(2, 3, 40, 65))
    readable = np.array([i not in source.gaps for i in range(66)])
    settings = {"seed": 5, "process_index": process, "process_count": processes}
    batches = pipeline.iterator(source, sampling, threads=2, **settings)
    indices = pipeline.index_iterator(source, sampling, readable=readable, **settings)
    for count in range(200):
        assert indices.get_state() == batches.get_state()
        try:
            batch = next(batches)["i"]
        except StopIteration:
            assert sampling.epochs and count > 30 / processes
            with pytest.raises(StopIteration):
                next(indices)
            break
        taken = next(indices)
        assert taken.dtype == np.int32
        np.testing.assert_array_equal(taken, batch)
        if count == 7:
            state = json.loads(json.dumps(batches.get_state()))
            batches.set_state(json.loads(json.dumps(indices.get_state())))
            indices.set_state(state)
    else:
        assert sampling.epochs is None


def test_indices_of_nothing_readable_are_refused():
    with pytest.raises(ValueError, match="none of the 3 samples of Numbers can be read"):
        pipeline.index_iterator(Numbers(3), Sampling(2), readable=np.zeros(3, bool), seed=0)


def test_a_run_keeps_the_way_of_shuffling_that_it_began_with():
    old = {
        "seed": 5,
        "samples": 23,
        "process_index": 0,
        "process_count": 1,
        "order": "visits, interleaved (1)",
        "per_visit": 1,
        "window": 1,
    }
    old |= {"position": {"next_index": 8}}
    again = pipeline.iterator(Numbers(23), Sampling(4), seed=5, threads=1, like=old)
    again.set_state(old)
    assert take(again, 3) == FROM_VERSION_0_1
    assert again.get_state()["order"] == old["order"]
    indices = pipeline.index_iterator(Numbers(23), Sampling(4), readable=np.ones(23, bool), seed=5, like=old)
    indices.set_state(old)
    assert [next(indices).tolist() for _ in range(3)] == FROM_VERSION_0_1
    new = pipeline.iterator(Numbers(23), Sampling(4), seed=5, threads=0)
    assert new.get_state()["order"] != old["order"]
    with pytest.raises(ValueError, match="resuming needs the order of the saved run"):
        new.set_state(old)
