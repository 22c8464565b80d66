"""The index of what zips hold: kept from run to run, never trusted when it doesn't fit."""

import concurrent.futures
import os
import stat

import numpy as np
import pytest

from ava_jax.data import archive, zip_directory, zip_index

NUMBERS = np.arange(10, 1000, 3, dtype=np.int32)


@pytest.fixture
def zips(tmp_path):
    """Three zips of NUMBERS, each without a few of them, and with others."""
    paths = [tmp_path / "data" / f"cam{i}.zip" for i in range(3)]
    for i, path in enumerate(paths):
        present = [n for n in NUMBERS.tolist() if n % (7 + i)] + [5000]
        archive.write(path, [(f"cam/{n:06d}.bin", f"{i} {n}".encode()) for n in present])
    return paths


def expected():
    return np.stack([NUMBERS % (7 + i) != 0 for i in range(3)])


def start(zips, folder, monkeypatch, numbers=NUMBERS):
    """A fresh start: what is there, and how many directories of zips were read for it."""
    read, count = zip_directory.read, []
    monkeypatch.setattr(zip_directory, "read", lambda path: count.append(path) or read(path))
    archives = archive.Archives(folder)
    found = archives.index(zips, numbers, threads=2)
    content = [archives.read(path, int(numbers[8])) for path in zips]
    monkeypatch.setattr(zip_directory, "read", read)
    assert content == [f"{i} {numbers[8]}".encode() if found[i, 8] else None for i in range(len(zips))]
    return found, len(count)


def test_a_second_start_reads_no_directory(zips, tmp_path, monkeypatch):
    first, read = start(zips, tmp_path / "kept", monkeypatch)
    np.testing.assert_array_equal(first, expected())
    assert read >= 3
    again, read = start(zips, tmp_path / "kept", monkeypatch)
    np.testing.assert_array_equal(again, first)
    assert read == 0


def test_it_is_compact(zips, tmp_path, monkeypatch):
    start(zips, tmp_path / "kept", monkeypatch)
    assert zip_index.location(tmp_path / "kept", zips[0]).stat().st_size <= 16.2 * len(NUMBERS) + 48


@pytest.mark.parametrize("change", ["content", "time", "numbers"])
def test_another_state_of_the_data_is_indexed_anew(zips, tmp_path, monkeypatch, change):
    start(zips, tmp_path / "kept", monkeypatch)
    numbers = NUMBERS
    if change == "content":
        archive.write(zips[1], [("cam/000010.bin", b"1 10"), ("cam/000034.bin", b"1 34")])
    elif change == "time":
        os.utime(zips[1], ns=(1, 1))
    else:
        numbers = NUMBERS[1:]
    found, read = start(zips, tmp_path / "kept", monkeypatch, numbers)
    assert read >= (3 if change == "numbers" else 1)
    if change == "content":
        assert np.flatnonzero(found[1]).tolist() == [0, 8]
    assert start(zips, tmp_path / "kept", monkeypatch, numbers)[1] == 0


@pytest.mark.parametrize("at", ["magic", "key", "count", "bits", "empty"])
def test_a_damaged_index_is_made_anew(zips, tmp_path, monkeypatch, at):
    folder = tmp_path / "kept"
    start(zips, folder, monkeypatch)
    file = zip_index.location(folder, zips[0])
    data = bytearray(file.read_bytes())
    place = {"magic": 0, "key": 9, "count": 25, "bits": 48}.get(at)
    if place is not None:
        data[place] ^= 16
    file.write_bytes(b"" if at == "empty" else data)
    found, read = start(zips, folder, monkeypatch)
    np.testing.assert_array_equal(found, expected())
    assert read >= 1
    assert start(zips, folder, monkeypatch)[1] == 0


def test_no_flipped_bit_gives_wrong_content(zips, tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    start(zips[:1], folder, monkeypatch)
    file = zip_index.location(folder, zips[0])
    data, key = file.read_bytes(), file.read_bytes()[8:24]
    entries = len(data) - zip_index.ENTRY.itemsize * len(NUMBERS)
    for place in range(0, entries, 3):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert zip_index.load_bits(file, key, len(NUMBERS)) is None
    file.write_bytes(data)
    for place in range(entries + 16, entries + 48):  # of the second and third numbers
        archives = archive.Archives(folder)
        archives.index(zips[:1], NUMBERS)
        file.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        assert [archives.read(zips[0], n) for n in NUMBERS[1:3].tolist()] == [b"0 13", b"0 16"]
        assert file.read_bytes() == data  # mended


@pytest.mark.parametrize("gone", ["deleted", "cut"])
def test_an_index_that_goes_while_it_is_used_is_made_again(zips, tmp_path, gone):
    archives = archive.Archives(tmp_path / "kept", open_files=1)
    archives.index(zips, NUMBERS)
    assert [archives.read(path, 13) for path in zips] == [b"0 13", b"1 13", b"2 13"]
    for path in zips:
        file = zip_index.location(tmp_path / "kept", path)
        file.unlink() if gone == "deleted" else file.write_bytes(file.read_bytes()[:100])
    assert [archives.read(path, 34) for path in zips] == [b"0 34", b"1 34", b"2 34"]


def test_a_folder_that_cannot_be_written_to_costs_time_alone(zips, tmp_path, monkeypatch, caplog):
    (tmp_path / "kept").write_text("a file where the folder should be")
    for _ in range(2):
        with caplog.at_level("WARNING"):
            found, read = start(zips, tmp_path / "kept", monkeypatch)
        np.testing.assert_array_equal(found, expected())
        assert read >= 3
    assert sum("cannot be kept there" in r.getMessage() for r in caplog.records) == 2  # once a start


def test_a_failed_write_leaves_nothing_behind(zips, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    start(zips, tmp_path / "kept", monkeypatch)
    assert [p for p in (tmp_path / "kept").rglob("*") if p.is_file()] == []


def test_processes_share_the_folder(zips, tmp_path):
    with concurrent.futures.ProcessPoolExecutor(4) as pool:
        for found in pool.map(_index, [zips] * 8, [tmp_path / "kept"] * 8):
            np.testing.assert_array_equal(found, expected())
    files = [p for p in (tmp_path / "kept").rglob("*") if p.is_file()]
    assert len(files) == 3 and all(stat.S_ISREG(p.stat().st_mode) for p in files)


def _index(zips, folder):
    return archive.Archives(folder).index(zips, NUMBERS)


def test_what_is_not_held_is_read_again(zips, tmp_path):
    archives = archive.Archives(tmp_path / "kept", open_files=1, directory_bytes=1)
    archives.index(zips, NUMBERS)
    for _ in range(2):
        assert [archives.read(path, 34) for path in zips] == [b"0 34", b"1 34", b"2 34"]


def test_what_was_looked_up_is_not_read_again(zips, tmp_path, monkeypatch):
    """By one reader that several splits have in common: no index and no directory is opened twice, unless the zip changes."""
    load, opened = zip_index.load_bits, []
    monkeypatch.setattr(zip_index, "load_bits", lambda file, *rest: opened.append(file) or load(file, *rest))
    for folder in (tmp_path / "kept", None):
        archives = archive.Archives(folder)
        first = archives.index(zips, NUMBERS)
        opened.clear()
        monkeypatch.setattr(zip_directory, "read", lambda path: pytest.fail(f"{path} was read again"))
        np.testing.assert_array_equal(archives.index(zips[::-1], NUMBERS), first[::-1])
        assert opened == [] and archives.has(zips[0], 13) and not archives.has(zips[0], 14) and not archives.has(zips[0], 5000)
        monkeypatch.undo()
        monkeypatch.setattr(zip_index, "load_bits", lambda file, *rest: opened.append(file) or load(file, *rest))
    archives = archive.Archives(tmp_path / "kept")
    archives.index(zips, NUMBERS)
    archive.write(zips[1], [("cam/000010.bin", b"1 10")])
    assert np.flatnonzero(archives.index(zips, NUMBERS)[1]).tolist() == [0]
