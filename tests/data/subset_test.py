"""Some samples of a source."""

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
