"""Weights of loss terms: numbers and schedules."""

import ml_collections
import numpy as np
import pytest

from ava_jax.train import weights

TERMS = ("image", "vertices", "kl")


def test_numbers_stay_and_schedules_are_straight_between_their_points():
    given = {"image": 1.0, "vertices": ((10, 2.0), (20, 1.0), (40, 0.0)), "kl": 0}
    weights.check(ml_collections.ConfigDict(given), TERMS)
    assert weights.computed(given) == ("image", "vertices")
    for step, want in ((0, 2.0), (10, 2.0), (15, 1.5), (30, 0.5), (40, 0.0), (1000, 0.0)):
        found = weights.at(given, np.int32(step))
        assert found["image"] == 1.0 and isinstance(found["image"], float) and set(found) == {"image", "vertices"}
        np.testing.assert_allclose(found["vertices"], want, rtol=1e-6)


def test_the_heaviest_term_is_by_the_most_that_it_reaches():
    assert weights.heaviest({"image": 1.0, "vertices": ((0, 0.0), (9, 3.0)), "kl": 2.0}) == "vertices"


def test_a_term_that_the_task_lacks_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"got \['image', 'kl', 'vertice'\]. Did you mean vertices\?"):
        weights.check({"image": 1.0, "vertice": 1.0, "kl": 1.0}, TERMS)


@pytest.mark.parametrize("weight", ["1", None, True, float("nan"), (), (1.0, 2.0), ((5, 1.0), (5, 2.0)), ((-1, 1.0),), ((0, "1"),)])
def test_what_is_no_weight_is_refused(weight):
    with pytest.raises(ValueError, match="config.loss_weights.kl must be a number or a schedule of rising steps"):
        weights.check({"image": 1.0, "vertices": 1.0, "kl": weight}, TERMS)


def test_a_term_at_least_must_count():
    with pytest.raises(ValueError, match="must weigh a term; all of image, vertices, kl are 0"):
        weights.check(dict.fromkeys(TERMS, 0.0), TERMS)
