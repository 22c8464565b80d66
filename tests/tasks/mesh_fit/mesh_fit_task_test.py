"""The task's losses, optimizer and predictions, and steps on meshes that are made up."""

import pathlib
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.types import Assets
from ava_jax.tasks.base import PREDICT, TRAIN, load_task
from ava_jax.tasks.mesh_fit import laplacian, reference_weights, stepping
from ava_jax.tasks.mesh_fit.optimizer import learning_rate

CONFIG = pathlib.Path(__file__).resolve().parents[3] / "configs" / "mesh_fit.py"
VERTICES = 100
ASSETS = Assets({"faces": stepping.grid_faces(VERTICES)}, {})


def config(variant="tiny", **changes):
    found = runpy.run_path(str(CONFIG))["get_config"](variant)
    found.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return found


def small(**changes):
    return config(model__hidden=16, model__latent=4, model__experts=2, **changes)


def losses(task, model, batch, terms):
    return task.loss(model, batch, step=jnp.int32(0), key=jax.random.key(0), terms=terms)


@pytest.mark.parametrize("variant, parameters", [("sbs", 608_536), ("joints", 751_960), ("laplacian", 608_536), ("tiny", 42_192)])
def test_each_variant_has_a_model(variant, parameters):
    task = load_task(config(variant))
    model = task.model(ASSETS, rngs=nnx.Rngs(0))
    assert sum(variable.size for variable in reference_weights.parameters(model).values()) == parameters
    assert set(task.config.loss_weights) == set(task.loss_terms)
    assert (task.config.loss_weights.laplacian > 0) == (variant == "laplacian")


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="variant must be one of sbs, joints, laplacian, tiny; got 'full'"):
        config("full")


@pytest.mark.parametrize("condition_on, history", [("time", 3), ("vertex", 1)])
def test_losses_by_hand(condition_on, history):
    task = load_task(small(model__condition_on=condition_on))
    model = task.model(ASSETS, rngs=nnx.Rngs(0))
    batch = stepping.made_up(VERTICES, 2, history)
    found, predicted = jax.jit(lambda model: (losses(task, model, batch, task.loss_terms), model(batch["source"])))(model)
    first = 0 if condition_on == "time" else 2  # what the source gives has no error to learn from
    expected = np.square(np.asarray(predicted - batch["target"], np.float64))[:, first:].mean(axis=(1, 2))
    np.testing.assert_allclose(found["l2"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(found["laplacian"][0], laplacian.roughness(model.neighbours, predicted), rtol=1e-6)
    assert found["l2"][1] is None and found["laplacian"][1] is None


def test_a_term_that_is_off_costs_nothing():
    task = load_task(small())
    model = task.model(ASSETS, rngs=nnx.Rngs(0))
    batch = stepping.made_up(VERTICES, 1, 3)

    def gradient(terms):
        return str(
            jax.make_jaxpr(jax.grad(lambda model: sum(jnp.sum(v) for v, _ in losses(task, model, batch, terms).values()), allow_int=True))(
                model
            )
        )

    assert "gather" in gradient(("l2", "laplacian")) and "gather" not in gradient(("l2",))
    assert losses(task, model, batch, ()) == {}


def test_predictions_need_no_targets_and_are_float32s():
    task = load_task(small(model__precision="bfloat16"))
    exact = load_task(small(model__precision="float32"))
    model, same = (t.model(ASSETS, rngs=nnx.Rngs(0)) for t in (task, exact))
    batch = stepping.made_up(VERTICES, 2, 3)
    del batch["target"]
    predict = jax.jit(lambda model: task.predict(model, batch)["vertices"])
    np.testing.assert_array_equal(predict(model), predict(same))
    assert predict(model).shape == (2, VERTICES, 3)


def test_sampling():
    task = load_task(config("sbs"))
    train, held_out = task.sampling(TRAIN), task.sampling(PREDICT)
    assert (train.batch_size, train.shuffle, train.epochs) == (1, False, None)
    assert (held_out.batch_size, held_out.shuffle, held_out.epochs, held_out.drop_remainder) == (1, False, 1, False)


def test_the_published_rate_is_constant():
    rate = learning_rate(config("sbs").optimizer)
    np.testing.assert_allclose([rate(step) for step in (0, 1, 100, 100_000)], 1e-4)
    (group,) = load_task(config("sbs")).optimizer(1, 1).groups
    assert group.elementwise and group.paths == ("",)


def test_warm_up_and_decay():
    optimizer = config("tiny", optimizer__learning_rate=1.0, optimizer__lr_warmup_steps=10, optimizer__lr_decay_steps=100).optimizer
    optimizer.lr_final_fraction = 0.1
    rate = learning_rate(optimizer)
    np.testing.assert_allclose(rate(0), 0.1)
    np.testing.assert_allclose(rate(50), 0.55)
    np.testing.assert_allclose([rate(100), rate(1000)], 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    "name, value",
    [("learning_rate", 0.0), ("lr_final_fraction", 1.1), ("lr_warmup_steps", -1), ("lr_decay_steps", -1), ("clip_norm", -1.0)],
)
def test_wrong_values_of_the_optimizer(name, value):
    with pytest.raises(ValueError, match=name):
        load_task(config(**{f"optimizer__{name}": value})).optimizer(1, 1)


def test_adam_is_the_published_one():
    """Two steps by hand: moments 0.9 and 0.999, epsilon 1e-8 beside the root, rate 1e-4."""
    transform = load_task(config("sbs")).optimizer(1, 1).groups[0].transform
    params, gradients = jnp.float32([1.0, -2.0]), np.array([[0.5, 1e-7], [-0.25, 2e-7]])
    state, m, v = transform.init(params), 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        updates, state = transform.update(jnp.asarray(gradient, jnp.float32), state, params)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected = -1e-4 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        np.testing.assert_allclose(updates, expected, rtol=2e-4)
    assert state.hyperparams["learning_rate"] == np.float32(1e-4)


def learned(precision, steps=60):
    task = load_task(small(model__precision=precision, train__batch_size=1))
    stepper = stepping.Stepper(task, ASSETS)
    samples = stepping.made_up(VERTICES, 12, 3)
    firsts = next(stepping.order(12, 1, shuffle=True, seed=0))
    learning, found = stepper.begin(), []
    for _ in range(steps // 12):
        learning, some = stepper.steps(learning, samples, firsts)
        found.append(np.asarray(some))
    return stepper, learning, samples, np.concatenate(found)


def test_precisions_learn_the_same_curve():
    _, _, _, exact = learned("float32")
    _, _, _, short = learned("bfloat16")
    assert exact[-12:].mean() < 0.2 * exact[:12].mean()
    np.testing.assert_allclose(short, exact, rtol=0.1)


def test_steps_in_one_dispatch_are_steps_one_by_one():
    stepper, learning, samples, found = learned("float32", steps=12)
    one = stepper.begin()
    for first, expected in zip(next(stepping.order(12, 1, shuffle=True, seed=0)), found):
        one, loss = stepper.step(one, samples, first)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(one.params, learning.params, atol=1e-5)
    assert one.step == learning.step == 12
    found = stepper.predict(learning.params, {"source": samples["source"][:1]})
    assert found["vertices"].shape == (1, VERTICES, 3)


def test_the_order_of_batches():
    kept, mixed = (stepping.order(7, 2, shuffle=shuffle, seed=0) for shuffle in (False, True))
    np.testing.assert_array_equal(next(kept), [0, 2, 4])
    first, second = next(mixed), next(mixed)
    assert sorted(first) == sorted(second) == [0, 2, 4]


def test_made_up_meshes():
    batch = stepping.made_up(VERTICES, 5, 3, 4)
    assert {name: x.shape for name, x in batch.items()} == {"source": (5, 3, 100, 3), "target": (5, 100, 3), "joints": (5, 4, 3)}
    np.testing.assert_allclose(batch["source"][1, 2], batch["source"][2, 1], atol=1e-6)  # frame 1, seen from frame 2
    assert 1e-6 < np.mean(np.square(batch["source"][:, -1] - batch["target"])) < 1e-3
    faces = stepping.grid_faces(VERTICES)
    assert faces.shape == (2 * 9 * 9, 3) and faces.max() == 99 and len(np.unique(faces)) == 100
