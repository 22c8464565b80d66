"""Geometry images by the kernel against the gather written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.tasks.ava256 import geometry


def scene(side, vertices=501, frames=3):
    keys = jax.random.split(jax.random.key(0), 3)
    index = jax.random.randint(keys[0], (side, side, 3), 0, vertices)
    return 100.0 * jax.random.normal(keys[1], (frames, vertices, 3)), index, jax.random.uniform(keys[2], (side, side, 3))


def test_kernel():
    ours, wanted = geometry.kernel(*scene(32), interpret=True), geometry.interpolate(*scene(32))
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-4)


def test_gradient_by_the_vertices():
    vertices, index, weights = scene(16)
    given = jax.random.normal(jax.random.key(1), (3, 16, 16, 3))
    ours, wanted = (
        jax.grad(lambda v, f=f: jnp.sum(given * f(v, index, weights)))(vertices) for f in (geometry.image, geometry.interpolate)
    )
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def test_applies_to_whole_blocks_of_texels():
    assert geometry.applies(jnp.zeros((32, 32, 3), jnp.int32))
    assert not geometry.applies(jnp.zeros((31, 31, 3), jnp.int32))


@pytest.mark.gpu
def test_on_a_gpu():
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    vertices, index, weights = scene(1024, 7306, 4)
    ours, wanted = jax.jit(geometry.image)(vertices, index, weights), jax.jit(geometry.interpolate)(vertices, index, weights)
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-4)
