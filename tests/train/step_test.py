"""A training step: weights and masks, gradients over devices, what is not finite."""

import os
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_task import Toy, ToyModel, toy_config

from ava_jax.train import state as states
from ava_jax.train import step as steps


def _start(config):
    task = Toy(config)
    assets = task.prepare()
    parts = states.split(task.model(assets, rngs=states.model_rngs(0)))
    optimizer = task.optimizer(10, 1)
    mesh = steps.device_mesh(config.train.batch_size)
    state = jax.device_put(states.initial_state(parts, optimizer, 0), steps.replicated(mesh))
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh), mesh)
    return task, assets, parts, state, step, mesh


def _batch(task, assets, indices):
    samples = [task.source("train", assets)[i] for i in indices]
    return {name: np.stack([s[name] for s in samples]) for name in samples[0]}


def _run(config, batches, task=None):
    task, assets, parts, state, step, mesh = _start(config)
    before = jax.device_get(parts.params), jax.device_get(parts.running)  # they are donated
    for indices in batches:
        batch = jax.device_put(_batch(task, assets, indices), steps.sharded(mesh))
        state, metrics = step(state, parts.constants, batch)
    state = state._replace(key=jax.random.key_data(state.key))
    return jax.device_get(state), jax.device_get(metrics), parts._replace(params=before[0], running=before[1])


def test_step_equals_a_hand_written_one():
    config = toy_config()
    task, assets, parts, state, _, _ = _start(config)
    batch = _batch(task, assets, [0, 1, 2, 4])

    def loss(params):
        model = states.merge(parts._replace(params=params))
        y = model(batch["x"])
        fit = jnp.sum((y - batch["y"]) ** 2 * batch["mask"]) / batch["mask"].sum()
        size = jnp.mean(jnp.sum(y**2, -1))
        return 1.0 * fit + 0.1 * size, (fit, size)

    gradients, (fit, size) = jax.grad(loss, has_aux=True)(parts.params)
    optimizer = optax.adam(config.optimizer.learning_rate)
    updates, _ = optimizer.update(gradients, optimizer.init(parts.params), parts.params)
    want = optax.apply_updates(parts.params, updates)

    got, metrics, _ = _run(config, [[0, 1, 2, 4]])
    # inject_hyperparams holds 0.999 in float32, which moves the first step of 0.05 by 1e-5 of itself.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=5e-7), got.params.tree(), jax.device_get(want))
    np.testing.assert_allclose([metrics["losses"]["fit"], metrics["losses"]["size"]], [fit, size], rtol=1e-6)
    np.testing.assert_allclose(metrics["loss"], fit + 0.1 * size, rtol=1e-6)
    np.testing.assert_allclose(metrics["norm"], optax.tree.norm(gradients), rtol=1e-5)
    assert metrics["nonfinite"] == 0 and got.step == 1
    np.testing.assert_allclose(metrics["learning_rate"], 0.05)


def test_running_variables_are_carried_and_the_key_differs_by_step():
    config = toy_config()
    one, _, parts = _run(config, [[0, 1, 2, 4]])
    two, _, _ = _run(config, [[0, 1, 2, 4], [5, 6, 7, 8]])
    (before,), (first,), (second,) = (jax.tree.leaves(s) for s in (parts.running, one.running, two.running))
    assert 0 == before < first <= second
    config.data.noise = 1.0
    values = [_run(config, [[0, 1, 2, 4]] * n)[1]["losses"]["fit"] for n in (1, 2)]
    config.optimizer.learning_rate = 0.0
    still = [_run(config, [[0, 1, 2, 4]] * n)[1]["losses"]["fit"] for n in (1, 2)]
    assert values[0] == still[0] and still[0] != still[1]


def test_two_devices_give_the_parameters_of_one(tmp_path):
    """Uneven masks on the two halves: each mean must be over the whole batch."""
    program = (
        "import sys, numpy as np, jax\n"
        "from step_test import _run, toy_config\n"
        "state, metrics, _ = _run(toy_config(), [[0, 1, 2, 4], [5, 6, 7, 8], [9, 11, 12, 13]])\n"
        "leaves = [*jax.tree.leaves((state.params, state.running)), metrics['loss'], metrics['norm']]\n"
        "np.savez(sys.argv[1], *leaves, devices=jax.local_device_count())\n"
    )
    found = []
    for count in (1, 2):
        env = os.environ | {
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}",
            "JAX_PLATFORMS": "cpu",
        }
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(pathlib.Path(__file__).parent), *sys.path]))
        subprocess.run([sys.executable, "-c", program, tmp_path / f"{count}.npz"], env=env, check=True, timeout=600)
        found.append(np.load(tmp_path / f"{count}.npz"))
    assert [int(f["devices"]) for f in found] == [1, 2]
    for name in found[0].files:
        if name != "devices":
            np.testing.assert_allclose(found[1][name], found[0][name], rtol=2e-6, atol=2e-6)


class _SickToy(Toy):
    """The gradient of one layer's bias is infinite at every step."""

    def loss(self, model, batch, *, step, key, terms):
        terms = super().loss(model, batch, step=step, key=key, terms=terms)
        bias = model.layers[0].bias[...]
        size, mask = terms["size"]
        return terms | {"size": (size + jnp.sum(jnp.sqrt(jnp.maximum(bias - bias, 0))), mask)}


def test_gradients_that_are_not_finite_count_as_zero(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Toy", _SickToy)
    state, metrics, parts = _run(toy_config(), [[0, 1, 2, 4]])
    assert metrics["nonfinite"] == 8 and np.isfinite(metrics["norm"])
    np.testing.assert_array_equal(state.params.tree()["layers"][0]["bias"][...], parts.params["layers"][0]["bias"][...])
    assert np.any(state.params.tree()["layers"][1]["bias"][...] != parts.params["layers"][1]["bias"][...])


def test_an_empty_mask_gives_a_loss_of_zero():
    task, assets, parts, state, step, mesh = _start(toy_config())
    batch = _batch(task, assets, [0, 1, 2, 4])
    batch["mask"][:] = 0
    _, metrics = step(state, parts.constants, jax.device_put(batch, steps.sharded(mesh)))
    assert metrics["losses"]["fit"] == 0 and np.isfinite(metrics["loss"])


@pytest.mark.parametrize("weights", [{"fit": 1.0}, {"fit": 1.0, "size": 0.1, "other": 2.0}])
def test_weights_name_the_terms_exactly(weights):
    config = toy_config()
    config.loss_weights = weights
    with pytest.raises(ValueError, match=r"loss_weights must name the task's loss terms, \['fit', 'size'\]; got \["):
        _run(config, [[0, 1, 2, 4]])


class _ChattyToy(Toy):
    """Gives all its terms, whatever it is asked for."""

    def loss(self, model, batch, *, step, key, terms):
        return super().loss(model, batch, step=step, key=key, terms=self.loss_terms)


def test_a_task_gives_the_terms_it_is_asked_for(monkeypatch):
    config = toy_config()
    config.loss_weights.size = 0.0
    _, metrics, _ = _run(config, [[0, 1, 2, 4]])
    assert list(metrics["losses"]) == ["fit"] and metrics["loss"] == metrics["losses"]["fit"]
    monkeypatch.setattr(sys.modules[__name__], "Toy", _ChattyToy)
    with pytest.raises(ValueError, match=r"_ChattyToy.loss must give the terms that it is asked for, \['fit'\]; got \['fit', 'size'\]"):
        _run(config, [[0, 1, 2, 4]])


def test_a_schedule_weighs_a_term_by_the_step():
    config = toy_config()
    config.loss_weights = {"fit": 1.0, "size": ((0, 0.5), (2, 0.1))}
    task, assets, parts, state, step, mesh = _start(config)
    batch = jax.device_put(_batch(task, assets, [0, 1, 2, 4]), steps.sharded(mesh))
    after = []
    for weight in (0.5, 0.3, 0.1, 0.1):
        state, metrics = step(state, parts.constants, batch)
        losses = metrics["losses"]
        np.testing.assert_allclose(metrics["loss"], losses["fit"] + weight * losses["size"], rtol=1e-6)
        after.append(jax.device_get(state.params))
    config.loss_weights = {"fit": 1.0, "size": 0.5}
    constant, *_ = _run(config, [[0, 1, 2, 4]])
    jax.tree.map(np.testing.assert_array_equal, constant.params, after[0])  # the gradient is weighed by it too


def test_other_kinds_of_variables_are_refused():
    from flax import nnx

    model = ToyModel(np.zeros(3), rngs=nnx.Rngs(0))
    model.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="ToyModel: a model may hold .* it also holds Rng"):
        states.split(model)


def test_the_batch_must_divide_over_the_devices_of_several_processes(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [None] * 3)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match="multiple of the 3 devices of all 2 processes; got 4"):
        steps.device_mesh(4)


def test_only_a_gpu_gets_command_buffers_and_the_users_own_flags_go_first(monkeypatch):
    def mesh(platform):
        return types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform=platform)]))

    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert steps.compiler_options(mesh("cpu")) is None
    options = steps.compiler_options(mesh("gpu"))
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1.0) == 2.0  # this XLA knows the option and its values
    with pytest.raises(Exception, match="not a valid"):
        jax.jit(lambda x: x + 2, compiler_options={name: "LOOP" for name in options})(1.0)
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_command_buffer=FUSION")
    assert steps.compiler_options(mesh("gpu")) is None
