"""The reference implementation against loops written out, and its gradients against numerical differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from raymarch_scenes import STEP, cotangent, primitives, rays, reference, zoo

from ava_jax.core.types import Primitives
from ava_jax.ops import raymarch


def _read(volume, at):
    """Trilinear, zeros outside, at x, y, z in [-1, 1]."""
    side = volume.shape[0]
    at = (np.asarray(at) + 1) / 2 * (side - 1)
    low = np.floor(at).astype(int)
    value = np.zeros(volume.shape[-1])
    for corner in np.ndindex(2, 2, 2):
        x, y, z = voxel = low + corner
        if (voxel >= 0).all() and (voxel < side).all():
            value += np.prod(1 - np.abs(at - voxel)) * volume[z, y, x]
    return value


def _march_loop(origin, direction, bounds, prims, warp, step_size):
    """One ray, by the letter of the specification."""
    rgb, alpha = np.zeros(3), 0.0
    for n in range(10**6):
        t = bounds[0] + n * step_size
        if t >= bounds[1]:
            break
        for k in range(prims.position.shape[0]):
            y = prims.scale[k] * (prims.rotation[k].T @ (origin + t * direction - prims.position[k]))
            if (np.abs(y) >= 1).any():
                continue
            sample = _read(prims.rgba[k], y if warp is None else _read(warp[k], y))
            after = alpha + sample[3] * np.exp(-8 * np.sum(y**8)) * step_size
            rgb += (min(after, 1) - alpha) * sample[:3]
            alpha = min(after, 1)
            if alpha == 1:
                return np.append(rgb, 1.0)
    return np.append(rgb, alpha)


@pytest.mark.parametrize("warped", [False, True])
def test_equals_the_loop(warped):
    r, prims = zoo(count=5, side=3, views=1, height=4, width=5)
    warp = np.random.default_rng(0).uniform(-1.3, 1.3, (6, 5, 2, 2, 2, 3)) if warped else None
    rgba = reference(r, prims, warp, cotangent((6, 1, 4, 5, 4)))[0]
    for f, n, i, j in np.ndindex(6, 1, 4, 5):
        ray = (np.float64(x[f, n, i, j]) for x in r)
        own = Primitives(*(np.float64(x[f]) for x in prims))
        expected = _march_loop(*ray, own, None if warp is None else warp[f], STEP)
        np.testing.assert_allclose(rgba[f, n, i, j], expected, rtol=1e-9, atol=1e-9)
    saturated = rgba[..., 3] == 1
    assert 0.05 < saturated.mean() < 0.95


def test_gradients_are_those_of_numerical_differences():
    rng = np.random.default_rng(3)
    prims = primitives(rng, 6, 3)
    prims.rgba[..., 3] *= 8
    r = rays(rng, 1, 5, 6)
    warp = rng.uniform(-0.9, 0.9, (1, 6, 3, 3, 3, 3))
    g = cotangent((1, 1, 5, 6, 4))
    _, d_prims, d_warp = reference(r, prims, warp, g)
    with jax.enable_x64(True):
        rays64, params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (r, (prims, warp)))

        def march(params):
            return raymarch(rays64, params[0], step_size=STEP, warp=params[1], implementation="jax")

        compiled = jax.jit(march).lower(params).compile(compiler_options={"xla_backend_optimization_level": 0})
        loss = lambda params: jnp.sum(compiled(params) * g)  # noqa: E731
        assert 0.1 < np.mean(compiled(params)[..., 3] == 1) < 0.9
        for name, epsilon in (("position", 1e-7), ("rotation", 1e-7), ("scale", 1e-7), ("rgba", 1e-5), ("warp", 1e-7)):
            x = params[1] if name == "warp" else getattr(params[0], name)
            gradient = d_warp if name == "warp" else getattr(d_prims, name)
            for _ in range(3):
                along = rng.standard_normal(x.shape)

                def moved(h):
                    y = x + h * along
                    return loss((params[0], y) if name == "warp" else (params[0]._replace(**{name: y}), params[1]))

                numerical = (moved(epsilon) - moved(-epsilon)) / (2 * epsilon)
                np.testing.assert_allclose(np.sum(gradient * along), numerical, rtol=2e-4, err_msg=name)


def test_a_primitive_that_is_not_finite_gets_no_gradient_and_gives_none():
    r, prims = zoo(count=5, side=3, views=1, height=4, width=5)
    prims.position[:, 1] = np.nan
    rgba, d, _ = reference(r, prims, None, cotangent((6, 1, 4, 5, 4)))
    assert np.isfinite(rgba).all() and rgba.any()
    assert all(np.isfinite(x).all() for x in d)
    assert not any(x[:, 1].any() for x in d)


def test_vmap():
    r, prims = zoo(count=5, side=3, views=1, height=4, width=5)
    march = lambda r, p: raymarch(r, p, step_size=STEP, implementation="jax")  # noqa: E731
    pairs = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), (r, prims))
    compiled = jax.jit(jax.vmap(march)).lower(*pairs).compile(compiler_options={"xla_backend_optimization_level": 0})
    expected = reference(r, prims, None, cotangent((6, 1, 4, 5, 4)))[0]
    np.testing.assert_allclose(compiled(*pairs).reshape(expected.shape), expected, rtol=1e-4, atol=2e-3)
