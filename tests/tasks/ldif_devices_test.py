"""A step of LDIF on two devices, simulated on the CPU: what one device makes of the whole batch."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow

_PROGRAM = """
import sys, runpy, jax, numpy as np
from ava_jax.core.types import Assets
from ava_jax.tasks.base import load_task
from ava_jax.train import state as states, step as steps
from ava_jax.train.optimization import by_path

config = runpy.run_path(sys.argv[1])["get_config"]("ldif")
task = load_task(config)
task.test_config(config)
rng = np.random.default_rng(0)
draw = lambda *shape: rng.uniform(-0.5, 0.5, shape).astype(np.float32)
shapes = {"depth": (137, 137, 20), "points": (300, 6), "uniform": (400, 4), "near": (400, 4), "grid": (32, 32, 32)}
batch = {name: draw(2, *shape) for name, shape in shapes.items()}
batch["world_to_grid"] = np.tile(np.float32([[20, 0, 0, 15], [0, 20, 0, 15], [0, 0, 20, 15], [0, 0, 0, 1]]), (2, 1, 1))
model = task.model(Assets(arrays={}, names={"classes": []}), rngs=states.model_rngs(0))
parts, optimizer = states.split(model), task.optimizer(10, 10)
found = {}
for count in (1, 2):
    mesh = jax.make_mesh((count,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:count])
    put = lambda tree, where: jax.device_put(jax.tree.map(lambda a: a.copy(), tree), where)
    state = put(states.initial_state(parts, optimizer, 0), steps.replicated(mesh))
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh), mesh)
    state, metrics = step(state, put(parts.constants, steps.replicated(mesh)), put(batch, steps.sharded(mesh)))
    kept = {f"running/{name}": leaf for name, leaf in by_path(state.running).items()} | {"norm": metrics["norm"], **metrics["losses"]}
    found |= {f"{count}/{name}": np.asarray(leaf) for name, leaf in kept.items()}
np.savez(sys.argv[2], **found)
"""


def test_two_devices_take_the_step_of_one(tmp_path):
    """Losses, the gradient's norm, running statistics; points and samples are drawn alike."""
    env = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    config = pathlib.Path(__file__).resolve().parents[2] / "configs" / "ldif.py"
    command = [sys.executable, "-c", _PROGRAM, config, tmp_path / "found.npz"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = np.load(tmp_path / "found.npz")
    names = [name.removeprefix("1/") for name in found.files if name.startswith("1/")]
    assert {"uniform", "near", "box", "grid", "norm"} < set(names) and any("norm2" in name for name in names)
    for name in names:
        np.testing.assert_allclose(found[f"2/{name}"], found[f"1/{name}"], rtol=1e-4, atol=1e-7, err_msg=name)
