"""The avatar on several devices: gradients are those of one device at the same batch; nothing is gathered for a custom call."""

import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]

_PROGRAM = """
import runpy, sys, numpy as np, jax, optax
from ava_jax.tasks.ava256.task import Ava256
from ava_jax.tasks.base import load_task
from ava_jax.train import state as states, step as steps
from ava_jax.train.optimization import by_path
root, captures, out = sys.argv[1:]
config = runpy.run_path(f"{root}/configs/ava256.py")["get_config"]("tiny")
Ava256.test_config(config)
config.data.root = captures
config.data.held_out.segments = ()
config.train.batch_size = 8
config.model.background_fraction = 0.25  # draws pixels
config.model.view_noise = 0.01
config.model.initial_code_std = 1.0
config.model.initial_density = 30.0
task = load_task(config)
assets = task.prepare()
source = task.source("train", assets)
samples = [s for i in range(len(source)) if (s := source[i]) is not None][:8]
batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
mesh = steps.device_mesh(8)
parts = states.split(task.model(assets, rngs=states.model_rngs(0)))
optimizer = optax.sgd(1e-6, momentum=0.9)  # whose momentum after a step is the gradient
constants, state = jax.device_put((parts.constants, states.initial_state(parts, optimizer, 0)), steps.replicated(mesh))
batch = jax.device_put(batch, steps.sharded(mesh))
step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh), mesh)
compiled = step.lower(state, constants, batch).compile()
open(f"{out}.txt", "w").write(compiled.as_text())
state, metrics = compiled(state, constants, batch)
found = {f"gradient/{name}": leaf for name, leaf in by_path(state.opt_state["all"][0].trace).items()}
found |= {f"running/{name}": leaf for name, leaf in by_path(state.running).items()}
found |= {f"loss/{name}": value for name, value in metrics["losses"].items()}
np.savez(f"{out}.npz", devices=len(mesh.devices.flat), **jax.device_get(found))
"""


def run(captures: pathlib.Path, folder: pathlib.Path, count: int, env: dict[str, str]) -> tuple[dict, str]:
    """Arrays and the compiled program's text on so many devices."""
    out = folder / f"{count}"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "JAX_DEFAULT_MATMUL_PRECISION": "highest"} | env
    command = [sys.executable, "-c", _PROGRAM, str(ROOT), str(captures), str(out)]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with np.load(f"{out}.npz") as file:
        found = dict(file)
    assert found.pop("devices") == count
    return found, pathlib.Path(f"{out}.txt").read_text()


# Where components give a texel its tracked colour but for rounding, the sign of its absolute error is chance.
BY_CHANCE = tuple(f"gradient/colour_decoder/{name}" for name in ("basis/basis", "bias", "view_factors/coefficients"))


def check(one: dict, several: dict, text: str, on_each: int) -> None:
    """Losses, gradients and running variables are alike; the program gathers nothing; the raymarcher's frames are one device's."""
    assert {"loss/image", "loss/kl", "loss/volume", "loss/vertices"} <= set(one) and len(one) > 50
    largest = max(np.abs(value).max() for name, value in one.items() if name.startswith("gradient"))
    for name, expected in one.items():
        scale = largest if name.startswith("gradient") else np.abs(expected).max()
        np.testing.assert_allclose(several[name], expected, rtol=1e-5, atol=1e-5 * scale, err_msg=name)
        # Of arrays whose values are all small too: the raymarcher adds a few numbers of other frames' order there.
        bounds = dict(rtol=1e-3, atol=3e-4 * np.abs(expected).max())
        if name in BY_CHANCE:
            assert np.mean(~np.isclose(several[name], expected, **bounds)) < 1e-4, name
        else:
            np.testing.assert_allclose(several[name], expected, **bounds, err_msg=name)
    assert sum(np.abs(value).max() > 0 for name, value in one.items() if name.startswith("gradient")) > 50
    assert "all-reduce" in text
    for gathering in ("all-gather", "all-to-all", "collective-permute"):
        assert gathering not in text
    calls = [line for line in text.splitlines() if re.search(r'custom_call_target="ava_raymarch_(for|back)ward"', line)]
    assert len(calls) >= 2
    for line in calls:
        shapes = re.findall(r"f32\[(\d+),[\d,]*\]", line)
        assert shapes and {int(frames) for frames in shapes} == {on_each}, line


@pytest.mark.slow
def test_eight_devices_of_a_cpu_learn_as_one_does(tiny_capture, tmp_path, compiling_quickly):
    flags = compiling_quickly.get("XLA_FLAGS", "")
    found = {
        count: run(
            tiny_capture, tmp_path, count, {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{flags} --xla_force_host_platform_device_count={count}"}
        )
        for count in (1, 8)
    }
    check(found[1][0], *found[8], on_each=1)


@pytest.mark.gpu
def test_two_gpus_learn_as_one_does(tiny_capture, tmp_path):
    if jax.default_backend() != "gpu" or jax.device_count() < 2:
        pytest.skip(f"needs two GPUs; there are {jax.device_count()} x {jax.devices()[0].device_kind}")
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    found = {count: run(tiny_capture, tmp_path, count, {"CUDA_VISIBLE_DEVICES": ",".join("01"[:count]), **memory}) for count in (1, 2)}
    check(found[1][0], *found[2], on_each=4)
