"""Fixtures shared by all tests."""

import os
import pathlib
import runpy

import jax
import pytest

# The bounds of tests are those of float32; a GPU's products would round to TF32 unasked.
jax.config.update("jax_default_matmul_precision", "highest")


@pytest.fixture(scope="session", autouse=True)
def cache_home(tmp_path_factory) -> None:
    """What is cached from run to run stays out of the user's own cache."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder named by AVA_TEST_DATA: `golden/`, `capture/`, `assets/` of the reference."""
    folder = os.environ.get("AVA_TEST_DATA", "")
    if not folder:
        pytest.skip("AVA_TEST_DATA names no folder of reference data")
    path = pathlib.Path(folder)
    if not path.is_dir():
        pytest.fail(f"AVA_TEST_DATA={folder!r} is not a folder")
    return path


@pytest.fixture(scope="session")
def tiny_capture(tmp_path_factory) -> pathlib.Path:
    """Captures of 2 procedural heads, 6 frames, 3 of 4 cameras each, images 64 x 41: read only.

    A test that changes files copies it first.
    """
    from ava_jax.synth import ava256_layout

    folder = tmp_path_factory.mktemp("tiny") / "captures"
    ava256_layout.write(folder, ava256_layout.Request(identities=2, frames=6, cameras=4, height=64, texture_size=64), jobs=1)
    return folder


@pytest.fixture(scope="session")
def small_run(tiny_capture, tmp_path_factory) -> pathlib.Path:
    """A run's folder with a checkpoint, of step 0, of the smallest avatar, which has learnt nothing: read only.

    Its config names a folder of captures that is gone; they have moved to `tiny_capture`.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ava_jax.tasks.base import load_task
    from ava_jax.train import record
    from ava_jax.train import state as states
    from ava_jax.train.checkpoint import Checkpoints

    config = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "configs" / "ava256.py"))["get_config"]("tiny")
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
    workdir = tmp_path_factory.mktemp("run")
    record.write(workdir, config, task, assets, first=0)
    config.data.root = str(tiny_capture / "moved")
    with Checkpoints(workdir, write=True) as checkpoints:
        checkpoints.save(state, {}, assets, config)
    return workdir
