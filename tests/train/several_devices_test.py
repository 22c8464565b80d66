"""One process on several devices, simulated on the CPU: what it learns is what one device learns from the whole batch."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import optax
import pytest
from flax import nnx
from toy_task import Toy, ToyModel

from ava_jax.nn.batch_norm import BatchNorm

pytestmark = pytest.mark.slow

HERE = pathlib.Path(__file__).resolve().parent


class NormalisedModel(ToyModel):
    """Normalises by the batch, first of all and in the middle."""

    def __init__(self, shift, *, rngs):
        super().__init__(shift, rngs=rngs)
        self.norms = nnx.List([BatchNorm(5), BatchNorm(8)])

    def __call__(self, x):
        hidden = nnx.tanh(self.layers[0](self.norms[0](x, train=True)) + 0.5)
        return self.layers[1](self.norms[1](hidden, train=True)) + self.shift[...]


class NormalisedToy(Toy):
    def model(self, assets, *, rngs):
        return NormalisedModel(assets.arrays["shift"], rngs=rngs)

    def optimizer(self, steps, steps_per_epoch):
        return optax.sgd(self.config.optimizer.learning_rate, momentum=0.9)  # Adam makes steps of what is 0 but for rounding


_PROGRAM = """
import sys, numpy as np, jax
import step_test, several_devices_test, toy_task
from ava_jax.train import loop
from ava_jax.train.optimization import by_path
step_test.Toy = several_devices_test.NormalisedToy
config = toy_task.toy_config()
config.train.batch_size = 8
config.optimizer.learning_rate = 0.001
batches = [[0, 1, 2, 4, 5, 6, 7, 8], [9, 11, 12, 13, 14, 15, 16, 18], [19, 20, 21, 22, 23, 0, 1, 2]]
state, metrics, _ = step_test._run(config, batches)
parts = {"running": state.running, "params": state.params.tree(), "gradients": state.opt_state["all"][0].trace}
found = {f"{kind}/{name}": leaf for kind, part in parts.items() for name, leaf in by_path(part).items()}
found |= {"norm": metrics["norm"], **{f"loss/{name}": value for name, value in metrics["losses"].items()}}
np.savez(sys.argv[1] + ".npz", devices=jax.device_count(), **found)
config = toy_task.toy_config()
config.train.update(steps=1, batch_size=6)
loop.train(config, sys.argv[1])
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Devices -> what the program saved and printed."""
    found = {}
    for count in (1, 8):
        folder = tmp_path_factory.mktemp("devices") / "run"
        env = os.environ | {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
            "JAX_PLATFORMS": "cpu",
        }
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), *sys.path]))
        ended = subprocess.run([sys.executable, "-c", _PROGRAM, folder], env=env, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr[-2000:]
        found[count] = np.load(f"{folder}.npz"), ended.stdout
    return found


def test_eight_devices_normalise_and_learn_as_one_does(runs):
    """After three steps: losses, gradients (as momentum), parameters, running statistics."""
    one, eight = runs[1][0], runs[8][0]
    assert (int(one["devices"]), int(eight["devices"])) == (1, 8)
    names = [name for name in one.files if name != "devices"]
    assert {"gradients/norms/0/scale", "running/norms/1/variance", "params/layers/0/kernel", "loss/fit"} <= set(names)
    largest = max(np.abs(one[name]).max() for name in names if name.startswith("gradients"))
    for name in names:
        scale = largest if name.startswith("gradients") else np.abs(one[name]).max()
        np.testing.assert_allclose(eight[name], one[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name)
    assert all(np.abs(one[f"gradients/norms/{i}/{kind}"]).max() > 0.01 * largest for i in (0, 1) for kind in ("scale", "bias"))


def test_a_batch_uses_as_many_devices_as_divide_it_and_says_so(runs):
    assert "devices: 1 x cpu\n" in runs[1][1]
    assert "devices: 6 of 8 x cpu: as many as divide a batch of 6; the others stay idle\n" in runs[8][1]
