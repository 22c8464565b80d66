"""The compiled raymarcher against the reference implementation in float64, and what both must refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raymarch_scenes import CASES, STEP, cotangent, differentiate, primitives, rays, reference, zoo

from ava_jax.core.types import Primitives
from ava_jax.ops import native, raymarch

needs_native = pytest.mark.skipif(not native.serves_default_backend(), reason="the compiled raymarcher is not built for this platform")

# Of float32 arithmetic: colour in units of 255, then alpha; gradients as a fraction of the frame's largest.
COLOUR, ALPHA, GRADIENT = 2e-3, 2e-5, 5e-5


def assert_equal_to_reference(r, prims, warp=None, step_size=STEP):
    """The reference implementation in float64 on the same numbers. What is bfloat16 is rounded to eight binary digits."""
    g = cotangent((*r.origin.shape[:4], 4))
    ours = differentiate(r, prims, warp, g, implementation="native", step_size=step_size)
    expected = reference(r, prims, warp, g, step_size=step_size)
    for f in range(r.origin.shape[0]):
        np.testing.assert_allclose(ours[0][f, ..., :3], expected[0][f, ..., :3], atol=COLOUR, rtol=0, err_msg=f"frame {f}")
        np.testing.assert_allclose(ours[0][f, ..., 3], expected[0][f, ..., 3], atol=ALPHA, rtol=0, err_msg=f"frame {f}")
        names = (*Primitives._fields, "warp")
        for name, a, b in zip(names, (*ours[1], ours[2]), (*expected[1], expected[2])):
            if a is not None:
                bound = GRADIENT * np.abs(b[f]).max() + 1e-12
                rounding = 2.0**-8 if a.dtype == jnp.bfloat16 else 0
                np.testing.assert_allclose(np.asarray(a[f], np.float64), b[f], atol=bound, rtol=rounding, err_msg=f"frame {f}, d_{name}")
    return expected


@needs_native
def test_every_case():
    rgba = assert_equal_to_reference(*zoo())[0]
    saturated = (rgba[..., 3] == 1).mean((1, 2, 3))
    assert saturated[CASES.index("saturated")] > 0.3 and saturated[CASES.index("generic")] < 0.1


@needs_native
def test_warp_fields():
    r, prims = zoo(count=5, side=3, height=7, width=5)
    warp = np.random.default_rng(5).uniform(-1.2, 1.2, (6, 5, 4, 4, 4, 3)).astype(np.float32)
    assert_equal_to_reference(r, prims, warp)


@needs_native
@pytest.mark.parametrize("side", [8, 4])
def test_voxels_in_bfloat16(side):
    r, prims = zoo(side=side)
    assert_equal_to_reference(r, prims._replace(rgba=jnp.asarray(prims.rgba, jnp.bfloat16)))


@pytest.mark.parametrize("implementation", [pytest.param("native", marks=needs_native), "jax"])
def test_bfloat16_is_how_voxels_are_stored_not_how_they_are_computed_with(implementation):
    """Image and gradients are those of the same numbers in float32; the voxels' own gradient is rounded, once."""
    r, prims = jax.tree.map(lambda x: x[1:3], zoo(count=5, side=3, height=7, width=5))
    warp = np.random.default_rng(5).uniform(-1.2, 1.2, (2, 5, 4, 4, 4, 3)).astype(np.float32)
    stored = prims._replace(rgba=jnp.asarray(prims.rgba, jnp.bfloat16))
    same = prims._replace(rgba=stored.rgba.astype(jnp.float32))
    g = cotangent((*r.origin.shape[:4], 4))
    for field in (None, warp):
        ours, expected = (differentiate(r, p, field, g, implementation=implementation) for p in (stored, same))
        assert [x.dtype for x in jax.tree.leaves(ours)].count(jnp.bfloat16) == 1 and ours[1].rgba.dtype == jnp.bfloat16
        assert not np.array_equal(ours[1].rgba, expected[1].rgba)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected)):
            a, b, rounding = np.asarray(a, np.float64), np.asarray(b, np.float64), 2.0**-8 if a.dtype == jnp.bfloat16 else 0
            np.testing.assert_allclose(a, b, rtol=rounding, atol=1e-6 * np.abs(b).max())


@needs_native
@pytest.mark.parametrize(
    "count, side, views, height, width, half",
    [(1, 2, 1, 1, 1, 1.5), (2, 32, 1, 33, 9, 0.6), (300, 2, 3, 10, 41, 0.1)],
)
def test_sizes(count, side, views, height, width, half):
    rng = np.random.default_rng(count)
    prims = primitives(rng, count, side, half)
    prims.rgba[..., 3] *= 3
    r = rays(rng, views, height, width)
    if height * width == 1:
        r = r._replace(direction=-r.origin / np.linalg.norm(r.origin, axis=-1, keepdims=True))
    rgba = assert_equal_to_reference(r, prims)[0]
    assert rgba.any()


@needs_native
def test_rays_in_all_directions_from_scattered_origins():
    """No camera: the bounds of a tile's rays must hold whatever the rays are."""
    rng = np.random.default_rng(11)
    r = rays(rng, 1, 12, 12)
    direction = rng.standard_normal(r.direction.shape)
    origin = rng.uniform(-1, 1, direction.shape)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    length = np.stack([np.zeros((1, 1, 12, 12)), rng.uniform(0, 2, (1, 1, 12, 12))], -1)
    scattered = r._replace(origin=origin.astype(np.float32), direction=direction.astype(np.float32), bounds=length.astype(np.float32))
    assert_equal_to_reference(scattered, primitives(rng, 40, 3, 0.2))


@needs_native
def test_hundreds_of_primitives_on_one_ray_all_count():
    rng = np.random.default_rng(4)
    prims = primitives(rng, 1000, 2, 0.5)
    prims.rgba[..., 3] = 0.001
    prims.position[:] *= 0.1
    r = rays(rng, 1, 3, 3, spread=0.01)
    alone = np.zeros(())
    for part in np.array_split(np.arange(1000), 5):
        alone = alone + raymarch(r, Primitives(*(x[:, part] for x in prims)), step_size=STEP, implementation="native")
    together = raymarch(r, prims, step_size=STEP, implementation="native")
    assert 0.1 < together[..., 3].max() < 1
    np.testing.assert_allclose(together, alone, rtol=1e-4)


@needs_native
def test_not_a_number_stays_in_the_pixels_that_it_touches():
    rng = np.random.default_rng(6)
    prims = primitives(rng, 9, 4, 0.2)
    r = rays(rng, 1, 20, 24)
    march = lambda p: np.asarray(raymarch(r, p, step_size=STEP, implementation="native"))  # noqa: E731
    bad, without = jax.tree.map(np.copy, (prims, prims))
    bad.rgba[:, 3] = np.nan
    without.rgba[:, 3] = 0
    covered = march(Primitives(*(x[:, 3:4] for x in prims)))[..., 3] > 0
    image, rest = march(bad), march(without)
    assert np.isnan(image).any()
    np.testing.assert_array_equal(image[~covered], rest[~covered])
    for field in ("position", "rotation", "scale"):
        bad = jax.tree.map(np.copy, prims)
        getattr(bad, field)[:, 3] = np.nan
        np.testing.assert_array_equal(march(bad), rest)
        _, d, _ = differentiate(r, bad, None, cotangent(image.shape), implementation="native")
        assert all(np.isfinite(x).all() for x in d) and not any(x[:, 3].any() for x in d)


@needs_native
@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e38, -1e38, 1e-38, 1e6, 0.0])
@pytest.mark.parametrize("field", Primitives._fields)
def test_extreme_numbers_touch_nothing_else(field, value):
    rng = np.random.default_rng(8)
    prims = primitives(rng, 6, 2, 0.2)
    r = rays(rng, 1, 10, 10)
    getattr(prims, field)[:, 0] = value
    without = Primitives(*(x[:, 1:] for x in prims))
    march = lambda p: np.asarray(raymarch(r, p, step_size=STEP, implementation="native"))  # noqa: E731
    untouched = (march(Primitives(*(x[:, :1] for x in prims))) == 0).all(-1)
    image, d, _ = differentiate(r, prims, None, cotangent((1, 1, 10, 10, 4)) * untouched[..., None], implementation="native")
    np.testing.assert_allclose(np.asarray(image)[untouched], march(without)[untouched], rtol=1e-5, atol=1e-5)
    assert all(np.isfinite(x[:, 1:]).all() for x in d)


def test_defaults_to_the_best_there_is():
    rng = np.random.default_rng(9)
    prims, r = primitives(rng, 3, 2), rays(rng, 1, 3, 4)
    default = raymarch(r, prims, step_size=STEP)
    named = raymarch(r, prims, step_size=STEP, implementation="native" if native.serves_default_backend() else "jax")
    np.testing.assert_array_equal(default, named)
