"""The optimiser against the published recipe written out in NumPy."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import small_head
from flax import nnx

from ava_jax.tasks.ava256 import optimizer as recipes
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.optimizer import optimizer
from ava_jax.train import packing
from ava_jax.train import state as states
from ava_jax.train.step import learning_rate


def _adam(gradients, rate, boost, boost_step, clip_norm):
    """Clip by global norm, then Adam with bias correction (Kingma and Ba, 2015, algorithm 1); the sum of all updates."""
    total = m = v = 0.0
    for t, g in enumerate(gradients):
        g = g * min(1.0, clip_norm / np.linalg.norm(g))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mean, variance = m / (1 - 0.9 ** (t + 1)), v / (1 - 0.999 ** (t + 1))
        total = total - rate * (boost if t >= boost_step else 1.0) * mean / (np.sqrt(variance) + 1e-8)
    return total


def test_adam_with_clipping_and_one_boost():
    config = ml_collections.ConfigDict({"learning_rate": 2e-3, "lr_boost": 1.4, "lr_boost_step": 3, "clip_norm": 1.0})
    config.update(texel_lr_gain=1.0, lr_warmup_steps=0, lr_final_fraction=1.0, lr_decay_steps=0)
    sizes = np.float32([0.1, 5.0, 0.3, 2.0, 0.7])  # of the gradients: some are clipped
    gradients = [size * np.random.default_rng(i).standard_normal(6, dtype=np.float32) for i, size in enumerate(sizes)]
    recipe = optimizer(config)
    state, total, rates = recipe.init(jnp.zeros(6)), 0.0, []
    for g in gradients:
        updates, state = jax.jit(recipe.update)(jnp.asarray(g), state, jnp.zeros(6), loss=jnp.float32(1.0))
        total += updates
        rates.append(float(learning_rate(state)))
    want = _adam([g.astype(np.float64) for g in gradients], 2e-3, 1.4, 3, 1.0)
    np.testing.assert_allclose(total, want, rtol=0, atol=2e-5 * np.abs(want).max())  # float32 holds 1 - 0.999 to 6e-5
    np.testing.assert_allclose(rates, [2e-3] * 3 + [2.8e-3] * 2, rtol=1e-6)


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
    config = ml_collections.ConfigDict({"learning_rate": 1e-3, "lr_boost": 1.0, "lr_boost_step": 9, "clip_norm": 1e9})
    config.update(texel_lr_gain=10.0, lr_warmup_steps=0, lr_final_fraction=1.0, lr_decay_steps=0)
    params = {decoder: {"bias": jnp.zeros(3), "code": {"bias": jnp.zeros(3)}} for decoder in ("geometry_decoder", "colour_decoder")}
    recipe = optimizer(config)
    updates, _ = recipe.update(jax.tree.map(jnp.ones_like, params), recipe.init(params), params, loss=jnp.float32(1.0))
    for decoder in updates.values():
        np.testing.assert_allclose(decoder["bias"], -1e-2, rtol=1e-5)
        np.testing.assert_allclose(decoder["code"]["bias"], -1e-3, rtol=1e-5)


def test_the_loop_hands_texel_maps_over_under_their_names():
    model = nnx.eval_shape(lambda: AvatarCodec(small_head.config(), small_head.assets(), rngs=nnx.Rngs(0)))
    packed = jax.eval_shape(packing.pack, states.split(model).params).arrays
    for decoder in ("geometry_decoder", "colour_decoder"):
        (shape,) = (leaf.shape for name, leaf in packed.items() if name.startswith(f"{decoder}/bias"))
        assert len(shape) == 3
