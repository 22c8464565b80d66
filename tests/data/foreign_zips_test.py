"""Zips as tools write them: changed in place, on other systems, with other compressions; read right, or refused with what to do."""

import warnings
import zipfile

import numpy as np
import pytest

from ava_jax.data import archive, zip_directory

CONTENT = {1: b"one", 2: b"two, which is longer", 3: b"three"}


def write(path, members, compression=zipfile.ZIP_STORED, mode="w"):
    with warnings.catch_warnings(), zipfile.ZipFile(path, mode, compression) as z:
        warnings.simplefilter("ignore")  # of double names
        for name, data in members:
            z.writestr(name, data)
    return path


@pytest.fixture
def cam(tmp_path):
    return write(tmp_path / "cam7.zip", [(f"cam7/{n:06d}.bin", data) for n, data in CONTENT.items()])


def read(path, folder=None) -> dict[int, bytes | None]:
    """What is read without an index and with one."""
    plain, indexed = archive.Archives(), archive.Archives(folder)
    indexed.index([path], np.arange(1, 5, dtype=np.int32))
    found = {n: plain.read(path, n) for n in range(1, 5)}
    assert found == {n: indexed.read(path, n) for n in range(1, 5)}
    return {n: data for n, data in found.items() if data is not None}


def test_a_member_appended_again_is_the_one_that_counts(cam, tmp_path):
    for again in (b"anew", b"and once more"):
        write(cam, [("cam7/000002.bin", again)], mode="a")
        assert read(cam, tmp_path / "index") == CONTENT | {2: again}
    write(cam, [("cam7/9.bin", b"")], mode="a")  # no longer of names of one length
    assert read(cam, tmp_path / "index") == CONTENT | {2: b"and once more"}
    assert zip_directory.read(cam).number.tolist() == [1, 2, 3, 9]


def test_two_names_of_one_number_are_refused(cam):
    write(cam, [("cam8/000002.bin", b"other")], mode="a")
    with pytest.raises(ValueError, match=r"cam7\.zip: members 'cam7/000002.bin' and 'cam8/000002.bin' are both named by 2; one must go"):
        zip_directory.read(cam)


@pytest.mark.parametrize("method, name", [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")])
def test_other_compressions_are_named_with_what_to_do(tmp_path, method, name):
    path = write(tmp_path / "cam7.zip", [(f"{n:06d}.bin", data) for n, data in CONTENT.items()], method)
    with pytest.raises(ValueError, match=rf"cam7\.zip: member '000001\.bin' is compressed with {name}; .* stored or deflated\..*zip -r0"):
        archive.Archives().read(path, 1)


@pytest.mark.parametrize("code, name", [(9, "Deflate64"), (93, "Zstandard"), (77, "method 77")])
def test_compressions_that_python_does_not_know_are_named(cam, code, name):
    data = bytearray(cam.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 10 : at + 12] = code.to_bytes(2, "little")
    cam.write_bytes(data)
    with pytest.raises(ValueError, match=f"is compressed with {name}"):
        zip_directory.read(cam)


def test_encryption_is_named(cam):
    data = bytearray(cam.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    cam.write_bytes(data)
    with pytest.raises(ValueError, match="is encrypted; members must be stored or deflated"):
        zip_directory.read(cam)


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX/cam7/._000001.bin",
        "__MACOSX/._cam7",
        "cam7/.DS_Store",
        ".DS_Store",
        "cam7/Thumbs.db",
        "desktop.ini",
        "cam7/._000001.bin",
        "cam7/",
        "a/b/",
    ],
)
def test_what_systems_add_is_passed_over(cam, name):
    write(cam, [(name, b"" if name.endswith("/") else b"noise")], mode="a")
    assert read(cam) == CONTENT


@pytest.mark.parametrize("name", ["readme.txt", "cam7/a.bin", "cam7/1_0.bin", "cam7/+1.bin", "cam7/-1.bin", "cam7/3000001000.bin", "٣.bin"])
def test_other_names_are_refused_by_name(cam, name):
    write(cam, [(name, b"")], mode="a")
    with pytest.raises(ValueError, match=r"cam7\.zip: members must be named by number.*got '"):
        zip_directory.read(cam)


def test_a_common_top_folder_zip64_data_descriptors_and_comments(tmp_path):
    path = tmp_path / "cam7.zip"
    with open(path, "wb") as file:
        file.seekable = lambda: False  # so that sizes come after the contents, as of zips that are piped
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
            z.mkdir("top")
            for n, data in CONTENT.items():
                with z.open(f"top/cam7/{n}.bin", "w", force_zip64=n == 2) as member:
                    member.write(data)
            z.comment = b"made by a tool"
    assert read(path) == CONTENT


def test_names_that_climb_are_numbers_and_write_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data" / "cam7.zip", [("../../000001.bin", b"one")])
    assert read(path, tmp_path / "index") == {1: b"one"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "index"] and len(list((tmp_path / "data").iterdir())) == 1


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_BYTES", 1 << 20)
    path = write(tmp_path / "cam7.zip", [("1.bin", bytes(1 << 21)), ("2.bin", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    archives = archive.Archives()
    with pytest.raises(ValueError, match="member 1 inflates to more than 1048576 bytes"):
        archives.read(path, 1)
    assert archives.read(path, 2) == bytes(1 << 20)
    large = write(tmp_path / "cam8.zip", [("1.bin", bytes(1 << 21))])
    with pytest.raises(ValueError, match="member 1 has 2097152 bytes, more than any picture"):
        archives.read(large, 1)


def test_a_deflated_member_that_is_cut_is_damage(tmp_path):
    path = write(tmp_path / "cam7.zip", [("1.bin", b"words " * 100)], zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 24] = (int.from_bytes(data[at + 20 : at + 24], "little") - 3).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match="member 1 is damaged"):
        archive.Archives().read(path, 1)
