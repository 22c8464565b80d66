"""`ava ava256 download` as it is typed: tables, second runs, what is missing, Ctrl-C, one line on mistakes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
from download_server import Fault, Server
from published_tree import CSV, ONE, TWO, tree

from ava_jax.data.download import manifest

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def server():
    with Server(tree()) as running:
        yield running


@pytest.fixture
def ids(tmp_path):
    path = tmp_path / "256_ids.csv"
    path.write_text(CSV)
    return path


def start(server, folder, *args):
    command = [sys.executable, "-m", "ava_jax.bin.ava", "ava256", "download", f"--out={folder}", f"--base_url={server.url}", *args]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "no_proxy": "127.0.0.1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(server, folder, *args):
    """(exit status, stdout, stderr)."""
    process = start(server, folder, *args)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def test_from_a_dry_run_to_a_second_run(server, ids, tmp_path):
    folder = tmp_path / "DATA"
    args = [f"--captures_file={ids}", "-n", "1", "--assets=image,camera_calibration", "--segments=EXP_jaw"]
    status, out, err = run(server, folder, *args, "--dry_run")
    assert (status, err) == (0, "") and not folder.exists()
    total = int(re.search(r"^in all +6 +([\d.]+) kB +0 +0 bytes$", out, re.M)[1].partition(".")[0])  # 4 zips, calibration, frame list
    assert re.search(r"^image +4 +([\d.]+) kB +0 +0 bytes$", out, re.M)

    status, out, err = run(server, folder, *args)
    assert (status, err) == (0, "")
    assert re.fullmatch(rf"{folder}: 6 files; 6 fetched, [\d.]+ kB in \d+ s, 0 were there, 0 missing\n", out)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != manifest.FILE)
    assert abs(size - total * 1000) < 1000
    server.log.clear()
    status, out, err = run(server, folder, *args)
    assert (status, err, server.log) == (0, "", [])
    assert out == f"{folder}: 6 files; 0 fetched, 6 were there, 0 missing\n"


def test_what_is_missing_is_listed_and_fails_unless_allowed(server, ids, tmp_path):
    lacking = [f"{ONE}/decoder/segmentation_parts/cam400002.zip", f"{TWO}/decoder/uv_image/color.zip"]
    for path in lacking:
        del server.files[f"4TB/{path}"]
    args = [f"--captures={ids}", "--assets=segmentation_parts,uv_image"]
    status, out, err = run(server, tmp_path / "DATA", *args)
    assert status == 1
    assert err.splitlines() == [
        *(f"{path}: HTTP 404 Not Found" for path in lacking),
        "ava ava256 download: not all is there; listed above are 2 missing on the server (--allow_missing takes it so).",
    ]
    assert re.search(r": 16 files; 14 fetched, [\d.]+ kB in \d+ s, 0 were there, 2 missing\n$", out)
    status, out, err = run(server, tmp_path / "DATA", *args, "--allow_missing")
    assert status == 0 and err.splitlines() == [f"{path}: HTTP 404 Not Found" for path in lacking]
    server.faults[f"4TB/{lacking[0]}"] = [Fault("status", at=400, count=-1, method="*")]
    status, out, err = run(server, tmp_path / "DATA", *args, "--allow_missing")
    assert status == 1 and "1 missing on the server" in err and "1 failed: run the same again" in err


def test_ctrl_c_is_one_line_and_the_next_run_goes_on(server, tmp_path):
    server.rate = 20_000.0
    folder = tmp_path / "DATA"
    args = [f"--captures={ONE}", "--assets=head_pose", "--jobs=2"]
    process = start(server, folder, *args)
    file = f"4TB/{ONE}/decoder/head_pose/head_pose.zip"
    until = time.monotonic() + 300
    while not list(folder.rglob("*.part")) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines() == ["ava ava256 download: stopped by Ctrl-C."]
    (part,) = folder.rglob("*.part")
    assert 0 < part.stat().st_size < len(server.files[file])
    server.rate = 0.0
    server.log.clear()
    assert run(server, folder, *args)[0] == 0
    assert [one[2] for one in server.requests(file, "GET")][0].startswith("bytes=")
    assert (folder / ONE / "decoder/head_pose/head_pose.zip").read_bytes() == server.files[file]


def test_mistakes_are_one_line(server, ids, tmp_path):
    for args, message in (
        ([], "which captures?"),
        ([f"--captures={ONE}", "--assets=images"], "--assets=images: there is none of that name"),
        ([f"--captures={ONE}", "--frames=a"], "--frames must be a list of whole numbers"),
    ):
        status, out, err = run(server, tmp_path / "DATA", *args)
        assert (status, out) == (1, "") and message in err and err.count("\n") == 1
    assert server.log == []


def test_verify_finds_rot_that_nothing_shows(server, tmp_path):
    folder, args = tmp_path / "DATA", [f"--captures={ONE}", "--assets=head_pose"]
    run(server, folder, *args)
    path = folder / ONE / "decoder/head_pose/head_pose.zip"
    stat, sound = path.stat(), path.read_bytes()
    path.write_bytes(sound[:5000] + b"?" + sound[5001:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    status, out, err = run(server, folder, *args, "--verify")
    assert (status, err) == (0, "") and "1 file; 1 fetched" in out
    assert path.read_bytes() == sound
    assert json.loads((folder / manifest.FILE).read_text())["format"] == "ava_jax download 1"


def test_a_file_in_the_folders_stead_is_told(server, ids):
    status, _, err = run(server, ids, f"--captures_file={ids}")
    assert (
        status == 1
        and err == f"ava ava256 download: --out={ids}: is a file; it must be a folder, new or one that was downloaded into before.\n"
    )
