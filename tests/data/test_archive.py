"""Zips of numbered files."""

import concurrent.futures
import pickle
import zipfile

import numpy as np
import pytest

from ava_jax.data import archive


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "cam7.zip"
    archive.write(path, [(f"cam7/{n:06d}.bin", bytes([n]) * (n + 1)) for n in (30, 10, 20)])
    return path


def test_members_are_found_by_number(stored):
    archives = archive.Archives()
    assert archives.read(stored, 20) == bytes([20]) * 21
    assert archives.read(stored, 30) == bytes([30]) * 31
    assert archives.read(stored, 11) is None
    assert archives.has(stored, 10) and not archives.has(stored, 31)
    np.testing.assert_array_equal(archives.directory(stored).number, [10, 20, 30])


def test_deflated_members_and_extra_fields_are_read_too(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        info = zipfile.ZipInfo("000001.txt")
        info.compress_type = zipfile.ZIP_DEFLATED
        info.extra = b"\x99\x99" + (396).to_bytes(2, "little") + bytes(396)  # longer than is read ahead
        z.writestr(info, b"words " * 100)
    assert archive.Archives().read(path, 1) == b"words " * 100


def test_the_same_members_give_the_same_bytes(stored, tmp_path):
    again = tmp_path / "again.zip"
    archive.write(again, [(f"cam7/{n:06d}.bin", bytes([n]) * (n + 1)) for n in (30, 10, 20)])
    assert again.read_bytes() == stored.read_bytes()


def test_a_truncated_zip_is_named(stored):
    stored.write_bytes(stored.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"cam7\.zip: not a whole zip"):
        archive.Archives().read(stored, 10)
    with pytest.raises(ValueError, match=r"cam7\.zip: not a whole zip"):
        archive.check_whole([stored])


def test_a_damaged_member_is_named_and_others_still_read(stored):
    data = stored.read_bytes()
    at = data.index(bytes([20]) * 21)
    stored.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    archives = archive.Archives()
    with pytest.raises(ValueError, match="member 20 is damaged"):
        archives.read(stored, 20)
    assert archives.read(stored, 10) == bytes([10]) * 11


def test_missing_file_and_foreign_members_are_named(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        archive.Archives().has(tmp_path / "none.zip", 1)
    with pytest.raises(ValueError, match="no such file"):
        archive.check_whole([tmp_path / "none.zip"])
    archive.write(tmp_path / "b.zip", [("readme.txt", b"")])
    with pytest.raises(ValueError, match="named by number"):
        archive.Archives().has(tmp_path / "b.zip", 1)


def test_threads_read_side_by_side(tmp_path):
    path = tmp_path / "c.zip"
    contents = {n: np.random.default_rng(n).bytes(4000 + n) for n in range(64)}
    archive.write(path, [(f"{n:06d}.bin", data) for n, data in contents.items()])
    archives = archive.Archives()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = list(range(64)) * 8
        assert list(pool.map(lambda n: archives.read(path, n), numbers)) == [contents[n] for n in numbers]


def test_archives_travel_between_processes(stored):
    archives = pickle.loads(pickle.dumps(archive.Archives()))
    assert archives.read(stored, 10) == bytes([10]) * 11
