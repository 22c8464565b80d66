"""Some samples of a source."""

import pytest

from ava_jax.core.sampling import thin
from ava_jax.data.subset import Subset


class Numbers:
    counts = {"listed": 10, "missing": 2}

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"value": index}

    def __repr__(self):
        return "Numbers"


def test_a_subset_is_a_source_of_its_own():
    subset = Subset(Numbers(), (7, 0, 3))
    assert [subset[i]["value"] for i in range(len(subset))] == [7, 0, 3]
    assert subset.counts == {"listed": 3, "missing": 2} and repr(subset) == "Subset(3 of Numbers)"


@pytest.mark.parametrize(
    ("most", "chosen"), [(3, (0, 4, 9)), (1, (0,)), (0, tuple(range(10))), (10, tuple(range(10))), (20, tuple(range(10)))]
)
def test_samples_are_evenly_spaced_from_the_first_to_the_last(most, chosen):
    assert tuple(thin(10, most)) == chosen


def test_no_sample_is_chosen_twice():
    for count in range(1, 40):
        for most in range(1, count + 1):
            assert len(set(thin(count, most).tolist())) == most
