"""Members of remote zips: the directory read by its tail, ranges merged, smaller zips that are valid; zips that lie."""

import io
import os
import random
import struct
import zipfile

import pytest
from download_server import Fault, Server

from ava_jax.data import zip_directory
from ava_jax.data.download import subset, verify, zip_listing
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download, Item, Selection

RNG = random.Random(5)


def zipped(members, method=zipfile.ZIP_STORED, comment=b"", **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, **options) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 7, 17, 10, 0, 2)), data, method)
        archive.comment = comment
    return out.getvalue()


FRAMES = {f"cam1/{number:06d}.png": RNG.randbytes(5000 + number) for number in range(100, 200)}
ZIP = zipped(FRAMES)


@pytest.fixture
def server():
    with Server({"x.zip": ZIP}) as running:
        running.multipart.add("x.zip")
        yield running


def fetch(server, folder, selection, file="x.zip", tries=4):
    download = Download(folder, Client(tries=tries, first_wait=0.01, timeout=5), shown=False)
    plan = download.plan([Item(file, server.url + file, selection=selection)])
    return plan.problems + download.run(plan.tasks)


def read(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def chosen(*numbers):
    return {f"cam1/{number:06d}.png": FRAMES[f"cam1/{number:06d}.png"] for number in numbers}


def test_chosen_members_are_a_valid_smaller_zip(server, tmp_path):
    assert fetch(server, tmp_path, Selection((100, 101, 150, 199, 7))) == []
    assert read(tmp_path / "x.zip") == chosen(100, 101, 150, 199)
    assert list(read(tmp_path / "x.zip")) == list(chosen(100, 101, 150, 199))  # in the order of the file
    directory = zip_directory.read(tmp_path / "x.zip")  # the loader's own reader
    assert directory.number.tolist() == [100, 101, 150, 199]
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.infolist()[0].date_time == (2024, 7, 17, 10, 0, 2)


def test_little_more_than_the_members_is_fetched(server, tmp_path):
    """The tail of 64 kB; 100 and 101 together; 103 too, whose gap is small; 150 and 190 by themselves."""
    assert fetch(server, tmp_path, Selection((100, 101, 103, 150, 180))) == []
    spans = [tuple(map(int, one[2].removeprefix("bytes=").split("-"))) for one in server.requests("x.zip", "GET")]
    assert spans[0] == (len(ZIP) - 65_536, len(ZIP) - 1)
    starts = {member.text: member.offset for member in zip_listing.read(lambda offset, count: ZIP[offset : offset + count], len(ZIP))}
    name = "cam1/{:06d}.png".format
    assert spans[1:] == [(starts[name(first)], starts[name(last + 1)] - 1) for first, last in ((100, 103), (150, 150), (180, 180))]


def test_patterns_of_names(server, tmp_path):
    assert fetch(server, tmp_path, Selection(patterns=("cam1/00012?.png", "cam1/000199.png"))) == []
    assert read(tmp_path / "x.zip") == chosen(*range(120, 130), 199)


def test_no_member_is_no_file_and_is_not_asked_again(server, tmp_path):
    assert fetch(server, tmp_path, Selection((7,))) == []
    assert not (tmp_path / "x.zip").exists()
    server.log.clear()
    assert fetch(server, tmp_path, Selection((7,))) == []
    assert server.log == []


def test_more_members_are_added_and_those_that_are_there_copied(server, tmp_path):
    fetch(server, tmp_path, Selection((110, 150)))
    server.log.clear()
    assert fetch(server, tmp_path, Selection((100, 150, 190))) == []
    assert read(tmp_path / "x.zip") == chosen(100, 110, 150, 190)
    assert len(server.requests("x.zip", "GET")) == 3  # the tail, 100, 190
    server.log.clear()
    assert fetch(server, tmp_path, Selection((150, 190))) == []  # fewer: it is all there
    assert server.log == []
    assert fetch(server, tmp_path, None) == []  # all
    assert (tmp_path / "x.zip").read_bytes() == ZIP
    server.log.clear()
    assert fetch(server, tmp_path, Selection((150,))) == []  # a whole zip has it
    assert server.log == [] and (tmp_path / "x.zip").read_bytes() == ZIP


def test_a_damaged_copy_is_fetched_after_all(server, tmp_path):
    fetch(server, tmp_path, Selection((110, 150)))
    path = tmp_path / "x.zip"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert fetch(server, tmp_path, Selection((110, 150, 151))) == []
    assert read(path) == chosen(110, 150, 151)


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("drop", at=60_000)],
        [Fault("status", at=503)],
        [Fault("", count=1), Fault("drop", at=2000, count=2)],
        [Fault("", count=1), Fault("corrupt", at=60_000)],
        [Fault("", count=1), Fault("corrupt", at=60_000, count=4)],
        [Fault("corrupt", at=len(ZIP) - 20)],
        [Fault("corrupt", at=len(ZIP) - 5000)],
        [Fault("", count=1), Fault("corrupt", at=60_000), Fault("corrupt", at=51_000)],
        [Fault("", count=1), Fault("shifted", at=10), Fault("long", at=50), Fault("nonsense")],
        [Fault("", count=1), Fault("whole")],
        [Fault("", count=1), Fault("redirect", to="/x.zip")],
    ],
)
def test_what_goes_wrong_under_way_is_healed(server, tmp_path, faults):
    server.faults["x.zip"] = faults
    numbers = (*range(105, 120), 150, 190)
    assert fetch(server, tmp_path, Selection(numbers)) == []
    assert read(tmp_path / "x.zip") == chosen(*numbers)
    assert not any(fault.count for fault in faults)


@pytest.mark.parametrize("at", [0, 1, 20, 4000, 5130, 5144, 30_000, -30, -1])
def test_a_part_that_was_cut_anywhere_is_gone_on_with(server, tmp_path, at):
    selection = Selection((100, 101, 150, 151, 190))
    fetch(server, tmp_path / "whole", selection)
    expected = (tmp_path / "whole/x.zip").read_bytes()
    server.faults["x.zip"] = [Fault("", count=2), Fault("status", at=503, count=-1)]
    assert len(fetch(server, tmp_path, selection, tries=2)) == 1
    (part,) = tmp_path.glob("x.zip.*.part")
    part.write_bytes(expected[: at if at >= 0 else len(expected) + at])
    server.faults.clear()
    server.log.clear()
    assert fetch(server, tmp_path, selection) == []
    assert (tmp_path / "x.zip").read_bytes() == expected
    if at < 0:
        assert len(server.requests("x.zip", "GET")) == 1  # the tail alone


def test_a_member_that_is_always_damaged_is_a_problem(server, tmp_path):
    server.faults["x.zip"] = [Fault("", count=1), Fault("corrupt", at=60_000, count=-1)]
    (problem,) = fetch(server, tmp_path, Selection(tuple(range(105, 120))))
    assert "member 'cam1/000111.png' does not have its CRC32" in problem.text
    assert not (tmp_path / "x.zip").exists()
    assert len(server.log) == 1 + 3 * 4  # three times its directory and three times it


def test_a_server_that_ignores_ranges_is_said(server, tmp_path):
    server.files["x.zip"] = zipped({f"{number:06d}.png": RNG.randbytes(200_000) for number in range(12)})
    server.ranges = False
    (problem,) = fetch(server, tmp_path, Selection((11,)))
    assert "the server ignores ranges" in problem.text


def test_a_zip_that_changes_under_way_is_begun_anew(server, tmp_path):
    other = zipped({name: data[::-1] for name, data in FRAMES.items()})
    server.faults["x.zip"] = [Fault("", count=2), Fault("changed", content=other)]
    assert fetch(server, tmp_path, Selection((105, 150, 190))) == []
    assert read(tmp_path / "x.zip") == {name: data[::-1] for name, data in chosen(105, 150, 190).items()}


@pytest.mark.parametrize(
    "kind", ["deflated", "descriptors", "comment", "prefix", "other names", "empty members", "replaced member", "zip64 extras"]
)
def test_zips_of_all_kinds(server, tmp_path, kind):
    members = {name: data[:50] * 100 for name, data in chosen(100, 101, 102).items()}
    if kind == "deflated":
        data = zipped(members, zipfile.ZIP_DEFLATED)
    elif kind in ("descriptors", "zip64 extras"):
        out = io.BytesIO()
        stream = out if kind == "zip64 extras" else type("Pipe", (), {"write": lambda self, b: out.write(b), "flush": lambda self: None})()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in members.items():
                with archive.open(name, "w", force_zip64=kind == "zip64 extras") as file:
                    file.write(content)
        data = out.getvalue()
    elif kind == "comment":
        data = zipped(members, comment=b"PK\x05\x06" + b"c" * 65_000)
    elif kind == "prefix":
        data = b"#!/bin/sh\n" * 50 + zipped(members)
    elif kind == "other names":
        members = {"Ü/000101.png": b"1", "a b/000102.png": b"2", "notes.txt": b"3"}
        data = zipped(members)
    elif kind == "empty members":
        members = {"000100.png": b"", "000101.png": b"x", "000102.png": b""}
        data = zipped(members)
    else:
        out = io.BytesIO(zipped({"000101.png": b"old"}))
        with pytest.warns(UserWarning), zipfile.ZipFile(out, "a") as archive:
            archive.writestr("000101.png", b"new")
        data, members = out.getvalue(), {"000101.png": b"new"}
    server.files["x.zip"] = data
    assert fetch(server, tmp_path, Selection((101, 102))) == []
    assert read(tmp_path / "x.zip") == {name: content for name, content in members.items() if "00101" in name or "00102" in name}
    path = tmp_path / "whole.zip"
    path.write_bytes(data)
    assert verify.zip_fault(path) == ""


def hostile(change):
    """A zip of two members, changed by hand: the entry of the second begins at `at`."""
    data = bytearray(zipped({"000101.png": b"a" * 500, "000102.png": b"b" * 500}))
    at = data.rfind(b"PK\x01\x02")
    change(data, at)
    return bytes(data)


def _put(form, offset, value):
    return lambda data, at: struct.pack_into(form, data, at + offset, value)


def _name(data, at):
    local = data.rfind(b"PK\x03\x04")
    for start in (local + 30, at + 46):
        data[start : start + 10] = b"../002.png"


HOSTILE = {
    "a name that leads out": (_name, "whose name has an empty part, . or .."),
    "an encrypted member": (_put("<H", 8, 1), "encrypted"),
    "another method": (_put("<H", 10, 12), "compressed otherwise"),
    "a member as large as a planet": (_put("<I", 20, 0xFFFFFFF0), "reaches into what follows"),
    "a member that lies elsewhere": (_put("<I", 42, 100), "member '000101.png' reaches into what follows"),
    "a header of another member": (
        lambda data, at: data.__setitem__(data.rfind(b"PK\x03\x04") + 30, 57), "no header of member '000102.png'",
    ),
    "a member beyond the end": (_put("<I", 42, 0xFFFFFF00), "reaches into what follows"),
    "members that overlap": (_put("<I", 42, 0), "reaches into what follows"),
    "more members than there is room": (
        lambda data, at: struct.pack_into("<H", data, data.rfind(b"PK\x05\x06") + 10, 900), "900 members in",
    ),
    "a directory before the beginning": (
        lambda data, at: struct.pack_into("<I", data, data.rfind(b"PK\x05\x06") + 12, 50_000), "is no whole zip",
    ),
    "no directory": (lambda data, at: data.__delitem__(slice(-22, None)), "it has no directory"),
    "a damaged entry": (lambda data, at: data.__setitem__(at, 0), "its directory is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_zip_that_lies_is_a_problem_and_no_file(server, tmp_path, name):
    change, message = HOSTILE[name]
    server.files["x.zip"] = hostile(change)
    (problem,) = fetch(server, tmp_path / "target", Selection((2, 101, 102)))
    assert message in problem.text
    assert [path.name for path in tmp_path.rglob("*.png")] == []
    assert not (tmp_path / "target/x.zip").exists()


def test_no_zip_at_all(server, tmp_path):
    server.files["x.zip"] = b"<html>Please log in</html>"
    for selection in (Selection((101,)), None):
        (problem,) = fetch(server, tmp_path, selection)
        assert "is no whole zip" in problem.text


def test_a_deflated_member_that_swells_is_damaged():
    bomb = zipped({"000101.png": b"\0" * 10_000_000}, zipfile.ZIP_DEFLATED)
    (member,) = zip_listing.read(lambda offset, count: bomb[offset : offset + count], len(bomb))
    check = verify.Check(member._replace(size=100))
    check.add(bomb[40 : 40 + member.packed])
    assert not check.whole and check._size <= 2 << 20  # no more was inflated


def test_offsets_beyond_4_gb_are_read(tmp_path):
    """A sparse file of 5 GB: the second member begins where 32 bits do not reach."""
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as archive:
        archive.writestr("000101.png", b"first")
        archive.fp.seek(5 << 30)
        archive.start_dir = 5 << 30
        archive.writestr("000102.png", b"second")
    if os.stat(tmp_path / "large.zip").st_blocks > 1 << 20:
        pytest.skip("this file system has no sparse files")
    with Server({"x.zip": tmp_path / "large.zip"}) as server:
        assert fetch(server, tmp_path, Selection((101, 102))) == []
        assert server.sent < 200_000
    assert read(tmp_path / "x.zip") == {"000101.png": b"first", "000102.png": b"second"}


def test_members_and_zips_beyond_4_gb_are_written(tmp_path):
    """The directory of a zip of 10 GB, as Python's own module reads it, and ours."""
    plain = {"flags": 0, "method": 0, "stamp": 0x58F15000, "attributes": 0, "limit": 0, "crc": 1}
    huge = zip_listing.Member(name=b"000101.png", packed=5 << 30, size=5 << 30, offset=0, **plain)
    members = [huge, huge._replace(name=b"000102.png"), huge._replace(name=b"000103.png", packed=5, size=5)]
    starts = subset.positions(members)
    path = tmp_path / "huge.zip"
    with open(path, "wb") as file:
        for member, start in zip(members, starts):
            file.seek(start)
            file.write(subset._local(member))
        file.seek(starts[-1])
        file.write(subset._directory(members, starts))
        assert file.tell() == subset.size(members)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        assert [(info.filename, info.file_size, info.header_offset) for info in infos] == [
            (member.text, member.size, start) for member, start in zip(members, starts)
        ]
        with archive.open(infos[1]) as content:  # its local header is read too
            assert content.read(4) == b"\0" * 4
    assert [(member.text, member.size, member.offset) for member in verify.listing(path)] == [
        (member.text, member.size, start) for member, start in zip(members, starts)
    ]


@pytest.mark.slow
def test_more_members_than_16_bits_count(tmp_path):
    data = zipped({f"{number:06d}": b"" for number in range(70_000)})
    with Server({"x.zip": data}) as server:
        assert fetch(server, tmp_path, Selection(tuple(range(1, 69_000)))) == []
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == [f"{number:06d}" for number in range(1, 69_000)]
