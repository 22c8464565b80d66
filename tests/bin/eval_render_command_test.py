"""`ava-eval` and `ava-render` from the command line, on a checkpoint of the smallest avatar, which has learnt nothing."""

import json
import os
import pathlib
import runpy
import subprocess
import sys

import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from ava_jax.tasks.base import load_task
from ava_jax.train import state as states
from ava_jax.train.checkpoint import Checkpoints

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tiny_capture, tmp_path_factory) -> pathlib.Path:
    """A run's folder whose config names a folder of captures that is gone: they have moved to `tiny_capture`."""
    config = runpy.run_path(str(REPOSITORY / "configs" / "ava256.py"))["get_config"]("tiny")
    config.data.root = str(tiny_capture)
    config.data.downsample = 128
    config.model.width = 0.125
    config.model.step_size = 1 / 32
    config.eval.batch_size = 2
    every = load_task(config).prepare()
    config.data.held_out.cameras = (every.names["cameras"][0],)
    task = load_task(config)
    assets = task.prepare()
    state = states.initial_state(states.split(task.model(assets, rngs=states.model_rngs(0))), task.optimizer(10, 5), seed=0)
    # Primitives of the size that warm-up would have measured, so that they do not fill the volume; noise, so that they differ.
    rng = np.random.default_rng(0)
    state = state._replace(
        running=jax.tree.map(lambda x: jnp.full_like(x, 40.0), state.running),
        params=jax.tree.map(lambda x: x + 0.05 * rng.standard_normal(x.shape).astype(x.dtype), state.params),
    )
    config.data.root = str(tiny_capture / "moved")
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir, write=True) as checkpoints:
        checkpoints.save(state, {}, assets, config)
    return workdir


def command(name: str, *args, cwd: pathlib.Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(cwd / "cache")}
    line = [sys.executable, "-m", f"ava_jax.bin.{name}", *map(str, args)]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_eval_needs_only_a_checkpoint_and_captures(run, tiny_capture):
    done = command("eval", f"--workdir={run}", f"--captures={tiny_capture}", "--max_samples=3", cwd=run)
    assert done.returncode == 0, done.stderr
    folder = run / "eval" / "0"
    splits = json.loads((folder / "scores.json").read_text())["splits"]
    assert set(splits) == {"unseen_frames", "unseen_cameras"}
    for split, found in splits.items():
        scores = found["scores"]
        assert found["images"] == 3, split
        assert scores["face_psnr"]["images"] == 3 and 3 < scores["face_psnr"]["mean"] < 40
        assert scores["baseline_face_psnr"]["mean"] > scores["face_psnr"]["mean"], "an untrained avatar does not beat the mean head"
    whole = splits["unseen_cameras"]["scores"]["psnr"]
    assert whole["mean"] is None and (whole["images"], whole["ignored"]) == (0, 3)
    assert len((folder / "scores.csv").read_text().splitlines()) == 1 + 2 * 3, "a header, and a row an image"
    for split in splits:
        with Image.open(folder / f"best_and_worst_{split}.jpg") as sheet:
            assert sheet.width > sheet.height / 2
    header = next(line for line in done.stdout.splitlines() if line.startswith("split"))
    assert header.split()[1:5] == ["images", "psnr", "ssim", "l1"] and header.split()[-1] == "gain"
    with Image.open(folder / "contact_sheet.jpg") as sheet:
        assert sheet.width > sheet.height / 2 and (folder / "contact_sheet.jpg").stat().st_size <= 500_000
    assert "unseen_cameras: 100%" in done.stderr, "a progress bar"


@pytest.mark.filterwarnings("ignore:os.fork")  # of the reader below
def test_a_turntable_is_a_video_and_its_frames(run, tiny_capture):
    out = run / "turn"
    args = ["--turntable", "--turntable_frames=3", "--downsample=64", f"--out={out}"]
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", *args, cwd=run)
    assert done.returncode == 0, done.stderr
    with imageio.get_reader(out / "turntable.mp4") as reader:
        assert len([frame for frame in reader]) == 3
    frames = [np.asarray(Image.open(path)) for path in sorted((out / "turntable").iterdir())]
    assert [frame.shape for frame in frames] == [(64, 41, 3)] * 3
    assert frames[0].std() > 1 and (frames[1] != frames[2]).any(), "something is seen, from more than one side"


def test_a_driver_lends_an_identity_his_expressions(run, tiny_capture):
    shown, driver = sorted(folder.name for folder in tiny_capture.glob("*--*"))[:2]
    names = [f"--identity={shown}", f"--driver={driver.rpartition('--')[2]}", "--max_frames=1"]
    done = command("render", f"--workdir={run}", f"--captures={tiny_capture}", *names, cwd=run)
    assert done.returncode == 0, done.stderr
    assert f"{shown} with the expressions of {driver}, 1 frames" in done.stdout
    (picture,) = (run / "render" / "0").glob("*/000000.png")
    assert np.asarray(Image.open(picture)).shape[1] > 3 * 20, "truth, self and driven beside each other"


@pytest.mark.parametrize("name", ["eval", "render"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "--workdir is missing"),
        (["--workdir=nowhere"], "no checkpoint there"),
        (["--workdir=x", "--stpe=3"], "Did you mean"),
    ],
)
def test_a_mistake_is_one_plain_line(tmp_path, name, args, message):
    done = command(name, *args, cwd=tmp_path)
    assert done.returncode == 1 and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(("name", "flags"), [("eval", ("--splits", "--out")), ("render", ("--turntable", "--identity", "--driver"))])
def test_help_names_the_flags(tmp_path, name, flags):
    done = command(name, "--help", cwd=tmp_path)
    assert done.returncode == 0 and f"ava-{name} --workdir=RUN" in done.stdout
    assert all(flag in done.stdout for flag in flags)
