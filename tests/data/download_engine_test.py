"""The manifest and what follows from it: second runs, rot, changes on the server; space, paths, locks, parallel work."""

import collections
import errno
import io
import json
import os
import pathlib
import random
import re
import shutil
import threading
import time
import zipfile

import pytest
from download_server import Fault, Server

from ava_jax.data.download import manifest, parallel, paths, progress
from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download, Item, Selection

RNG = random.Random(11)


def zipped(count=20, size=4000):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number:06d}.png"), RNG.randbytes(size))
    return out.getvalue()


FILES = {f"{folder}/{name}": content for folder in "ab" for name, content in {
    "one.zip": zipped(), "two.zip": zipped(), "three.csv": b"a,b\n1,2\n", "four.bin": RNG.randbytes(90_000),
}.items()}  # fmt: skip


@pytest.fixture
def server():
    with Server(FILES) as running:
        running.multipart |= {name for name in FILES if name.endswith(".zip")}
        yield running


def download(server, folder, files=FILES, selection=None, **options):
    """Runs it; the plan and the problems."""
    one = Download(folder, Client(tries=3, first_wait=0.01, timeout=5), shown=False, **options)
    plan = one.plan([Item(file, server.url + file, selection=selection if file.endswith("zip") else None) for file in files])
    return plan, plan.problems + ([] if options.get("dry") else one.run(plan.tasks))


def same(server, folder, files=FILES):
    return all((folder / file).read_bytes() == server.files[file] for file in files)


def test_a_second_run_asks_nothing_and_writes_nothing(server, tmp_path):
    assert download(server, tmp_path)[1] == [] and same(server, tmp_path)
    server.log.clear()
    before = (tmp_path / manifest.FILE).stat()
    plan, problems = download(server, tmp_path)
    assert (plan.tasks, problems, server.log) == ([], [], [])
    assert sum(size for _, size in plan.kept) == sum(map(len, FILES.values()))
    after = (tmp_path / manifest.FILE).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_second_run_of_ten_thousand_files_is_instant(tmp_path):
    entries = {}
    for number in range(10_000):
        path = tmp_path / f"{number % 100}/{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        entries[f"{number % 100}/{number}"] = manifest.Entry(f"http://127.0.0.1:9/{number}", 1, 0, path.stat().st_mtime_ns, time.time())
    kept = manifest.Manifest(tmp_path)
    kept.files, kept._changed = entries, True
    kept.save()
    begun = time.process_time()
    plan = Download(tmp_path, shown=False).plan([Item(path, entry.url) for path, entry in entries.items()])
    assert len(plan.kept) == 10_000
    assert time.process_time() - begun < 10  # 0.3 s of CPU on an idle machine, minutes if each were compared with all


@pytest.mark.parametrize("hidden", [False, True], ids=["seen by its time of change", "hidden: --verify reads it"])
@pytest.mark.parametrize("rot", ["flipped", "cut", "gone", "longer"])
def test_what_rotted_is_repaired_and_the_rest_left_alone(server, tmp_path, rot, hidden):
    download(server, tmp_path)
    path = tmp_path / "a/one.zip"
    stat, content = path.stat(), bytearray(path.read_bytes())
    if rot == "flipped":
        content[30_000] ^= 4
    content = content[:100] if rot == "cut" else content + b"x" if rot == "longer" else content
    path.write_bytes(content)
    if hidden:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    if rot == "gone":
        path.unlink()
    server.log.clear()
    if hidden and rot == "flipped":
        assert download(server, tmp_path)[0].tasks == []
    assert download(server, tmp_path, verify=hidden)[1] == []
    assert same(server, tmp_path)
    assert {one[1] for one in server.log} == {"a/one.zip"}


def test_a_file_that_was_touched_is_read_once_not_fetched(server, tmp_path):
    download(server, tmp_path)
    os.utime(tmp_path / "a/one.zip")
    server.log.clear()
    download(server, tmp_path)
    kept = manifest.Manifest(tmp_path).files["a/one.zip"]
    assert server.log == [] and kept.mtime == (tmp_path / "a/one.zip").stat().st_mtime_ns


def test_an_older_copy_gets_what_changed_and_keeps_the_rest(server, tmp_path):
    download(server, tmp_path)
    server.files["a/one.zip"] = zipped(21)  # another size, another ETag
    server.files["b/four.bin"] = FILES["b/four.bin"][::-1]  # the same size, another ETag
    server.log.clear()
    assert download(server, tmp_path)[0].tasks == []  # what was confirmed a moment ago is taken to be so still
    plan, problems = download(server, tmp_path, fresh=0.0)
    assert problems == [] and same(server, tmp_path)
    assert sorted(task.item.path for task in plan.tasks) == ["a/one.zip", "b/four.bin"]
    assert collections.Counter(one[0] for one in server.log) == {"HEAD": len(FILES), "GET": 2}
    server.log.clear()
    assert download(server, tmp_path)[0].tasks == [] and server.log == []


def test_the_old_file_stays_until_the_new_one_is_whole(server, tmp_path):
    download(server, tmp_path)
    server.files["a/four.bin"] = FILES["a/four.bin"][::-1]
    server.faults["a/four.bin"] = [Fault("drop", at=10, count=-1)]
    (problem,) = download(server, tmp_path, fresh=0.0)[1]
    assert problem.path == "a/four.bin"
    assert (tmp_path / "a/four.bin").read_bytes() == FILES["a/four.bin"]


def test_files_of_another_program_are_kept_where_they_fit(server, tmp_path):
    for file, content in FILES.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content)
    (tmp_path / "a/two.zip").write_bytes(FILES["a/two.zip"][:-10])  # as a download that broke leaves it
    content = bytearray(FILES["b/one.zip"])
    content[1000] ^= 1
    (tmp_path / "b/one.zip").write_bytes(content)
    assert download(server, tmp_path)[1] == [] and same(server, tmp_path)
    assert {one[1] for one in server.requests(method="GET")} == {"a/two.zip", "b/one.zip"}
    server.log.clear()
    assert download(server, tmp_path)[0].tasks == [] and server.log == []


def test_a_smaller_zip_rots_and_only_the_damaged_member_comes(server, tmp_path):
    chosen = Selection((1, 10, 19))
    download(server, tmp_path, ["a/one.zip"], chosen)
    path = tmp_path / "a/one.zip"
    sound = path.read_bytes()
    content = bytearray(sound)
    content[6000] ^= 1
    path.write_bytes(content)
    server.log.clear()
    assert download(server, tmp_path, ["a/one.zip"], chosen)[1] == []
    assert path.read_bytes() == sound
    assert len(server.requests(method="GET")) == 2  # the directory, and one member


def test_again_fetches_whatever_is_there(server, tmp_path):
    download(server, tmp_path)
    server.log.clear()
    one = Download(tmp_path, Client(tries=2, first_wait=0.01), shown=False)
    problems = one.again(["a/three.csv", "b/one.zip", "nowhere"])
    assert [(problem.path, problem.text) for problem in problems] == [("nowhere", "not in the manifest")]
    assert {one[1] for one in server.requests(method="GET")} == {"a/three.csv", "b/one.zip"}


def test_a_dry_run_writes_nothing_and_knows_the_bytes(server, tmp_path):
    target = tmp_path / "target"
    plan = download(server, target, ["a/one.zip", "a/three.csv"], Selection((1, 10, 19)), dry=True)[0]
    assert not target.exists()
    download(server, target, ["a/one.zip", "a/three.csv"], Selection((1, 10, 19)))
    assert {task.item.path: task.bytes for task in plan.tasks} == {
        "a/one.zip": (target / "a/one.zip").stat().st_size, "a/three.csv": len(FILES["a/three.csv"]),
    }  # fmt: skip


def test_a_full_disk_is_found_before_a_byte_is_fetched(server, tmp_path, monkeypatch):
    one = Download(tmp_path / "not/there/yet", Client(), shown=False)
    plan = one.plan([Item("a/one.zip", server.url + "a/one.zip")])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: collections.namedtuple("Usage", "free")(free=1000))
    with pytest.raises(ValueError, match=r"81\.9 kB are to come, and 1 kB are free \(the largest file is a/one\.zip"):
        one.require_space(plan.tasks)
    assert server.requests(method="GET") == []


def test_a_disk_that_fills_ends_it_and_keeps_what_is_whole(server, tmp_path, monkeypatch):
    write, files = os.write, sorted(FILES)

    def full(descriptor, data):
        if "four.bin" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        download(server, tmp_path, sorted(files, key=lambda file: "four" in file), jobs=1)
    monkeypatch.undo()
    server.log.clear()
    assert download(server, tmp_path)[1] == [] and same(server, tmp_path)
    assert {one[1] for one in server.log} == {"a/four.bin", "b/four.bin"}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//x", "a/./x", "", "C:/x", "a\\..\\x", "a/\0", "n" * 300])
def test_nothing_is_written_outside_of_the_target(server, tmp_path, path):
    assert paths.fault(path)
    with pytest.raises(ValueError, match="files are written below it"):
        Download(tmp_path / "target", Client(), shown=False).plan([Item(path, server.url + "a/three.csv")])
    damaged = {
        "format": "ava_jax download 1",
        "selections": {},
        "files": {path: {"url": "x", "size": 1, "crc": 1, "mtime": 1, "checked": 1}},
    }
    (tmp_path / manifest.FILE).write_text(json.dumps(damaged))
    with pytest.raises(ValueError, match="a path in it"):
        Download(tmp_path, Client())
    assert server.log == [] and sorted(one.name for one in tmp_path.iterdir()) == [manifest.FILE]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": "2"}', '{"format": "ava_jax download 1", "selections": {}, "files": {"a": {"x": 1}}}']
)
def test_a_damaged_manifest_is_one_line(tmp_path, text):
    (tmp_path / manifest.FILE).write_text(text)
    with pytest.raises(ValueError, match=r"ava_download\.json: cannot be read .* Delete it") as error:
        Download(tmp_path)
    assert "\n" not in str(error.value)


def test_one_download_at_a_time(tmp_path):
    with manifest.locked(tmp_path), pytest.raises(ValueError, match="another process downloads into it"), manifest.locked(tmp_path):
        pass
    with manifest.locked(tmp_path):
        pass


def test_a_folder_in_the_way_is_a_problem_of_that_file_alone(server, tmp_path):
    (tmp_path / "a/three.csv/x").mkdir(parents=True)
    (problem,) = download(server, tmp_path)[1]
    assert problem.path == "a/three.csv" and not problem.missing
    assert same(server, tmp_path, [file for file in FILES if file != "a/three.csv"])


def test_a_lost_connection_ends_it_rather_than_failing_each_file(tmp_path):
    server = Server({f"{number}.bin": b"x" for number in range(500)})
    with server:
        one = Download(tmp_path, Client(tries=2, first_wait=0.001), shown=False, jobs=4)
        plan = one.plan([Item(file, server.url + file) for file in server.files])
    one.client._connections.close_all()
    with pytest.raises(ConnectionError, match="goes on where it stopped"):
        one.run(plan.tasks)


def test_files_come_at_once(server, tmp_path):
    """Eight connections: the server sends nothing before all eight files are asked for."""
    files = [f"{number}.bin" for number in range(8)]
    server.files |= dict.fromkeys(files, RNG.randbytes(30_000))
    server.together = threading.Barrier(8)
    one = Download(tmp_path, Client(tries=1, timeout=600), shown=False, jobs=8)
    assert one.run(one.plan([Item(file, server.url + file) for file in files]).tasks) == []
    assert same(server, tmp_path, files) and not server.together.broken


def test_connections_are_used_again(server, tmp_path):
    one = Download(tmp_path, Client(), shown=False, jobs=1)
    opened = []
    new = one.client._connections._new
    one.client._connections._new = lambda *args: opened.append(args) or new(*args)
    one.run(one.plan([Item(file, server.url + file) for file in FILES]).tasks)
    assert len(opened) == 2  # one thread planned, one fetched


def test_an_error_in_one_thread_ends_the_others():
    ended, stopped = threading.Event(), threading.Event()

    def work(number):
        if number == 3:
            raise KeyError(number)
        if number > 3:
            ended.wait(5)
        return number

    def stop():
        stopped.set()
        ended.set()

    with pytest.raises(KeyError):
        list(parallel.each(work, range(1000), 4, stop))
    assert stopped.is_set()
    assert sorted(parallel.each(lambda number: number, range(100), 4, stop)) == list(range(100))


def test_progress_says_bytes_per_second_and_what_is_left(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_DELAY", 0.0)
    monkeypatch.setattr(progress, "_BETWEEN", 0.0)
    monkeypatch.setenv("COLUMNS", "100")
    one = Download(tmp_path, Client(first_wait=0.01))
    server.rate = 200_000.0
    assert one.run(one.plan([Item(file, server.url + file) for file in FILES]).tasks) == []
    err = capsys.readouterr().err
    assert re.search(r"\d+% [\d.]+k of 508k, [\d.]+[kM]?B/s, \d\d:\d\d left, \d of 8 files", err), err[-300:]
    with progress.Progress(1000, 1) as bar:
        bar.count(600)
        bar.count(-600)  # thrown away, and comes again
        bar.expect(100)
        assert (bar._bar.n, bar._bar.total) == (600, 1700)


def test_parts_are_named_by_their_state(tmp_path):
    path = tmp_path / "a.zip"
    one, other = paths.part(path, "1"), paths.part(path, "2")
    assert one != other and one.parent == path.parent
    for file in (one, other, tmp_path / "a.zip.part", tmp_path / "b.zip.000000000000.part"):
        file.touch()
    assert set(paths.parts(path)) == {one, other}
    assert paths.parts(pathlib.Path(tmp_path / "none/x")) == []
