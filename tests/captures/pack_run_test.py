"""Packing as a run: killed and gone on with, refused, damaged sources and shards, the disk, the command, Beam."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from ava_jax.captures import ava256, capture_set
from ava_jax.captures.packed import beam, index, pack, plan, shards
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.packed.plan import Settings
from ava_jax.data import archive

_SMALL = 20_000  # bytes: several shards of a kind
NAMES = ["20260101--0900--SYN001", "20260102--0901--SYN002"]


def _content(folder):
    """What a set holds, but for where its source lay: digests by path."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.name == "packed.json" and path.parent != folder:
            data = json.dumps(json.loads(data) | {"source": ""}).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


@pytest.fixture(scope="module")
def expected(tiny_capture, tmp_path_factory):
    out = tmp_path_factory.mktemp("expected") / "set"
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    return _content(out)


@pytest.fixture
def own(tiny_capture, tmp_path):
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


def test_processes_write_the_same_bytes(tiny_capture, tmp_path, expected):
    pack.pack(str(tiny_capture), tmp_path / "set", Settings(), shard_bytes=_SMALL, jobs=2)
    assert _content(tmp_path / "set") == expected


def test_stopped_after_any_shard_it_goes_on_and_keeps_whole_ones(tiny_capture, tmp_path, expected, monkeypatch):
    """Stopped again and again, always one shard later; what was whole is not written anew."""
    real, calls = shards.pack_shard, []
    out = tmp_path / "set"

    def once(folder, kind, number):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append((folder, kind, number))
        real(folder, kind, number)

    seen = {}
    monkeypatch.setattr(shards, "pack_shard", once)
    for _ in range(100):
        calls.clear()
        try:
            pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
        except KeyboardInterrupt:
            with pytest.raises(ValueError, match=r"was not packed.*; run the same ava pack again, which goes on\."):
                capture_set.load(str(out))
            for path in out.glob("*/records/*"):
                assert seen.setdefault(path, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        else:
            break
    assert len(seen) > 8 and _content(out) == expected
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/**/*") if path.is_file()}
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("*/**/*") if path.is_file()}


def _command(*flags, **env):
    words = [sys.executable, "-m", "ava_jax.bin.ava", "pack", *flags]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | env, start_new_session=True)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(tiny_capture, tmp_path):
    """kill -9 of the command alone: its processes end with it, and nothing of theirs is left over."""
    flags = [f"--data={tiny_capture}", "--shard_mb=1", "--quality=60", "--jobs=2"]
    out, rng = tmp_path / "set", np.random.default_rng(0)
    once = _command(*flags, f"--out={tmp_path / 'once'}")
    said = once.communicate(timeout=600)
    assert once.returncode == 0, said
    for _ in range(6):
        running = _command(*flags, f"--out={out}")
        wait = time.monotonic() + float(rng.uniform(0, 3))
        while not out.is_dir() and time.monotonic() < wait + 60:
            time.sleep(0.02)
        time.sleep(max(wait - time.monotonic(), 0.0))
        running.send_signal(signal.SIGKILL)
        running.wait()
        deadline = time.monotonic() + 60
        while _in_group(running.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _in_group(running.pid)
    last = _command(*flags, f"--out={out}")
    said = last.communicate(timeout=600)
    assert last.returncode == 0, said
    assert _content(out) == _content(tmp_path / "once")
    assert not [path for path in out.rglob(".*")]


def _in_group(group):
    """Whether a process of a session is still running, the reaped and the dead left out."""
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def test_killed_between_its_last_two_deeds_it_is_packed(tiny_capture, tmp_path, expected):
    """The index is written and the plan partly taken away; and before that, the plan's folder made and nothing in it."""
    out = tmp_path / "set"
    (out / NAMES[0] / "packing").mkdir(parents=True)
    plan.write_set(out, Settings(), NAMES, None)
    (out / ".packed.json.01234567").write_bytes(b"ha")
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    assert _content(out) == expected
    (out / NAMES[0] / "packing").mkdir()
    (out / NAMES[0] / "packing" / "image-00001.json").write_text("{}")
    capture_set.load(str(out))
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    assert _content(out) == expected


def test_what_is_left_of_a_killed_process_is_taken_away(tiny_capture, tmp_path, expected):
    out = tmp_path / "set"
    job = pack.prepare(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    shards.pack_shard(*pack.work(job)[0])
    (rest := out / NAMES[0] / "records" / ".image-00000-of-00009.arrayrecord.0a0b0c0d").write_bytes(b"half")
    whole = next((out / NAMES[0] / "records").glob("frame*"))
    whole.write_bytes(whole.read_bytes()[:-5])  # a note without its shard, as after a disk's failure
    pack.pack(str(tiny_capture), out, Settings(), shard_bytes=_SMALL)
    assert not rest.exists() and _content(out) == expected


def test_folders_that_are_refused(own, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    cases = {
        tmp_path / "other": r"other: is there already, and nothing that ava pack wrote; --out must be a new folder\.",
        own: r"captures is inside the captures of --data=",
        own / NAMES[0] / "packed": r"packed is inside the captures of --data=",
    }
    for out, message in cases.items():
        with pytest.raises(ValueError, match=message):
            pack.pack(str(own), out, Settings())
    assert os.listdir(tmp_path / "other") == ["thesis.tex"]
    with pytest.raises(ValueError, match=r"nothing: there is no such folder"):
        pack.pack(str(tmp_path / "nothing"), tmp_path / "set", Settings())
    assert not (tmp_path / "set").exists()
    pack.pack(str(own), tmp_path / "set", Settings())
    with pytest.raises(ValueError, match=r"set: was begun with --quality=0; give the same, or take another --out\."):
        pack.pack(str(own), tmp_path / "set", Settings(quality=50))
    archive.write(own / NAMES[1] / "decoder" / "head_pose" / "head_pose.zip", [("001000.txt", b"1 0 0 0 0 1 0 0 0 0 1 0")])
    with pytest.raises(ValueError, match=rf"{NAMES[1]}: has changed since .*{NAMES[1]} was begun; remove that and pack again\."):
        pack.pack(str(own), tmp_path / "set", Settings())


def test_settings_that_are_refused():
    cases = {"downsample": -1, "quality": 101, "crop": "hand", "margin": -0.5}
    for name, value in cases.items():
        with pytest.raises(ValueError, match=f"--{name} must be"):
            Settings(**{name: value})


def test_people_who_join_a_set(own, tmp_path):
    shutil.move(own / NAMES[1], tmp_path / NAMES[1])
    out = tmp_path / "set"
    pack.pack(str(own), out, Settings(crop="head", margin=0.0))
    first = json.loads((out / "packed.json").read_text())
    shutil.move(tmp_path / NAMES[1], own / NAMES[1])
    pack.pack(str(own), out, Settings(crop="head", margin=0.0))
    second = json.loads((out / "packed.json").read_text())
    assert first["captures"] == NAMES[:1] and second == first | {"captures": NAMES}
    small = tmp_path / "small"
    shutil.copytree(out / NAMES[0], small / NAMES[0])
    (small / "packed.json").write_text(json.dumps(first | {"crop": {"height": 40, "width": 40, "scale": 64}}))
    with pytest.raises(
        ValueError, match=rf"{NAMES[1]}: camera \d+ needs a crop of \d+ x \d+, and .*small has crops of 40 x 40; take another"
    ):
        pack.pack(str(own), small, Settings(crop="head", margin=0.0))


def test_the_disk_is_looked_at_first(own, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
    for settings in (Settings(), Settings(quality=20)):
        with pytest.raises(ValueError, match=r"about [\d.]+ [kM]B are needed, 1 kB are free"):
            pack.pack(str(own), tmp_path / f"set{settings.quality}", settings)
        assert not list((tmp_path / f"set{settings.quality}").glob("*/records/*"))


def _replace(path, which, content, damaged=False):
    """Another content for one member of a zip; `damaged`: bytes that its checksum does not fit."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = sorted(members)[which]
    data = members[name]
    archive.write(path, [(n, content if n == name and not damaged else d) for n, d in members.items()])
    if damaged:
        raw = path.read_bytes()
        at = raw.find(data[:40]) + 20
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :])
    return int(pathlib.PurePath(name).stem)


def test_damaged_files_are_told_and_what_is_no_picture_stays_what_it_is(own, tmp_path):
    """Kept as they are, files are not decoded: training tells, as of zips. Encoded anew, they are left out and told here."""
    images = sorted((own / NAMES[0] / "decoder" / "image").glob("*.zip"))
    damaged = _replace(images[0], 0, b"", damaged=True)
    no_picture = _replace(images[1], 1, b"no picture")
    kept = pack.pack(str(own), tmp_path / "kept", Settings())
    assert len(kept.unreadable) == 1 and f"{images[0]}, frame {damaged}: " in kept.unreadable[0] and "checksum" in kept.unreadable[0]
    anew = pack.pack(str(own), tmp_path / "anew", Settings(quality=50))
    assert len(anew.unreadable) == 2 and f"{images[1]}, frame {no_picture}: " in anew.unreadable[1]
    for name, missing in (("kept", [True, False]), ("anew", [True, True])):
        found = capture_set.load(str(tmp_path / name))
        for path, number, gone in zip(images[:2], (damaged, no_picture), missing):
            there = found.archives.has(found.captures[0].decoder / path.relative_to(own / NAMES[0] / "decoder"), number)
            assert there != gone
    again = pack.pack(str(own), tmp_path / "kept", Settings())
    assert again == kept  # it is told again


def test_damaged_shards_and_indexes_are_named(tiny_capture, tmp_path):
    out = tmp_path / "set"
    pack.pack(str(tiny_capture), out, Settings())
    capture = ava256.load(out / NAMES[0])
    (shard,) = (out / NAMES[0] / "records").glob("image-*")
    raw = shard.read_bytes()
    path, frames = capture.image(capture.cameras[0]), capture.frames.tolist()
    begin = raw.find(RecordArchives().read(path, frames[0]))
    assert begin > 0
    for at in range(begin - 40, begin + 400, 97):  # the header of the record, and its content
        shard.write_bytes(raw[:at] + bytes([raw[at] ^ 255]) + raw[at + 1 :])
        faults = []
        for camera in capture.cameras:
            for frame in frames:
                try:
                    RecordArchives().read(capture.image(camera), frame)
                except ValueError as e:
                    faults.append(str(e))
        assert faults and all(str(shard) in fault and "again" in fault and "\n" not in fault for fault in faults)
    for change, message in ((raw[: len(raw) // 2], "not a whole ArrayRecord file"), (None, "no such file")):
        shard.unlink() if change is None else shard.write_bytes(change)
        with pytest.raises(ValueError, match=f"{shard}, record .*{message}; pack the capture again"):
            RecordArchives().read(path, frames[0])
    bits = out / NAMES[0] / index.BITS
    bits.write_bytes(bits.read_bytes()[:100])
    index._load.cache_clear()
    with pytest.raises(ValueError, match=f"{NAMES[0]}: its packed index cannot be read"):
        ava256.load(out / NAMES[0])
    shutil.rmtree(out / NAMES[1])
    with pytest.raises(ValueError, match=f"{NAMES[1]}: was not packed; run the same ava pack again"):
        ava256.find(str(out), "")


@pytest.mark.slow
def test_the_command(own, tmp_path):
    flags = [f"--data={own}", f"--out={tmp_path / 'set'}", "--jobs=1"]
    done = _command(*flags)
    said, progress = done.communicate(timeout=600)
    assert done.returncode == 0 and said.startswith(f"{tmp_path / 'set'}: 2 captures, ") and "sensor 4096 x 2668" in said
    assert "B/s" in progress and not (tmp_path / "set" / ".lock").exists()
    for more, message in (
        (["--height=500"], "--height must be the sensor's 4096 over a whole number; got 500, the nearest are 455 or 512."),
        (["--height=512", "--downsample=8"], "--height and --downsample say the same in two ways; give one."),
        (["--runner=NoSuchRunner", f"--out={tmp_path / 'beam'}"], "--runner=NoSuchRunner: Beam cannot start it"),
    ):
        done = _command(*flags, *more)
        said = done.communicate(timeout=600)[1].strip().splitlines()[-1]
        assert done.returncode == 1 and message in said


@pytest.mark.slow
@pytest.mark.parametrize("settings", [Settings(), Settings(crop="head", quality=80, margin=0.0)], ids=["kept", "cropped"])
def test_beam_writes_the_same_bytes(tiny_capture, tmp_path, settings):
    here = pack.pack(str(tiny_capture), tmp_path / "here", settings, shard_bytes=_SMALL)
    there = beam.pack(str(tiny_capture), tmp_path / "there", settings, runner="DirectRunner", shard_bytes=_SMALL)
    assert here == there and _content(tmp_path / "here") == _content(tmp_path / "there")
    assert beam.pack(str(tiny_capture), tmp_path / "there", settings, runner="DirectRunner", shard_bytes=_SMALL) == here


def test_without_beam_it_is_one_line_and_nothing_else_needs_it(tiny_capture, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ValueError, match=r"--runner needs Apache Beam, which is not installed .*ava-jax\[beam\]"):
        beam.pack(str(tiny_capture), tmp_path / "set", Settings(), runner="DirectRunner")
    assert not (tmp_path / "set").exists()
    pack.pack(str(tiny_capture), tmp_path / "set", Settings())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("absent", "there is no such folder; give the folder that holds the captures"),
        ("captures/ids.csv", "is a file; give the folder that holds the captures"),
        (f"captures/{NAMES[0]}", "is a capture, or in one; give the folder that holds the captures"),
        (f"captures/{NAMES[0]}/decoder/image", "is a capture, or in one; give the folder that holds the captures"),
        (".", "no capture there, but in captures; give that folder"),
        ("empty", "no capture there (a folder <mcd>--<mct>--<sid> with decoder/ inside)"),
    ],
)
def test_another_folder_than_the_captures_is_named_and_nothing_is_written(own, tmp_path, monkeypatch, data, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError) as error:
        pack.find(data, tmp_path / "out")
    assert said in str(error.value) and not (tmp_path / "out").exists()
