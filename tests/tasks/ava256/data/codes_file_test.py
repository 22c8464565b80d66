"""Files of expression codes: what is written is read back to the bit; what is none is refused by name."""

import csv

import numpy as np
import pytest

from ava_jax.tasks.ava256.data import codes_file

RNG = np.random.default_rng(0)


def _codes(count: int = 3, pose: bool = True) -> codes_file.Codes:
    head = RNG.standard_normal((count, 3, 4)) * 100 if pose else None
    codes = RNG.standard_normal((count, 4, 4, 16))
    return codes_file.of(codes, ["20230101--0001--ABC123"] * count, ["EXP_a, with a comma"] * count, 2**40 + np.arange(count), head)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize("pose", [True, False])
def test_read_back_exactly(suffix, pose, tmp_path):
    codes = _codes(pose=pose)
    path = codes_file.write(tmp_path / "new" / f"codes{suffix}", codes)
    again = codes_file.read(path)
    assert len(again.codes) == 3
    for name, before, after in zip(codes._fields, codes, again, strict=True):
        if before is None:
            assert after is None, name
        else:
            np.testing.assert_array_equal(after, before, err_msg=name)
            assert after.dtype.kind == before.dtype.kind
    assert again.codes.dtype == np.float32 and again.frame.dtype == np.int64
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_some_frames():
    codes = _codes()
    assert codes.at([2, 0]).frame.tolist() == [2**40 + 2, 2**40]
    assert codes.at(codes.frame > 2**40).codes.shape == (2, 4, 4, 16)
    assert _codes(pose=False).at(slice(1)).head_pose is None


def test_codes_alone_are_enough(tmp_path):
    np.savez(tmp_path / "a.npz", codes=np.zeros((2, 4, 4, 16)))
    found = codes_file.read(tmp_path / "a.npz")
    assert found.frame.tolist() == [0, 1] and found.capture.tolist() == ["", ""] and found.head_pose is None
    with open(tmp_path / "a.csv", "w") as file:
        csv.writer(file).writerows([[f"code_{i}" for i in range(256)], range(256)])
    np.testing.assert_array_equal(codes_file.read(tmp_path / "a.csv").codes.reshape(-1), np.arange(256))


def test_what_is_none_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"end in \.npz or \.csv"):
        codes_file.read(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="ava ava256 encode"):
        codes_file.read(tmp_path / "a.npz")
    path = tmp_path / "a.npz"
    for content, match in (
        ({"code": np.zeros(3)}, "no array `codes` but code"),
        ({"codes": np.zeros((2, 4, 4, 8))}, r"codes must be \[F, 4, 4, 16\].*got \[2, 4, 4, 8\]"),
        ({"codes": np.zeros((2, 4, 4, 16)), "frame": [1]}, "frame must be"),
        ({"codes": np.full((2, 4, 4, 16), np.nan)}, r"codes: not all numbers of row 0"),
        ({"codes": np.array([{}], object)}, "allow_pickle"),
    ):
        np.savez(path, **content)
        with pytest.raises(ValueError, match=match) as e:
            codes_file.read(path)
        assert str(path) in str(e.value)
    whole = codes_file.write(path, _codes()).read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="a.npz: not a file of expression codes"):
        codes_file.read(path)
    table = codes_file.write(tmp_path / "a.csv", _codes()).read_text()
    for change, match in (
        (lambda text: text.replace("code_17,", "code17,", 1), "the first is code_17; the nearest are code"),
        (lambda text: text[: text.rindex(",")] + "\n", "row 3 has 270 cells"),
        (lambda text: text.splitlines()[0], "at least one frame"),
        (lambda text: "", "256 columns are missing"),
    ):
        (tmp_path / "b.csv").write_text(change(table))
        with pytest.raises(ValueError, match=match):
            codes_file.read(tmp_path / "b.csv")
