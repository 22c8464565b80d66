"""Statistics are made once of a set of captures as it is, and anew of any other state."""

import os

import numpy as np
import pytest
from statistics_test import make

from ava_jax.captures import kept_statistics, statistics
from ava_jax.data import images

FILES = (
    "uv_image/color_mean.png",
    "kinematic_tracking/registration_vertices_mean.npy",
    "kinematic_tracking/registration_vertices_variance.txt",
)


@pytest.fixture
def captures(tmp_path):
    rng = np.random.default_rng(0)
    return [make(tmp_path / f"c{i}", rng.integers(0, 255, (8, 8, 3)), rng.normal(size=(5, 3)), 1.0 + i) for i in range(3)]


@pytest.fixture
def decoded(monkeypatch):
    """The textures that are decoded: one element each."""
    found, read = [], statistics._read_texture
    monkeypatch.setattr(statistics, "_read_texture", lambda path, size: found.append(path) or read(path, size))
    return found


def same(a, b) -> bool:
    return all(x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("size", [8, 4])
def test_a_second_start_decodes_no_texture(captures, decoded, tmp_path, size):
    plain = statistics.combine(captures, size)
    first = statistics.combine(captures, size, folder=tmp_path / "kept")
    assert len(decoded) == 2 * len(captures)
    again = statistics.combine(captures, size, folder=tmp_path / "kept")
    assert len(decoded) == 2 * len(captures) and same(plain, first) and same(plain, again)


def test_other_sizes_and_other_sets_are_kept_beside_each_other(captures, decoded, tmp_path):
    asked = [(captures, 8), (captures, 4), (captures[:2], 8), (captures[::-1], 8)]
    made = [statistics.combine(*one, folder=tmp_path / "kept") for one in asked]
    count = len(decoded)
    assert all(same(statistics.combine(*one, folder=tmp_path / "kept"), found) for one, found in zip(asked, made, strict=True))
    assert len(decoded) == count and len(list((tmp_path / "kept").iterdir())) == len(asked)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", ["content", "time"])
def test_another_state_of_any_file_is_read_anew(captures, decoded, tmp_path, file, change):
    statistics.combine(captures, 8, folder=tmp_path / "kept")
    path = captures[1].decoder / file
    if change == "time":
        os.utime(path, ns=(1, 1))
    elif file.endswith(".png"):
        path.write_bytes(images.encode(np.full((8, 8, 3), 7, np.uint8), "png"))
    elif file.endswith(".npy"):
        np.save(path, np.zeros((5, 3), np.float32))
    else:
        path.write_text("12345.5\n")
    count = len(decoded)
    found = statistics.combine(captures, 8, folder=tmp_path / "kept")
    assert len(decoded) == count + len(captures) and same(found, statistics.combine(captures, 8))
    assert len(list((tmp_path / "kept").iterdir())) == 1, "the old state's file is taken over"


def test_a_file_that_is_gone_is_named_as_ever(captures, tmp_path):
    statistics.combine(captures, 8, folder=tmp_path / "kept")
    (captures[2].decoder / FILES[2]).unlink()
    with pytest.raises(ValueError, match="registration_vertices_variance.txt: cannot be read"):
        statistics.combine(captures, 8, folder=tmp_path / "kept")


def test_no_damage_goes_unnoticed(captures, decoded, tmp_path):
    expected = statistics.combine(captures, 8, folder=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    data = file.read_bytes()
    key = kept_statistics.key_of(
        [capture.decoder / name for name in FILES for capture in captures], 8
    )  # in the order of `combine`: by kind
    assert kept_statistics.load(tmp_path / "kept", key) is not None
    for at in range(0, len(data), 7):
        file.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        assert kept_statistics.load(tmp_path / "kept", key) is None, at
    for length in (0, 10, len(data) - 1):
        file.write_bytes(data[:length])
        assert kept_statistics.load(tmp_path / "kept", key) is None, length
    assert same(statistics.combine(captures, 8, folder=tmp_path / "kept"), expected) and file.read_bytes() == data


def test_a_folder_that_cannot_be_written_to_costs_time_alone(captures, tmp_path):
    (tmp_path / "kept").write_text("a file, and no folder")
    assert same(statistics.combine(captures, 8, folder=tmp_path / "kept"), statistics.combine(captures, 8))
