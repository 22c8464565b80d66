"""Slabs to voxels by the kernels and written out, against the layers one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.nn import conv
from ava_jax.tasks.ava256.kernels import voxels
from ava_jax.tasks.ava256.kernels.voxels import LOG_OPACITY_SCALE, Slab, template

pytestmark = pytest.mark.slow

both_types = pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])  # of the voxels


def slabs(side, frames=2):
    """Colours about half of which are below 0, opacities of several sizes."""
    keys = iter(jax.random.split(jax.random.key(0), 6))

    def slab(channels, scale):
        blocks = scale * jax.random.normal(next(keys), (frames, side // 2 + 1, side // 2 + 1, 4 * channels))
        bias, texels = (scale * jax.random.normal(next(keys), shape) for shape in ((channels,), (side, side, channels)))
        return Slab(blocks.astype(jnp.bfloat16), bias, texels)

    return slab(24, 4.0), slab(8, 5.0)


def cotangent(side, frames=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(1), (frames, (side // 8) ** 2, 8, 8, 8, 4), dtype)


def one_by_one(colour, opacity, dtype=jnp.float32):
    values = (conv.pixel_shuffle_crop(s.blocks).astype(jnp.float32) + s.bias + s.texels for s in (colour, opacity))
    colour, opacity = values
    return template(colour, LOG_OPACITY_SCALE * opacity, 8, dtype)


def assert_close(ours, expected):
    """To float32, or to bfloat16 for what is kept in it."""
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected)):
        assert a.dtype == b.dtype and a.shape == b.shape
        bound = 1e-2 if a.dtype == jnp.bfloat16 else 1e-5
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * np.abs(b).mean())


@both_types
def test_slabs_and_their_gradients_are_the_layers_one_by_one(dtype):
    def with_gradients(made):
        def run(slabs, given):
            value, transpose = jax.vjp(lambda *slabs: made(*slabs, dtype), *slabs)
            return value, transpose(given)

        return jax.jit(run)(slabs(64), cotangent(64, dtype=dtype))

    (ours, gradients), (expected, expected_gradients) = with_gradients(voxels.template_of_slabs), with_gradients(one_by_one)
    assert ours.dtype == dtype
    assert_close(ours, expected)
    assert_close(gradients, expected_gradients)


def test_voxels_in_bfloat16_are_those_in_float32_rounded():
    """And so are gradients by the slabs, of numbers rounded likewise: none is summed in bfloat16."""
    wide, transpose = jax.vjp(one_by_one, *slabs(64))
    narrow, narrow_transpose = jax.vjp(lambda *slabs: one_by_one(*slabs, jnp.bfloat16), *slabs(64))
    np.testing.assert_array_equal(narrow, wide.astype(jnp.bfloat16))
    given = cotangent(64, dtype=jnp.bfloat16)
    for a, b in zip(jax.tree.leaves(narrow_transpose(given)), jax.tree.leaves(transpose(given.astype(jnp.float32)))):
        # Opacities' slopes are the rounded opacities; what is kept in bfloat16 is rounded again, once either way. Sums cancel.
        bound = (3 if a.dtype == jnp.bfloat16 else 1) * 2.0**-8
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound * np.abs(b).max())


@both_types
def test_forward_kernel(dtype):
    ours = voxels.forward_kernel(*slabs(128), dtype=dtype, interpret=True)
    assert_close(ours, one_by_one(*slabs(128), dtype))


@both_types
def test_backward_kernel(dtype):
    rgba, given = one_by_one(*slabs(128), dtype), cotangent(128, dtype=dtype)
    ours = voxels.backward_kernel(rgba, given, interpret=True)
    assert_close(ours, voxels._backward_plain(rgba, given))


@pytest.mark.parametrize("dtype, frames, side, depth", [(jnp.float32, 1, 64, 8), (jnp.bfloat16, 17, 64, 8), (jnp.bfloat16, 1, 64, 4)])
def test_kernels_are_for_bfloat16_few_frames_and_boxes_of_eight(dtype, frames, side, depth):
    assert voxels.is_supported(jnp.bfloat16, 1, 64, 8)
    assert not voxels.is_supported(dtype, frames, side, depth)


@pytest.mark.gpu
@both_types
@pytest.mark.parametrize("side, frames", [(128, 3), (1024, 4)])
def test_on_a_gpu(side, frames, dtype):
    if jax.default_backend() != "gpu":
        pytest.skip("needs an NVIDIA GPU")
    colour, opacity = slabs(side, frames)
    rgba = jax.jit(lambda *slabs: one_by_one(*slabs, dtype))(colour, opacity)
    assert_close(jax.jit(lambda *slabs: voxels.forward_kernel(*slabs, dtype=dtype))(colour, opacity), rgba)
    given = cotangent(side, frames, dtype)
    assert_close(jax.jit(voxels.backward_kernel)(rgba, given), jax.jit(voxels._backward_plain)(rgba, given))
