"""What a run is bound to."""

import pathlib

import numpy as np
import pytest

from ava_jax.core import binding
from ava_jax.core.types import Assets

SAVED = Assets({"mean": np.array([100.0, 1.0], np.float32), "faces": np.arange(6).reshape(2, 3)}, {"people": ["a", "b"], "cameras": ["1"]})


def changed(names=None, **arrays) -> Assets:
    return Assets({**SAVED.arrays, **arrays}, {**SAVED.names, **(names or {})})


def test_the_same_data_pass():
    binding.check(SAVED, SAVED, pathlib.Path("run"))
    binding.check(SAVED, changed({"people": ["b", "a"]}), pathlib.Path("run"))
    binding.check(SAVED, changed(mean=np.array([100.05, 1.05])), pathlib.Path("run"))  # as another library may round
    binding.check(SAVED, changed(more=np.zeros(3)), pathlib.Path("run"))  # a version that keeps more


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (changed({"people": ["a", "c"]}), "people: b missing, c new"),
        (changed({"people": ["a", "b", *"cdefg"]}), "people: c, d, e, f and 1 more new"),
        (changed({"people": ["a"], "cameras": ["2"]}), "people: b missing; cameras: 1 missing, 2 new"),
        (changed(mean=np.array([100.2, 1.0])), "mean differs"),
        (changed(mean=np.array([100.0, np.nan])), "mean differs"),
        (changed(mean=np.zeros(3)), "mean differs"),
        (changed(faces=np.arange(6)[::-1].reshape(2, 3)), "faces differs"),
    ],
)
def test_others_are_refused_in_one_line(now, told):
    with pytest.raises(ValueError) as e:
        binding.check(SAVED, now, pathlib.Path("run"))
    assert str(e.value).startswith(f"run: the run goes on with the data that it was begun with alone; {told}. Give those ")
    assert "\n" not in str(e.value) and "--config.train.init_from=run" in str(e.value)
