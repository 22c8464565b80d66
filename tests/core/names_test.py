"""The nearest of the names that there are."""

import pytest

from ava_jax.core import names

KEYS = ["train.steps", "train.batch_size", "eval.batch_size", "seed"]


@pytest.mark.parametrize(
    "name, hint",
    [
        ("train.stps", " Did you mean train.steps?"),
        ("trian.steps", " Did you mean train.steps?"),
        ("steps", " Did you mean train.steps?"),
        ("evl.batch_size", " Did you mean eval.batch_size?"),
        ("batch_size", " Did you mean train.batch_size or eval.batch_size?"),
        ("sed", " Did you mean seed?"),
        ("qqq", ""),
    ],
)
def test_the_nearest_name_is_hinted_at(name, hint):
    assert names.nearest(name, iter(KEYS)) == hint


def test_near_names_come_nearest_first_and_are_never_none():
    assert names.near("jaw_opn", ["smile", "jaw_open", "jaw_close", "jaw_open"])[0] == "jaw_open"
    assert names.near("qqq", ["b", "a", "c", "d"]) == ["a", "b", "c"]
    assert names.near("x", []) == []


def test_a_name_is_picked_or_the_nearest_are_given():
    assert names.pick("--camera", "7", ("6", "7")) == "7"
    with pytest.raises(ValueError, match=r"^--camera=40008: there is none of that name; of 2, the nearest are 400008, 400015\.$"):
        names.pick("--camera", "40008", iter(["400015", "400008"]))
