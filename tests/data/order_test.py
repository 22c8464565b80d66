"""The order of visits: every sample once an epoch, what is shared held briefly, processes disjoint."""

import collections

import numpy as np
import pytest

from ava_jax.data.cache import Cache
from ava_jax.data.order import NAMES, VisitOrder, groups_held

GROUPS = [(5, 14), (0, 3), (4, 3), (7, 0), (3, 1)]  # 5 groups of 14 samples, 4 of 3, 3 of 1
SAMPLES = 5 * 14 + 4 * 3 + 3


def drawn(order, count=None):
    return [s for s in map(order.__getitem__, range(len(order) if count is None else count)) if s is not None]


def group_of(sample):
    for count, size in GROUPS:
        if sample < count * size:
            return count, size, sample // size
        sample -= count * size
    raise AssertionError


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("per_visit, window", [(1, 1), (4, 3), (3, 50)])
def test_each_sample_is_drawn_once_an_epoch(processes, per_visit, window):
    shares = [
        drawn(VisitOrder(GROUPS, seed=3, per_visit=per_visit, window=window, epochs=2, process_index=i, process_count=processes))
        for i in range(processes)
    ]
    assert collections.Counter(s for share in shares for s in share) == dict.fromkeys(range(SAMPLES), 2)
    assert max(map(len, shares)) - min(map(len, shares)) <= 2 * 2 * per_visit


def test_orders_follow_from_the_seed_and_differ_between_epochs():
    first, same, other = (drawn(VisitOrder(GROUPS, seed=seed, per_visit=1, epochs=2)) for seed in (1, 1, 2))
    assert first == same != other
    assert first[:SAMPLES] != first[SAMPLES:] and sorted(first[:SAMPLES]) == sorted(first[SAMPLES:])


def test_partitions_of_a_group_differ_between_epochs_and_groups():
    order = VisitOrder([(2, 16)], seed=0, per_visit=4, window=1, epochs=None)
    visits = [frozenset(s for s in (order[4 * (tick + slot) + slot] for slot in range(4)) if s is not None) for tick in range(400)]
    assert all(len(visit) == 4 and len({s // 16 for s in visit}) == 1 for visit in visits)  # whole visits, of one group each
    parts = {frozenset(s % 16 for s in visit) for visit in visits}
    assert len(parts) > 300


def test_what_a_visit_shares_is_made_once_within_the_window():
    """The frames that a reader has to hold, and how often it makes one."""
    order = VisitOrder([(200, 16)], seed=0, per_visit=4, window=5, epochs=1)

    def count_made(held):
        cache, made = Cache(held, lambda value: 1), []
        for sample in drawn(order):
            cache.get(sample // 16, lambda: made.append(sample) or sample)
        return len(made)

    assert 0.85 * 800 <= count_made(groups_held(4, 5)) <= 800  # visits; now and then two of a frame overlap
    assert count_made(4 * 5) > 1600  # fewer held, and each is made again and again


def test_neighbours_are_of_different_visits():
    flat = np.array(drawn(VisitOrder([(500, 80)], seed=0, per_visit=4, window=16), 4 * 500)) // 80
    flat = flat[len(flat) % 4 :]
    repeats = np.mean([len(set(batch.tolist())) < 4 for batch in flat.reshape(-1, 4)])
    assert repeats < 0.05  # 6 pairs of 500 frames: 1.2% meet by chance


def test_groups_of_one_visit_begin_at_any_of_their_samples():
    """Frames of 4 cameras, 4 per visit: the first samples are of all cameras, not of one as in an older order. Larger groups: the same."""
    new, old = (VisitOrder([(40, 4)], seed=0, per_visit=4, window=16, epochs=2, name=name) for name in NAMES[:0:-1])
    assert {sample % 4 for sample in drawn(new, 4 * 16)} == {0, 1, 2, 3}
    assert {sample % 4 for sample in drawn(old, 4 * 16)} == {0}
    assert [sample // 4 for sample in drawn(new)] == [sample // 4 for sample in drawn(old)]
    larger = [VisitOrder([(40, 9)], seed=0, per_visit=4, window=16, epochs=2, name=name) for name in NAMES[1:]]
    assert drawn(larger[0]) == drawn(larger[1])


def test_a_full_data_set_is_a_matter_of_arithmetic():
    order = VisitOrder([(10_000, 80)] * 256, seed=0, per_visit=4, window=16)
    assert order.visits == 51_200_000
    samples = np.array([order[10**9 + 7919 * i] for i in range(2000)])
    assert len(set(samples.tolist())) == 2000 and 0 <= samples.min() and samples.max() < 204_800_000
    assert np.histogram(samples, 8, (0, 204_800_000))[0].min() > 200
