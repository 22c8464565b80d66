"""`ava mesh_fit import` and `ava mesh_fit benchmark`, as they are typed."""

import json
import os
import pathlib
import re
import subprocess
import sys

import mesh_fit_folders
import numpy as np
import pytest
from flax import nnx
from mesh_fit_published import model_config, module, zipped

from ava_jax.bin._context import Context
from ava_jax.core.types import Assets
from ava_jax.tasks.mesh_fit import reference_weights
from ava_jax.tasks.mesh_fit.model import MeshFitter

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
SMALL = [f"--config.model.{name}={value}" for name, value in {"hidden": 8, "latent": 4, "experts": 2}.items()]


def ava(*words) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "ava_jax.bin.ava", "mesh_fit", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return mesh_fit_folders.write(tmp_path_factory.mktemp("data"), {"walk": 4, "jump": 3})


@pytest.mark.slow
def test_an_imported_checkpoint_is_a_run(data, tmp_path):
    fresh = MeshFitter(model_config(hidden=8, latent=4, experts=2), Assets({"faces": mesh_fit_folders.FACES}, {}), rngs=nnx.Rngs(7))
    arrays = {name: np.asarray(variable[...]) for name, variable in reference_weights.parameters(fresh).items()}
    named = {key: arrays[name] for key, name in reference_weights.published_names().items()}
    named = {key: array.T if key.endswith(".weight") else array for key, array in named.items()}
    (tmp_path / "20.pt").write_bytes(zipped(module(named), named))
    words = (f"--file={tmp_path / '20.pt'}", "--config=mesh_fit", *SMALL, f"--config.data.root={data}", f"--workdir={tmp_path / 'run'}")
    done = ava("import", *words, "--config.data.held_out.last_frames=1")
    assert done.returncode == 0, done.stderr
    assert "20 parameters" in done.stdout
    restored = Context().restore(tmp_path / "run")
    assert restored.step == 0
    for name, variable in reference_weights.parameters(restored.model).items():
        np.testing.assert_array_equal(variable[...], arrays[name], err_msg=name)


@pytest.mark.parametrize(
    "words, message",
    [
        (("--config=mesh_fit", "--workdir=x"), "--file is missing"),
        (("--config=mesh_fit", "--file=x.pt"), "--workdir is missing"),
    ],
)
def test_an_import_says_in_one_line_what_is_missing(words, message):
    done = ava("import", *words)
    assert done.returncode != 0 and message in done.stderr and len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_benchmark_compares_precisions(tmp_path):
    out = tmp_path / "figures.json"
    words = ("--vertices=144", "--meshes=6", "--repeats=1", "--parts=2", "--precisions=float32,bfloat16", f"--out={out}")
    done = ava("benchmark", "--config=mesh_fit", *SMALL, *words)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [row["precision"] for row in rows] == ["float32", "bfloat16"]
    for row in rows:
        assert row["rows"] == 144 and row["step_ms"] > 0 and row["floor_ms"] > 0 and row["epoch_s"] > 0 and row["step_gib"] > 0
        assert len(row["losses"]) == 2 and row["losses"][1] < row["losses"][0]
    np.testing.assert_allclose(rows[0]["losses"], rows[1]["losses"], rtol=0.05)
    assert re.search(r"error, m\^2 +\d\.\d+e-\d\d +\d\.\d+e-\d\d", done.stdout)
