"""`ava ava256 driving_scores` and `ava ava256 benchmark` from the command line, on the smallest avatar, which has learnt nothing."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ava(compiling_quickly, tmp_path_factory):
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    env = os.environ | cache | compiling_quickly | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"}

    def command(*words, cwd: pathlib.Path) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "ava_jax.bin.ava", "ava256", *map(str, words)]
        return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=900)

    return command


def test_driving_is_scored(ava, small_run, tiny_capture, tmp_path):
    (tmp_path / "nets.py").write_text(
        "def points(x):\n    return x[:, :3, 0, :2]\n\n\ndef features(x):\n    return x.reshape(len(x), -1) + 1.0\n"
    )
    words = [f"--workdir={small_run}", f"--captures={tiny_capture}", "--segment=all", "--max_frames=4", "--out=out"]
    done = ava("driving_scores", *words, "--keypoints=nets:points", "--identity_features=nets:features", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out" / "driving_scores.json").read_text())
    assert [(pair["driver"][-1], pair["shown"][-1]) for pair in found["pairs"]] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    names = {"driver", "shown", "code_error", "code_found", "drift", "mouth_r", "mouth_slope", "csim"}
    assert set(found["pairs"][1]) == names and set(found["pairs"][0]) == names | {"akd"}
    assert all(pair["code_error"] > 0 and pair["drift"] > 0 and -1 <= pair["csim"] <= 1 for pair in found["pairs"])
    assert [len(frames) for frames in found["frames"].values()] == [4, 4] and found["texture"] == "mean"
    assert "code_error" in found["definitions"] and "left out" not in done.stdout
    with Image.open(tmp_path / "out" / "mouth_openings.png") as picture:
        assert picture.size == (960, 600)


def test_parts_are_timed(ava, small_run, tmp_path):
    done = ava("benchmark", f"--workdir={small_run}", "--rounds=2", "--batch=2", "--json=speed.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "speed.json").read_text())
    assert (found["height"], found["width"], found["platform"], found["peak_gib"]) == (32, 20, "cpu", None)
    assert [timing["part"] for timing in found["timings"]] == list(found["parts"])
    for timing in found["timings"]:
        assert timing["frames_per_s"] == pytest.approx(2e3 / timing["ms"]) and timing["first_s"] > 0
    assert "peak memory: not told by this backend" in done.stdout and "device cpu" in done.stdout


def test_flags_that_are_of_no_use_are_told_in_a_line(ava, small_run, tmp_path):
    done = ava("driving_scores", f"--workdir={small_run}", "--keypoints=landmarks", cwd=tmp_path)
    assert done.returncode == 1 and "--keypoints must be module:function" in done.stderr and len(done.stderr.splitlines()) == 1
    done = ava("benchmark", f"--workdir={small_run}", "--batch=0", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr == "ava ava256 benchmark: --batch must be numbers from 1 on, as in --batch=1,4; got '0'.\n"
