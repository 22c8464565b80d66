"""The whole of `scripts/parity.py` on the reference's vectors."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_every_array_is_within_its_bound(test_data):
    golden = test_data / "golden"
    command = [sys.executable, str(ROOT / "scripts" / "parity.py"), f"--golden={golden}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    with np.load(golden / "ava256_modules.npz") as vectors:
        for name in set(vectors.files) - {"seed"}:
            assert re.search(rf"^{name} .* ok$", result.stdout, re.MULTILINE), f"{name} was not compared"
    for scene in ("grid64", "warp27", "inside100", "head16384"):
        assert re.search(rf"^{scene} colour .* ok$|^{scene} init colour .* ok$", result.stdout, re.MULTILINE), f"{scene} was not compared"
    with np.load(golden / "multiface_modules.npz") as vectors:
        for name in set(vectors.files) - {"seed"}:
            assert re.search(rf"^multiface {name} .* ok$", result.stdout, re.MULTILINE), f"multiface {name} was not compared"
    with np.load(golden / "raster_small.npz") as vectors:
        scenes = [f"{scene} {what}" for scene in vectors["names"] for what in ("index", "image", "d_vertices")]
    for name in (*scenes, "head index", "head d_vertices 0", "head d_texture", "outline of triangle", "outline of sphere"):
        assert re.search(rf"^{name} .* ok$", result.stdout, re.MULTILINE), f"{name} was not compared"
