"""Functions that a user names on the command line."""

import numpy as np
import pytest

from ava_jax.core import functions


def test_a_function_is_found_by_its_module_or_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # taken away again afterwards, with what `load` adds
    (tmp_path / "my_networks_here.py").write_text("def landmarks(x):\n    return x\n")
    assert functions.load("--keypoints", "my_networks_here:landmarks")(3) == 3
    assert functions.load("--keypoints", "numpy:mean") is np.mean


@pytest.mark.parametrize(
    "name, message",
    [
        ("landmarks", "--keypoints must be module:function, as in --keypoints=my_networks:keypoints; got 'landmarks'"),
        ("no_such_module_at_all:f", "the module 'no_such_module_at_all' cannot be imported here"),
        ("bisect:bisect_lef", "bisect has no function 'bisect_lef'; it has bisect_left"),
    ],
)
def test_a_name_that_is_none_is_told(name, message):
    with pytest.raises(ValueError, match=message):
        functions.load("--keypoints", name)
