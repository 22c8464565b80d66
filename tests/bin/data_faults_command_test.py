"""Faulty data, met by `ava-train` at its start: one plain line, status 1, nothing written."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


FAULTS = {
    "a truncated zip": (lambda root: _cut(next(root.glob("*SYN002/decoder/image/cam401168.zip"))), "cam401168.zip: not a whole zip"),
    "a frame list of another capture": (
        lambda root: next(root.glob("*SYN001/decoder/frame_list.csv")).write_text("seg_id,frame_id\nEXP_neutral_peak,7\nEXP_jaw_open,8\n"),
        "frame_list.csv does not match the zips",
    ),
    "no calibration": (
        lambda root: next(root.glob("*SYN001/decoder/camera_calibration.json")).unlink(), "camera_calibration.json: cannot be read",
    ),
    "no topology": (lambda root: (root / "face_topology.obj").unlink(), "face_topology.obj: cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_data_is_one_plain_line(tiny_capture, tmp_path, fault):
    root = pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))
    spoil, message = FAULTS[fault]
    spoil(root)
    command = [sys.executable, "-m", "ava_jax.bin.train", "--config=ava256:tiny", f"--config.data.root={root}", "--workdir=run"]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
