"""Packed captures are verified: shards, counts, frame list, calibration, meshes; each fault is reported with its file and what to do."""

import json
import pathlib
import shutil

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from ava_jax.captures.packed import index, pack
from ava_jax.captures.packed.plan import Settings
from ava_jax.captures.verify import report, tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.captures.verify.findings import Book

DEPTH = Depth("all", crc=True)


@pytest.fixture(scope="module")
def sound(tiny_capture, tmp_path_factory) -> pathlib.Path:
    """Both captures packed as they are: read only."""
    out = tmp_path_factory.mktemp("sound") / "packed"
    pack.pack(str(tiny_capture), out, Settings())
    return out


@pytest.fixture
def capture(sound, tmp_path) -> pathlib.Path:
    """The second capture, which lacks nothing, in a set of its own; its files may be changed."""
    root = pathlib.Path(shutil.copytree(sound, tmp_path / "packed"))
    return sorted(path.parent for path in root.glob("*/decoder"))[1]


def verify(folder: pathlib.Path, depth: Depth = DEPTH) -> Book:
    (book,) = tree.verify(tree.find([folder]), depth)
    return book


def faults(book: Book) -> list[tuple[str, str, str]]:
    assert all("ava pack" in one.action and not one.refetch for one in book.findings if one.level == "fault"), book.findings
    return [(one.kind, one.what, one.file) for one in book.findings if one.level == "fault"]


def shard(capture: pathlib.Path, kind: str) -> pathlib.Path:
    (path,) = (capture / index.RECORDS).glob(f"{kind}-*")
    return path


def rewrite(path: pathlib.Path, edit) -> None:
    """Writes a shard anew, of its records as `edit` changes the list of them, and its size into the index."""
    reader = ArrayRecordReader(str(path))
    found = edit([bytearray(record) for record in reader.read_all()])
    reader.close()
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for record in found:
        writer.write(bytes(record))
    writer.close()
    manifest = json.loads((path.parents[1] / index.FILE).read_text())
    (entry,) = manifest["shards"][path.name.partition("-")[0]]
    entry["bytes"] = path.stat().st_size
    (path.parents[1] / index.FILE).write_text(json.dumps(manifest))


def test_what_is_packed_is_as_sound_as_what_it_was_packed_from(tiny_capture, sound):
    before, after = (tree.verify(tree.find([root]), Depth("all")) for root in (tiny_capture, sound))
    assert [book.state for book in after] == [book.state for book in before] == ["sound", "sound"]
    for zips, records in zip(before, after, strict=True):
        same = [key for key in zips.counts if key not in ("zips", "bytes")]
        assert {key: zips.counts[key] for key in same} == {key: records.counts[key] for key in same}
        assert records.counts["shards"] == 3 and records.counts["records"] > 6 * 4
        assert [(one.kind, one.what, one.count) for one in records.findings] == [(one.kind, one.what, one.count) for one in zips.findings]
    assert "(ava-256, packed; " in report.text(after)
    assert [one["packed"] for one in report.to_json(after, {})["captures"]] == [True, True]


def test_cropped_ones_are_sound(tiny_capture, tmp_path):
    pack.pack(str(tiny_capture), tmp_path / "small", Settings(downsample=128, crop="head"))
    assert [book.state for book in tree.verify(tree.find([tmp_path / "small"]), DEPTH)] == ["sound", "sound"]


def test_shards_that_are_gone_cut_or_of_another_packing(capture):
    path = shard(capture, "image")
    path.write_bytes(path.read_bytes()[:-100])
    shard(capture, "segmentation").unlink()
    (capture / index.RECORDS / "image-00000-of-00009.arrayrecord").write_bytes(b"")
    book = verify(capture, Depth("none"))
    assert faults(book) == [
        ("shard", "cannot be used", f"records/{path.name}"),
        ("shard", "cannot be used", "records/segmentation-00000-of-00001.arrayrecord"),
    ]
    assert [one.file for one in book.findings if one.level == "note"] == ["records/image-00000-of-00009.arrayrecord"]


def test_a_shard_with_a_record_too_few(capture):
    rewrite(shard(capture, "frame"), lambda records: records[:-1])
    (found,) = [one for one in verify(capture, Depth("none")).findings if one.level == "fault"]
    assert found.kind == "shard" and "records, and the index" in found.detail


def test_a_record_that_rotted_and_two_that_changed_sides(capture):
    def edit(records):
        records[0][-1] ^= 1
        records[-1], records[-2] = records[-2], records[-1]
        return records

    rewrite(shard(capture, "image"), edit)
    book = verify(capture)
    assert {(kind, what) for kind, what, _ in faults(book)} == {("image", "cannot be decoded")}
    assert all(file.startswith("image/cam") for _, _, file in faults(book))
    assert any("checksum" in one.detail for one in book.findings) and any("record" in one.detail for one in book.findings)


def test_a_mesh_of_another_topology(capture):
    path = capture.parent / "face_topology.obj"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["v 0 0 0", *lines]) + "\n")
    assert ("mesh", "cannot be decoded", "kinematic_tracking/registration_vertices") in faults_of_any_action(verify(capture))


def faults_of_any_action(book: Book) -> list[tuple[str, str, str]]:
    return [(one.kind, one.what, one.file) for one in book.findings if one.level == "fault"]


def test_a_calibration_and_a_frame_list_that_are_not_those_of_the_records(capture):
    path = capture / "decoder" / "camera_calibration.json"
    tree_ = json.loads(path.read_text())
    for entry in tree_["KRT"]:
        entry["T"] = np.array(entry["T"]).T.tolist()
    path.write_text(json.dumps(tree_))
    rows = (capture / "decoder" / "frame_list.csv").read_text().splitlines()
    (capture / "decoder" / "frame_list.csv").write_text("\n".join(rows[:-1]) + "\n")
    found = faults(verify(capture))
    assert ("frame list", "is not that of the records", "decoder/frame_list.csv") in found
    assert any(kind == "calibration" for kind, _, _ in found)


@pytest.mark.parametrize("name", [index.FILE, index.BITS])
def test_an_index_that_is_damaged(capture, name):
    (capture / name).write_bytes(b"{")
    assert faults(verify(capture)) == [("packed", "cannot be read", "packed.json")]


def test_what_was_not_packed_to_its_end(capture):
    (capture / index.FILE).unlink()
    (capture / index.PACKING).mkdir()
    assert faults(verify(capture)) == [("packed", "cannot be read", "packed.json")]
    shutil.rmtree(capture)
    books = tree.verify(tree.find([capture.parent]), Depth("none"))
    assert [book.state for book in books] == ["sound", "broken"] and books[1].folder == capture
    assert "and was not packed" in report.text(books)


def test_zips_beside_records(capture, tiny_capture):
    zip_ = "decoder/head_pose/head_pose.zip"
    (capture / zip_).parent.mkdir(exist_ok=True)
    shutil.copy(tiny_capture / capture.name / zip_, capture / zip_)
    (found,) = [one for one in verify(capture).findings if one.level == "doubt"]
    assert found.kind == "packed" and "the records are read" in found.what
