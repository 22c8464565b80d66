"""Zips of numbered files."""

import concurrent.futures
import zipfile

import numpy as np
import pytest

from ava_jax.data import archive, zip_directory


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
        archive.Archives().index([tmp_path / "none.zip"], np.arange(3, dtype=np.int32))
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


_NAMES = {
    "uniform": [f"cam7/{n:06d}.bin" for n in (3, 1, 2)],
    "without a folder": ["000003.bin", "000001.bin", "000002.bin"],
    "without a suffix": ["a/3", "a/1", "a/2"],
    "of several lengths": ["a/3.bin", "a/01.bin", "a/002.bin"],
    "of several folders": ["a/3.bin", "b/1.bin", "c/2.bin"],
    "beside a folder's entry": ["a/", "a/3.bin", "a/1.bin", "a/2.bin"],
}


@pytest.mark.parametrize("kind", _NAMES)
def test_directories_are_read_as_zipfile_reads_them(tmp_path, kind):
    path, names = tmp_path / "a.zip", _NAMES[kind]
    archive.write(path, [(name, name.encode() * 9) for name in names])
    entries = zip_directory.read(path)
    with zipfile.ZipFile(path) as z:
        infos = sorted((i for i in z.infolist() if not i.is_dir()), key=lambda i: int(i.filename.split("/")[-1].split(".")[0]))
    assert entries.number.tolist() == [1, 2, 3]
    assert entries.offset.tolist() == [i.header_offset for i in infos]
    assert entries.size.tolist() == [i.compress_size for i in infos] and entries.crc.tolist() == [i.CRC for i in infos]
    assert archive.Archives().read(path, 2) == infos[1].filename.encode() * 9


def test_other_ends_of_zips_are_read_too(stored):
    whole = zip_directory.read(stored)
    with zipfile.ZipFile(stored, "a") as z:
        z.comment = b"a comment"
    np.testing.assert_array_equal(zip_directory.read(stored), whole)
    stored.write_bytes(b"something before" + stored.read_bytes())
    assert archive.Archives().read(stored, 20) == bytes([20]) * 21
    with zipfile.ZipFile(stored, "w"):
        pass
    assert len(zip_directory.read(stored).number) == 0


@pytest.mark.parametrize("cut", [1, 21, 22, 60, 150])
def test_no_truncation_goes_unnoticed(stored, cut):
    stored.write_bytes(stored.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="not a whole zip"):
        zip_directory.read(stored)


def test_a_file_cut_after_it_was_indexed_is_damage_not_garbage(stored):
    archives = archive.Archives()
    assert archives.has(stored, 20)
    stored.write_bytes(stored.read_bytes()[:40])
    with pytest.raises(ValueError, match="member 20 is damaged"):
        archives.read(stored, 20)
