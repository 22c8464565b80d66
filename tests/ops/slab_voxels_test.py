"""The compiled voxels against plain JAX, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.ops import native
from ava_jax.tasks.ava256.kernels.voxels import template

pytestmark = pytest.mark.skipif(not native.serves_convolutions(), reason="the compiled module is not built, or JAX computes elsewhere")


@pytest.mark.parametrize("batch, boxes, depth", [(2, 3, 8), (1, 1, 2), (3, 4, 5), (1, 2, 16)])
def test_values_and_gradients_are_those_of_plain_jax(batch, boxes, depth, monkeypatch):
    rng = np.random.default_rng(0)
    side = boxes * depth
    colour = jnp.asarray(4.0 * rng.standard_normal((batch, side, side, 3 * depth)) - 3.0, jnp.float32)  # of both signs after scaling
    log_opacity = jnp.asarray(rng.uniform(-90.0, 88.7, (batch, side, side, depth)), jnp.float32)
    rgba, transpose = jax.vjp(lambda *slabs: template(*slabs, depth), colour, log_opacity)
    cotangent = jnp.asarray(rng.standard_normal(rgba.shape), jnp.float32)
    gradients = transpose(cotangent)
    monkeypatch.setattr(native, "serves_convolutions", lambda: False)
    expected, transpose = jax.vjp(lambda *slabs: template(*slabs, depth), colour, log_opacity)
    np.testing.assert_allclose(rgba, expected, rtol=1e-6, atol=2e-5)
    for found, wanted in zip(gradients, transpose(cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=2e-5)


def test_what_is_no_number_stays_so():
    colour, log_opacity = np.zeros((1, 2, 2, 6), np.float32), np.zeros((1, 2, 2, 2), np.float32)
    colour[0, 0, 0, 0] = log_opacity[0, 1, 1, 1] = np.nan
    log_opacity[0, 0, 0, 0], log_opacity[0, 0, 1, 0] = np.inf, -np.inf
    rgba = np.asarray(template(jnp.asarray(colour), jnp.asarray(log_opacity), 2))[0, 0]  # z, y, x, channel
    assert np.isnan(rgba[0, 0, 0, 0]) and np.isnan(rgba[1, 1, 1, 3]) and np.isnan(rgba).sum() == 2
    assert rgba[0, 0, 0, 3] == np.inf and rgba[0, 0, 1, 3] == 0.0
