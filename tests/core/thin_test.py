"""A few samples of many."""

import numpy as np
import pytest

from ava_jax.core.sampling import thin


@pytest.mark.parametrize("jitter", [False, True])
@pytest.mark.parametrize(
    "count, most, expected", [(5, 0, 5), (5, 5, 5), (5, 9, 5), (5, 1, 1), (0, 3, 0), (1000, 7, 7), (48, 40, 40), (11, 10, 10)]
)
def test_as_many_as_asked_for_in_order_without_doubles(count, most, expected, jitter):
    chosen = thin(count, most, jitter=jitter)
    assert len(chosen) == expected and chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all() and (not expected or (0 <= chosen[0] and chosen[-1] < count))


def test_even_steps_have_both_ends():
    assert thin(24, 6).tolist() == [0, 5, 9, 14, 18, 23]
    assert thin(24, 1).tolist() == [0]


def test_jitter_takes_one_of_each_stretch_always_alike():
    chosen = thin(1000, 10, jitter=True)
    assert (chosen // 100).tolist() == list(range(10)) and (chosen == thin(1000, 10, jitter=True)).all()


def test_jitter_shows_everyone_from_all_around():
    """4 people, 100 frames, 20 cameras, a step of as many: even steps would give each person a few neighbouring cameras."""
    people, cameras = 4, 20
    even, jittered = thin(people * 100 * cameras, 400), thin(people * 100 * cameras, 400, jitter=True)

    def cameras_per_person(chosen):
        return [len(set((chosen[chosen // (100 * cameras) == person] % cameras).tolist())) for person in range(people)]

    assert max(cameras_per_person(even)) <= 6 and min(cameras_per_person(jittered)) == cameras
