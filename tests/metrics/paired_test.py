"""Paired differences: signs, counts, what is left out, and how much narrower they are than two means."""

import numpy as np
import pytest

from ava_jax.metrics import paired, table


def test_a_difference_is_the_second_less_the_first_over_samples_that_both_have():
    found = paired.pair([1, 2, np.nan, 4, 5], [2, 4, 9, np.nan, 5], higher_is_better=True)
    assert (found.first, found.second) == (pytest.approx(8 / 3), pytest.approx(11 / 3))
    assert found.difference.value == pytest.approx(1.0) and (found.difference.samples, found.difference.ignored) == (3, 2)
    assert (found.wins, found.losses) == (2, 0)
    turned = paired.pair([1, 2, 5], [2, 4, 5], higher_is_better=False)
    assert (turned.wins, turned.losses) == (0, 2)


@pytest.mark.parametrize("higher, better", [(True, paired.SECOND), (False, paired.FIRST)])
def test_better_where_the_interval_leaves_zero_out(higher, better):
    first = np.arange(20.0)
    assert paired.pair(first, first + 1 + 0.1 * (first % 2), higher_is_better=higher).better == better
    assert paired.pair(first, first + 10 * (-1) ** first, higher_is_better=higher).better == paired.NEITHER
    assert paired.pair([1.0], [2.0], higher_is_better=higher).better == paired.UNKNOWN
    assert paired.pair(first, first + 1, higher_is_better=higher, clusters=["one"] * 20).better == paired.UNKNOWN


def test_pairing_takes_away_what_makes_a_sample_hard():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 200)
    a, b = hard + rng.normal(30, 0.1, 200), hard + rng.normal(30.1, 0.1, 200)
    found = paired.pair(a, b, higher_is_better=True)
    assert found.better == paired.SECOND and table.mean(a).half_width > 20 * found.difference.half_width


def test_an_interval_covers_the_truth_as_often_as_it_says():
    rng, covered, rounds = np.random.default_rng(1), 0, 2000
    clusters = np.repeat(np.arange(12), 4)
    for _ in range(rounds):
        a = rng.normal(0, 3, 48)
        b = a + 0.7 + np.repeat(rng.normal(0, 1, 12), 4) + rng.normal(0, 0.5, 48)
        mean = paired.pair(a, b, higher_is_better=True, clusters=clusters).difference
        covered += abs(mean.value - 0.7) <= mean.half_width
    assert 0.93 < covered / rounds < 0.97


def test_samples_are_found_by_what_they_are():
    first = [{"who": "a", "frame": "1", "x": 1}, {"who": "b", "frame": "1", "x": 2}, {"who": "a", "frame": "2", "x": 3}]
    second = [{"who": "a", "frame": "2", "x": 30}, {"who": "a", "frame": "1", "x": 10}]
    found = paired.match(first, second, ("who", "frame"))
    assert [(a["x"], b["x"]) for a, b in found.pairs] == [(1, 10), (3, 30)] and (found.only_first, found.only_second) == (1, 0)
    assert len(paired.match([*first, {"who": "a", "frame": "2", "x": 3}], second, ("who", "frame")).pairs) == 2, "told twice, counted once"
    with pytest.raises(ValueError, match="two rows are of the same sample .who a.* and differ"):
        paired.match(first, second, ("who",))
