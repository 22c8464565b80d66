"""Taps and combiner as one kernel, against the layers one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.nn.layers import WNDense
from ava_jax.tasks.ava256.kernels import fused_combiner
from ava_jax.tasks.ava256.model.encoders import MapCombiner

pytestmark = pytest.mark.slow

# Of 0, where sums in another order may give an activation the other sign: at times they round an activation of 2 to 4
# to the next bfloat16, 1/64 away, and a weight of at most 1 brings that to the next layer.
_NEAR = 1 / 64


def scene(texels, c):
    """Arguments of the kernels, and a gradient by their result."""
    keys = jax.random.split(jax.random.key(0), 5)
    geo, tex = (jax.random.normal(k, (texels, c), jnp.bfloat16) for k in keys[:2])
    matrices = jax.random.normal(keys[2], (8, c, c)) / np.sqrt(c)
    return geo, tex, matrices, 0.1 * jax.random.normal(keys[3], (8, c)), jax.random.normal(keys[4], (texels, 2 * c), jnp.bfloat16)


@jax.jit
def smallest_activation(geo, tex, matrices, biases):
    """The least magnitude of what goes into LeakyReLU, of each texel, activations rounded to bfloat16 between layers."""
    w = matrices.astype(jnp.bfloat16).astype(jnp.float32)
    before = []

    def layer(b, *products):
        y = sum(jnp.matmul(x.astype(jnp.float32), w[i], precision="highest") for x, i in products) + biases[b]
        before.append(jnp.min(jnp.abs(y), axis=-1))
        return jnp.where(y >= 0, y, 0.2 * y).astype(jnp.bfloat16)

    h_geo, h_tex = layer(0, (geo, 0)), layer(1, (tex, 1))
    c_geo, c_tex = layer(2, (h_tex, 2)), layer(3, (h_geo, 3))
    layer(4, (h_geo, 4), (c_geo, 5))
    layer(5, (h_tex, 6), (c_tex, 7))
    return jnp.min(jnp.stack(before), axis=0)


def assert_close(ours, expected, bound):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected)):
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, atol=bound * np.abs(b).max())


def assert_gradients_close(args, cotangent, ours, expected):
    """Those of maps at the texels where no activation is near 0, since LeakyReLU's slope jumps there; sums over texels as they are."""
    clear = np.flatnonzero(np.asarray(smallest_activation(*args)) > _NEAR)
    assert len(clear) > 0.05 * len(cotangent)
    assert_close([x[clear] for x in ours[:2]], [x[clear] for x in expected[:2]], 0.01)
    assert_close(ours[2:], expected[2:], 0.01)


@pytest.mark.parametrize("c", fused_combiner.CHANNELS)
def test_kernels_compute_what_the_plain_form_does(c, monkeypatch):
    monkeypatch.setitem(fused_combiner._BACKWARD, c, fused_combiner._BACKWARD[c]._replace(programs=3))
    geo, tex, matrices, biases, cotangent = scene(1280, c)
    matrices = matrices.astype(jnp.bfloat16)
    ours = fused_combiner.forward_kernel(geo, tex, matrices, biases, interpret=True)
    assert_close(ours, fused_combiner._forward_plain(geo, tex, matrices, biases), 0.01)
    ours = fused_combiner.backward_kernel(geo, tex, matrices, biases, cotangent, interpret=True)
    expected = fused_combiner._backward_plain(geo, tex, matrices, biases, cotangent)
    assert_gradients_close((geo, tex, matrices, biases), cotangent, ours, expected)


def test_gradient_of_the_plain_form_is_its_derivative():
    args = scene(64, 16)
    geo, tex, matrices, biases, cotangent = (x.astype(jnp.float32) for x in args)
    with jax.default_matmul_precision("highest"):
        _, transpose = jax.vjp(fused_combiner._forward_plain, geo, tex, matrices, biases)
        assert_close(fused_combiner._backward_plain(geo, tex, matrices, biases, cotangent), transpose(cotangent), 1e-5)


def test_the_layers_together_are_the_layers_one_by_one():
    rngs, c = nnx.Rngs(0), 16
    tap_geo, tap_tex, combine = WNDense(c, c, rngs=rngs), WNDense(c, c, rngs=rngs), MapCombiner(c, dtype=jnp.float32, rngs=rngs)
    for i, layer in enumerate((tap_geo, tap_tex, combine.to_geo, combine.to_tex, combine.geo, combine.tex)):
        layer.bias[...] = 0.1 * jax.random.normal(jax.random.key(i), (c,))
        layer.magnitude[...] *= 1.0 + 0.1 * i
    geo, tex = (x.astype(jnp.float32).reshape(1, 8, 8, c) for x in scene(64, c)[:2])
    with jax.default_matmul_precision("highest"):
        expected = jnp.concatenate(combine(tap_geo(geo), tap_tex(tex)), axis=-1)
        assert_close(fused_combiner.fused_combiner(geo, tex, combine.effective_weights(tap_geo, tap_tex)), expected, 1e-5)
        assert_close(jnp.concatenate(combine.apply_fused(tap_geo, tap_tex, geo, tex), axis=-1), expected, 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("c", fused_combiner.CHANNELS)
def test_on_a_gpu(c):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    geo, tex, matrices, biases, cotangent = scene(128 * 1111, c)
    matrices = matrices.astype(jnp.bfloat16)
    ours = jax.jit(fused_combiner.forward_kernel)(geo, tex, matrices, biases)
    assert_close(ours, jax.jit(fused_combiner._forward_plain)(geo, tex, matrices, biases), 0.01)
    ours = jax.jit(fused_combiner.backward_kernel)(geo, tex, matrices, biases, cotangent)
    expected = jax.jit(fused_combiner._backward_plain)(geo, tex, matrices, biases, cotangent)
    assert_gradients_close((geo, tex, matrices, biases), cotangent, ours, expected)
