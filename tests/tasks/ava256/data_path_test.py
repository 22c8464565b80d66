"""The way of the data whole, by the commands: download, verify, pack, verify, two steps of training from the packed set by a split file."""

import json
import os
import subprocess
import sys

import pytest
from download_server import Server

from ava_jax.captures import published

pytestmark = pytest.mark.slow


def test_from_the_server_to_a_trained_step(tiny_capture, tmp_path, compiling_quickly):
    def ava(*args: str) -> str:
        command = [sys.executable, "-m", "ava_jax.bin.ava", *args]
        env = os.environ | compiling_quickly | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    assets = ",".join(name for name, asset in published.ASSETS.items() if not asset.optional and name != "encoder")
    files = {f"4TB/{path.relative_to(tiny_capture)}": path for path in tiny_capture.glob("*/decoder/**/*.*")}
    with Server(files) as server:
        ava("ava256", "download", "--out=DATA", f"--base_url={server.url}", f"--captures={tiny_capture / 'ids.csv'}", f"--assets={assets}")
    (tmp_path / "DATA" / "face_topology.obj").write_bytes((tiny_capture / "face_topology.obj").read_bytes())
    assert "2 captures: 2 sound" in ava("verify", "DATA", "--images=all", "--crc")
    assert "PACKED: 2 captures" in ava("pack", "--data=DATA", "--out=PACKED", "--jobs=1")
    assert "2 captures: 2 sound" in ava("verify", "PACKED", "--images=all")
    split = {"validation": {"segments": ["EXP_free_face"]}, "test": {"people": ["SYN002"]}}
    (tmp_path / "split.json").write_text(json.dumps(split))
    small = ["batch_size=2", "steps=2"]
    said = ava(
        "train", "--config=ava256:tiny", "--config.data.root=PACKED", "--config.data.split=split.json", "--workdir=RUN",
        "--config.data.downsample=128", "--config.model.width=0.125", *(f"--config.train.{one}" for one in small),
    )  # fmt: skip
    assert "1 identities" in said and "done: 2 steps" in said
