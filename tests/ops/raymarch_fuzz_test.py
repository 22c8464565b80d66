"""Bad numbers in every argument of the CPU kernel, through the op; raymarch_fuzz.cc does the same to thousands of scenes, without JAX.

What a bad primitive does not cover, and what a bad ray is not, keeps every bit: pixels, and gradients of the other primitives.
"""

import functools

import jax
import numpy as np
import pytest
from raymarch_scenes import STEP, cotangent, primitives, rays

from ava_jax.core.types import Primitives, Rays
from ava_jax.ops import native, raymarch

pytestmark = pytest.mark.skipif(
    not native.BUILT or jax.default_backend() != "cpu", reason="the compiled CPU raymarcher is not built, or another platform computes"
)
VALUES = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-38, 1e20, 0.0)
COUNT, BAD = 11, 4


@functools.cache
def scene(warped: bool):
    rng = np.random.default_rng(20 + warped)
    prims = primitives(rng, COUNT, 5, 0.25)
    prims.rgba[..., 3] *= 20  # some rays saturate
    warp = rng.uniform(-1.1, 1.1, (1, COUNT, 3, 3, 3, 3)).astype(np.float32) if warped else None
    return rays(rng, 2, 13, 19), prims, warp


@jax.jit
def differentiate(r, params, g):
    """Image and gradients of (primitives, warp)."""
    image, transpose = jax.vjp(lambda p: raymarch(r, p[0], step_size=STEP, warp=p[1], implementation="native"), params)
    return image, transpose(g)[0]


def drop(tree):
    return jax.tree.map(lambda x: np.delete(x, BAD, axis=1), tree)


def covered(r, prims):
    """Pixels where primitive BAD holds a sample."""
    alone = Primitives(*(x[:, BAD : BAD + 1] for x in prims))
    alone = alone._replace(rgba=np.ones_like(alone.rgba))
    return np.asarray(raymarch(r, alone, step_size=STEP, implementation="native"))[..., 3] > 0


def assert_same_bits(ours, expected, what):
    def check(a, b):
        np.testing.assert_array_equal(*(np.ascontiguousarray(x).view(np.uint32) for x in (a, b)), err_msg=what)

    jax.tree.map(check, ours, expected)


@pytest.mark.parametrize("field", [*Primitives._fields, "warp"])
@pytest.mark.parametrize("whole", [False, True], ids=["one number", "all numbers"])
def test_a_bad_primitive(field, whole):
    r, prims, warp = scene(field == "warp")
    for value in VALUES:
        bad, field_of = jax.tree.map(np.copy, (prims, warp)), lambda p: p[1] if field == "warp" else getattr(p[0], field)
        numbers = field_of(bad)[0, BAD].reshape(-1)
        numbers[: numbers.size if whole else 1] = value
        touched = covered(r, bad[0])
        g = cotangent((*touched.shape, 4)) * ~touched[..., None]
        image, gradients = differentiate(r, bad, g)
        rest, others = differentiate(r, drop((prims, warp)), g)
        what = f"{field} = {value}"
        assert_same_bits((np.asarray(image)[~touched],), (np.asarray(rest)[~touched],), what)
        assert_same_bits(drop(gradients), others, what)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients)), what
        assert field in ("rgba", "warp") or np.isfinite(value) or not touched.any(), what


@pytest.mark.parametrize("field", Rays._fields)
def test_a_bad_ray(field):
    r, prims, _ = scene(False)
    pixel = (0, 1, 6, 9)
    g = cotangent((*r.origin.shape[:4], 4))
    g[pixel] = 0
    image, gradients = differentiate(r, (prims, None), g)
    others = np.ones(image.shape[:4], bool)
    others[pixel] = False
    for value in VALUES:
        for axis in range(getattr(r, field).shape[-1]):
            bad = jax.tree.map(np.copy, r)
            getattr(bad, field)[(*pixel, axis)] = value
            ours, d = differentiate(bad, (prims, None), g)
            assert_same_bits((np.asarray(ours)[others],), (np.asarray(image)[others],), f"{field} = {value}")
            assert_same_bits(d, gradients, f"{field} = {value}")
            assert np.isfinite(value) or not np.isnan(ours[pixel]).any(), (field, value)


def test_rays_that_cancel_lose_nothing():
    """Two rays in opposite directions: their tile's cone has no axis."""
    r, prims, _ = scene(False)
    through = Rays(*(np.concatenate([x[:, :1, 6:7, 9:10]] * 2, axis=3) for x in r))
    through.direction[0, 0, 0, 1] *= -1
    image, _ = differentiate(through, (prims, None), np.zeros((1, 1, 1, 2, 4), np.float32))
    alone, _ = differentiate(jax.tree.map(lambda x: x[:, :, :, :1], through), (prims, None), np.zeros((1, 1, 1, 1, 4), np.float32))
    assert alone.any()
    np.testing.assert_array_equal(image[:, :, :, :1], alone)


@pytest.mark.parametrize("height, width, count, side", [(1, 1, 1, 2), (1, 7, 2, 3), (31, 1, 65, 7), (17, 13, 130, 11), (3, 33, 3, 31)])
def test_odd_sizes_give_the_same_bits_again(height, width, count, side):
    rng = np.random.default_rng(count)
    prims, r = primitives(rng, count, side, 0.4), rays(rng, 1, height, width, spread=0.3)
    g = cotangent((1, 1, height, width, 4))
    first = differentiate(r, (prims, None), g)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(first))
    for _ in range(3):
        assert_same_bits(differentiate(r, (prims, None), g), first, "again")
