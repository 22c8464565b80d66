"""Groups of parameters: who belongs where, what each transform sees, what is frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ava_jax.tasks.base import Optimizer, ParameterGroup
from ava_jax.train import optimization, packing
from ava_jax.train import state as states


class Experts(nnx.Module):
    """Weights [E, in, out], as of a mixture of experts, among layers."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.encoder = nnx.List([nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 5, rngs=rngs)])
        self.experts = nnx.Param(jax.random.normal(jax.random.key(1), (3, 5, 2)))
        self.colour = nnx.Linear(2, 3, rngs=rngs)


PARAMS = states.split(Experts()).params
GRADIENTS = [jax.tree.map(lambda x, i=i: jnp.cos(7.0 * i + 10 * jnp.arange(x.size)).reshape(x.shape) * (1 + i), PARAMS) for i in range(4)]


def _injected(transform, rate):
    return optax.inject_hyperparams(transform)(learning_rate=rate)


def _steps(optimizer, gradients=GRADIENTS, params=PARAMS, trainable=()):
    """Parameters after the gradients, as the step moves them, and the last state."""
    laid_out = optimization.lay_out(params, optimizer, trainable)
    state = optimization.init(optimizer, laid_out)

    @jax.jit
    def step(laid_out, state, gradients):
        gradients = laid_out.holding(gradients).groups
        norm = optimization.joint_norm(gradients)
        updates, state = optimization.update(optimizer, gradients, norm, state, laid_out, jnp.float32(2.0))
        return optimization.dataclasses.replace(laid_out, groups=optax.apply_updates(laid_out.groups, updates)), state

    for gradient in gradients:
        laid_out, state = step(laid_out, state, gradient)
    return optimization.unpacked(laid_out), state


def _plain_steps(transform, params=PARAMS, gradients=GRADIENTS):
    state = transform.init(params)
    for gradient in gradients:
        updates, state = jax.jit(transform.update)(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def _assert_same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), a, b)


@pytest.mark.parametrize("elementwise", [True, False])
def test_groups_move_as_plain_optax_moves_the_plain_tree(elementwise):
    groups = (
        ParameterGroup("colour", optax.adam(1e-2), ("colour/",), elementwise),
        ParameterGroup("rest", optax.chain(optax.adam(1e-3), optax.scale(3.0)), elementwise=elementwise),
    )
    found, _ = _steps(Optimizer(groups, clip_norm=1.0))

    def label(path, _):
        return "colour" if "'colour'" in jax.tree_util.keystr(path) else "rest"

    parts = {"colour": optax.adam(1e-2), "rest": optax.chain(optax.adam(1e-3), optax.scale(3.0))}
    plain = optax.chain(optax.clip_by_global_norm(1.0), optax.multi_transform(parts, jax.tree_util.tree_map_with_path(label, PARAMS)))
    _assert_same(found, _plain_steps(plain), rtol=2e-6, atol=1e-8)
    assert not np.allclose(found["experts"][...], PARAMS["experts"][...])


def test_what_lies_together_and_what_does_not():
    groups = ParameterGroup("experts", optax.sgd(1.0), ("experts$",), elementwise=False), ParameterGroup("rest", optax.sgd(1.0))
    laid_out = optimization.lay_out(PARAMS, Optimizer(groups))
    assert laid_out.groups["experts"]["experts"].shape == (3, 5, 2)
    assert list(laid_out.groups["rest"].arrays) == [packing.PACKED]
    jax.tree.map(np.testing.assert_array_equal, laid_out.tree(), PARAMS)
    assert laid_out.learning()["rest"]["encoder"].keys() == {0, 1}


def test_a_transformation_alone_sees_the_plain_tree_and_the_loss():
    seen = []

    def update(gradients, state, params, *, loss, **_):
        seen.append((gradients, params, loss))
        return jax.tree_util.tree_map_with_path(lambda path, g: -g / jnp.linalg.norm(g), gradients), state

    transform = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    found, _ = _steps(transform, GRADIENTS[:1])
    (gradients, params, _) = seen[0]
    assert params.keys() == {"encoder", "experts", "colour"} and params["encoder"][1]["kernel"].shape == (6, 5)
    want = jax.tree.map(lambda p, g: p - g / jnp.linalg.norm(g), PARAMS, GRADIENTS[0])
    _assert_same(found, want, rtol=1e-6, atol=1e-7)
    decayed = optax.adamw(1e-2, weight_decay=0.1, mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params))
    _assert_same(_steps(decayed)[0], _plain_steps(decayed), rtol=1e-6, atol=1e-8)


def test_frozen_parameters_have_no_state_and_stay_bit_for_bit():
    groups = ParameterGroup("colour", optax.adam(1e-2), ("colour/",)), ParameterGroup("rest", optax.adam(1e-2))
    found, state = _steps(Optimizer(groups), trainable=("experts", "encoder/1/bias"))
    assert set(state) == {"rest"}
    assert sorted(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim) == [35, 35]  # both moments of 30 + 5 values
    moved = {name for name, leaf in optimization.by_path(found).items() if not np.array_equal(leaf, optimization.by_path(PARAMS)[name])}
    assert moved == {"experts", "encoder/1/bias"}


def test_the_norm_is_of_all_groups():
    groups = ParameterGroup("colour", optax.sgd(1.0), ("colour/",)), ParameterGroup("rest", optax.sgd(1.0), elementwise=False)
    laid_out = optimization.lay_out(PARAMS, Optimizer(groups))
    np.testing.assert_allclose(optimization.joint_norm(laid_out.groups), optax.tree.norm(PARAMS), rtol=1e-6)


def test_learning_rates_are_told_by_group():
    rate = optax.linear_schedule(1.0, 0.0, 4)
    groups = [ParameterGroup("colour", _injected(optax.adam, 0.5), ("colour/",)), ParameterGroup("rest", _injected(optax.sgd, rate))]
    rates = optimization.learning_rates(_steps(Optimizer(tuple(groups)))[1])
    assert {name: float(value) for name, value in rates.items()} == {"learning_rate/colour": 0.5, "learning_rate/rest": 0.25}
    assert list(optimization.learning_rates(_steps(_injected(optax.adam, 0.5))[1])) == ["learning_rate"]
    groups[0] = ParameterGroup("colour", optax.sgd(1.0), ("colour/",))  # keeps none
    assert list(optimization.learning_rates(_steps(Optimizer(tuple(groups)))[1])) == ["learning_rate/rest"]
    two = optax.chain(_injected(optax.sgd, 0.5), _injected(optax.sgd, 0.1))  # which of them would it be?
    assert optimization.learning_rates(_steps(two)[1]) == {}


def test_what_fits_no_group_or_no_parameter_is_named():
    def group(name, *paths):
        return ParameterGroup(name, optax.sgd(1.0), paths)

    with pytest.raises(ValueError, match=r"must belong to a group, of colour \('colour/',\); encoder/0/bias, .* and 2 more belong to none"):
        optimization.lay_out(PARAMS, Optimizer((group("colour", "colour/"),)))
    with pytest.raises(ValueError, match=r"the group 'texels', \('texels',\), must take a parameter of the model; it takes none"):
        optimization.lay_out(PARAMS, Optimizer((group("texels", "texels"), group("rest", ""))))
    with pytest.raises(ValueError, match=r"need names of their own, one group at least; got \['a', 'a'\]"):
        optimization.lay_out(PARAMS, Optimizer((group("a", "colour"), group("a", ""))))
    with pytest.raises(ValueError, match=r"train.trainable: 'colours/bias' matches .* no parameter's path. Did you mean colour/bias\?"):
        optimization.lay_out(PARAMS, optax.sgd(1.0), ("colours/bias",))
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        optimization.lay_out(PARAMS, optax.sgd(1.0), ("(",))
    with pytest.raises(ValueError, match=r'must list regular expressions, as in \("decoder/",\); got \'colour\''):
        optimization.lay_out(PARAMS, optax.sgd(1.0), "colour")
