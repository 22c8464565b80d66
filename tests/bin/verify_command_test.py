"""The command `ava verify`: what it prints and writes, and how it exits."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def verify(*words: str | pathlib.Path, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "ava_jax.bin.ava", "verify", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)


def test_sound_captures_exit_0_and_a_broken_one_1(tiny_capture, tmp_path):
    shutil.copytree(tiny_capture, tmp_path / "captures")
    done = verify("captures", "--json=report.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 captures: 2 sound, 0 doubtful, 0 broken; 0 faults" in done.stdout and "wrote report.json" in done.stdout
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["sound"] == 2

    zips = sorted((tmp_path / "captures").glob("*/decoder/image/*.zip"))
    zips[0].write_bytes(zips[0].read_bytes()[:-50])
    capture = zips[0].parents[2]
    done = verify(capture, "--data=captures", "--images=none", "--json=report.json", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"decoder/image/{zips[0].name}" in done.stdout and "-> fetch the file again" in done.stdout
    tree = json.loads((tmp_path / "report.json").read_text())
    assert tree["format"] == 1 and tree["options"] == {"images": "none", "samples": 3, "crc": False, "repair": False}
    (fault,) = [found for one in tree["captures"] for found in one["findings"] if found["level"] == "fault"]
    assert fault["file"] == f"decoder/image/{zips[0].name}" and fault["kind"] == "image" and fault["refetch"] and fault["action"]
    assert {one["name"]: one["state"] for one in tree["captures"]}[capture.name] == "broken"
    assert tree["totals"]["captures"] == 2 and tree["totals"]["broken"] == 1


def test_mistakes_are_one_line(tmp_path):
    for words, said in (
        ((), "ava verify: name a capture or a folder of captures"),
        (("absent",), "no such folder; give a capture or a folder of captures"),
        ((tmp_path,), "no capture there"),
        ((tmp_path, "--images=few"), "--images"),
        ((tmp_path, "--json=absent/report.json"), "--json=absent/report.json: there is no such folder"),
    ):
        done = verify(*words, cwd=tmp_path)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, done.stderr
