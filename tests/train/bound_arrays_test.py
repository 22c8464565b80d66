"""Weights of a run on another topology are taken, as asked for, and told."""

import numpy as np

from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.task import Ava256
from ava_jax.train import initialization
from ava_jax.train.checkpoint import Checkpoints


def test_a_start_from_another_topology_is_told(small_run, capsys):
    with Checkpoints(small_run) as saved:
        assets = saved.assets(saved.find())
    initialization.warn_of_other_arrays(str(small_run), assets, Ava256.bound_arrays)
    assert capsys.readouterr().err == ""
    other = Assets({**assets.arrays, "uvs": np.asarray(assets.arrays["uvs"])[::-1]}, assets.names)
    initialization.warn_of_other_arrays(str(small_run), other, Ava256.bound_arrays)
    line = capsys.readouterr().err
    assert "was trained with other data of this kind (uvs differs)" in line and "another chart" in line and line.count("\n") == 1
    initialization.warn_of_other_arrays("no such run", Assets({}, {}), ())  # a task that binds nothing: nothing is read
    assert capsys.readouterr().err == ""
