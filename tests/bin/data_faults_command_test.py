"""Faulty data, met by `ava-train` at its start: one plain line, status 1, nothing written."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from ava_jax.data import archive, images

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def _cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def _recalibrate(root, change):
    for path in root.glob("*/decoder/camera_calibration.json"):
        tree = json.loads(path.read_text())
        for entry in tree["KRT"]:
            entry["T"] = change(np.array(entry["T"])).tolist()
        path.write_text(json.dumps(tree))


def _compress(path):
    with zipfile.ZipFile(path) as z:
        members = [(name, z.read(name)) for name in z.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as z:
        for name, data in members:
            z.writestr(name, data)


def _turn_images(root):
    for path in root.glob("*/decoder/image/cam*.zip"):
        with zipfile.ZipFile(path) as z:
            members = [(name, images.encode(np.rot90(images.decode(z.read(name))), "png")) for name in z.namelist()]
        archive.write(path, members)


FAULTS = {
    "images on their side": (_turn_images, "frame 1000: a picture of 64 x 41 pixels (width x height) does not fit 2668 x 4096"),
    "T not transposed": (
        lambda root: _recalibrate(root, np.transpose), "camera_calibration.json: camera 400008: T is not transposed; this layout stores it",
    ),
    "T in metres": (
        lambda root: _recalibrate(root, lambda t: t * [[1.0], [1], [1], [0.001]] + [[0] * 4, [0] * 4, [0] * 4, [0, 0, 0, 0.999]]),
        "camera 400008: 0% of the face falls inside its images (3 of 3 cameras are below 50%); it would with T changed so: metres to mm?",
    ),
    "a zip of another compression": (
        lambda root: _compress(next(root.glob("*SYN001/decoder/image/cam400008.zip"))),
        "is compressed with bzip2; members must be stored or deflated. Write it anew: unzip cam400008.zip",
    ),
    "a topology without UVs at corners": (
        lambda root: (root / "face_topology.obj").write_text(re.sub(r"/\d+", "", (root / "face_topology.obj").read_text())),
        "each corner of a face must name a vertex and a UV, 'f v/vt v/vt v/vt'; got 'f ",
    ),
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
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
