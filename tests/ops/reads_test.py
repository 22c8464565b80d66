"""The compiled reads of pixels against plain JAX, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.nn.sampling import sample_bilinear
from ava_jax.ops import native

pytestmark = pytest.mark.skipif(not native.serves_convolutions(), reason="the compiled module is not built, or JAX computes elsewhere")


@pytest.mark.parametrize(
    "shape, points", [((2, 8, 6, 16), (5, 7)), ((1, 3, 4, 3), (1,)), ((3, 5, 5, 21), (1500,)), ((2, 40, 40, 32), (40, 40))]
)
def test_values_and_gradients_are_those_of_plain_jax(shape, points, monkeypatch):
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    at = jnp.asarray(rng.uniform(-1.2, 1.2, (*points, 2)), jnp.float32)  # outside of the image too
    y, transpose = jax.vjp(sample_bilinear, image, at)
    cotangent = jnp.asarray(rng.standard_normal(y.shape), jnp.float32)
    gradients = transpose(cotangent)
    monkeypatch.setattr(native, "serves_convolutions", lambda: False)
    expected, transpose = jax.vjp(sample_bilinear, image, at)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    for found, wanted in zip(gradients, transpose(cotangent), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1.0, np.abs(wanted).max()))


def test_an_index_outside_is_refused():
    from ava_jax.ops import reads

    index, weights = [jnp.array([0, 12])] * 4, [jnp.ones(2)] * 4
    with pytest.raises(Exception, match="within the 12 pixels"):
        jax.block_until_ready(reads.read(jnp.ones((1, 12, 3)), index, weights))
