"""The optimiser against the published recipe written out in NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import small_head
from flax import nnx

from ava_jax.tasks.ava256 import optimizer as recipes
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.optimizer import optimizer
from ava_jax.train import optimization
from ava_jax.train import state as states


def _adam(gradients, rate, boost, boost_step, clip_norm):
    """Clip by global norm, then Adam with bias correction (Kingma and Ba, 2015, algorithm 1); the sum of all updates."""
    total = m = v = 0.0
    for t, g in enumerate(gradients):
        g = g * min(1.0, clip_norm / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mean, variance = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
        total = total - rate * (boost if t >= boost_step else 1.0) * mean / (np.sqrt(variance) + 1e-8)
    return total


def _config(**changes):
    config = ml_collections.ConfigDict({"learning_rate": 2e-3, "lr_boost": 1.4, "lr_boost_step": 3, "clip_norm": 1.0})
    config.update(**({"texel_lr_gain": 1.0, "lr_warmup_steps": 0, "lr_final_fraction": 1.0, "lr_decay_steps": 0} | changes))
    return config


def _steps(config, params, gradients):
    """The parameters after each gradient, as the step moves them, and the learning rates of each."""
    recipe = optimizer(config)
    laid_out = optimization.lay_out(params, recipe)
    state = optimization.init(recipe, laid_out)

    @jax.jit
    def step(laid_out, state, gradients):
        gradients = laid_out.holding(gradients).groups
        updates, state = optimization.update(recipe, gradients, optimization.joint_norm(gradients), state, laid_out, jnp.float32(1.0))
        return dataclasses.replace(laid_out, groups=optax.apply_updates(laid_out.groups, updates)), state

    found, rates = [], []
    for gradient in gradients:
        laid_out, state = step(laid_out, state, gradient)
        found.append(optimization.unpacked(laid_out))
        rates.append({name: float(rate) for name, rate in optimization.learning_rates(state).items()})
    return found, rates


def _tree(values):
    """Ten numbers as parameters of both groups."""
    decoders = {"geometry_decoder": {"bias": values[:2], "code": {"bias": values[2:5]}}, "colour_decoder": {"bias": values[5:7]}}
    return decoders | {"encoder": {"weight": values[7:]}}


def test_adam_with_clipping_and_one_boost():
    sizes = np.float32([0.1, 5.0, 0.3, 2.0, 0.7])  # of the gradients: some are clipped
    gradients = [size * np.random.default_rng(i).standard_normal(10, dtype=np.float32) for i, size in enumerate(sizes)]
    found, rates = _steps(_config(), _tree(jnp.zeros(10)), [_tree(g) for g in gradients])
    want = _tree(_adam([g.astype(np.float64) for g in gradients], 2e-3, 1.4, 3, 1.0))
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
    # float32 holds 1 - 0.999 to 6e-5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * largest), found[-1], want)
    for group in ("texels", "weights"):
        np.testing.assert_allclose([r[f"learning_rate/{group}"] for r in rates], [2e-3] * 3 + [2.8e-3] * 2, rtol=1e-6)


def test_groups_move_as_the_recipe_did_on_one_tree():
    """The recipe as it was before there were groups, in plain optax on the plain tree: clipped, Adam, texel maps scaled."""
    config = _config(lr_decay_steps=20, lr_final_fraction=0.1, texel_lr_gain=30.0, lr_warmup_steps=3)
    decoder = {"bias": jnp.zeros((64, 64, 8)), "code": {"bias": jnp.zeros(5), "weight": jnp.zeros((7, 5))}}
    encoder = {"warp": jnp.zeros((16, 16, 2)), "weight": jnp.zeros((4, 4, 90, 100))}  # the last is too large to be packed
    params = {"geometry_decoder": decoder, "colour_decoder": {"bias": jnp.zeros((64, 64, 24))}, "identity_encoder": encoder}

    def scaled(updates, params):
        def one(path, update):
            name = "/".join(str(getattr(key, "key", key)) for key in path)
            return update * 30.0 if name.startswith(("geometry_decoder/bias", "colour_decoder/bias")) else update

        return jax.tree_util.tree_map_with_path(one, updates)

    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))(recipes.learning_rate(config))
    plain = optax.chain(optax.clip_by_global_norm(1.0), adam, optax.stateless(scaled))
    sizes = (9.0, 1e-5, 1.0, 0.1)  # the second is not clipped
    rng = np.random.default_rng(0)
    gradients = [jax.tree.map(lambda x, size=size: size * rng.standard_normal(x.shape, np.float32), params) for size in sizes]
    found, _ = _steps(config, params, gradients)
    state, update = plain.init(params), jax.jit(plain.update)
    for gradient, ours in zip(gradients, found, strict=True):
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(b).max()), ours, params)
    assert np.abs(params["geometry_decoder"]["bias"]).max() > 10 * np.abs(params["geometry_decoder"]["code"]["bias"]).max()


def test_short_runs_ramp_up_and_fall_along_a_cosine():
    config = ml_collections.ConfigDict(
        {"learning_rate": 4e-3, "lr_boost": 1.0, "lr_boost_step": 10_000, "clip_norm": 1.0}
        | {"lr_warmup_steps": 4, "lr_decay_steps": 20, "lr_final_fraction": 0.1}
    )
    rates = np.array([float(recipes.learning_rate(config)(step)) for step in range(21)])
    step = np.arange(21)
    want = 4e-3 * np.minimum((step + 1) / 4, 1) * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * step / 20)))
    np.testing.assert_allclose(rates, want, rtol=1e-5)
    assert rates[0] < rates[3] and np.isclose(rates[20], 4e-4)


def test_texel_maps_learn_faster_and_nothing_else_does():
    config = _config(clip_norm=1e9)
    config.texel_lr_gain, config.learning_rate = 10.0, 1e-3
    params = {decoder: {"bias": jnp.zeros(3), "code": {"bias": jnp.zeros(3)}} for decoder in ("geometry_decoder", "colour_decoder")}
    (found,), _ = _steps(config, params, [jax.tree.map(jnp.ones_like, params)])
    for decoder in found.values():
        np.testing.assert_allclose(decoder["bias"], -1e-2, rtol=1e-5)
        np.testing.assert_allclose(decoder["code"]["bias"], -1e-3, rtol=1e-5)


def test_the_texel_maps_of_the_model_are_a_group():
    model = nnx.eval_shape(lambda: AvatarCodec(small_head.config(), small_head.assets(), rngs=nnx.Rngs(0)))
    laid_out = jax.eval_shape(lambda params: optimization.lay_out(params, optimizer(_config())), states.split(model).params)
    assert {name for name, group in laid_out.owners if group == "texels"} == {"geometry_decoder/bias", "colour_decoder/bias"}
    assert all(len(leaf.shape) == 3 for leaf in jax.tree.leaves(laid_out.groups["texels"]))
