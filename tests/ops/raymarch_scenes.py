"""Scenes for the raymarcher's tests: small, seeded, each frame a case of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Primitives, Rays
from ava_jax.ops import raymarch

STEP = 0.043
CASES = ("generic", "saturated", "transparent", "inside", "scales", "overlapping")


def rotations(rng, count):
    q, _ = np.linalg.qr(rng.standard_normal((count, 3, 3)))
    return q * np.linalg.det(q)[:, None, None]


def primitives(rng, count, side, half=0.35):
    """[1, K, ...] boxes spread over the volume; densities that leave most rays unsaturated."""
    rgba = rng.uniform(0, 255, (1, count, side, side, side, 4))
    rgba[..., 3] = rng.uniform(0, 3, rgba.shape[:-1])
    scale = 1 / (half * rng.uniform(0.6, 1.4, (1, count, 3)))
    position = rng.uniform(-0.7, 0.7, (1, count, 3))
    return Primitives(*(x.astype(np.float32) for x in (position, rotations(rng, count)[None], scale, rgba)))


def rays(rng, views, height, width, distance=2.5, spread=0.5):
    """[1, N, H, W, ...] from cameras around the volume; bounds against the cube [-1, 1]^3."""
    out = []
    for _ in range(views):
        frame = rotations(rng, 1)[0]
        y, x = np.meshgrid(np.linspace(-spread, spread, height), np.linspace(-spread, spread, width), indexing="ij")
        direction = np.stack([x, y, np.ones_like(x)], -1) @ frame
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        origin = np.broadcast_to(-distance * frame[2], direction.shape)
        out.append(bounded(origin, direction))
    return Rays(*(np.stack(x)[None].astype(np.float32) for x in zip(*out)))


def bounded(origin, direction):
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-1 - origin) / direction, (1 - origin) / direction
    near = np.maximum(np.nanmax(np.minimum(a, b), -1), 0)
    return origin, direction, np.stack([near, np.nanmin(np.maximum(a, b), -1)], -1)


def zoo(count=7, side=4, views=2, height=9, width=13):
    """Rays and primitives with one frame for each of CASES."""
    frames = [_case(name, np.random.default_rng(i), count, side, views, height, width) for i, name in enumerate(CASES)]
    return tuple(jax.tree.map(lambda *x: np.concatenate(x), *parts) for parts in zip(*frames))


def _case(name, rng, count, side, views, height, width):
    prims = primitives(rng, count, side)
    r = rays(rng, views, height, width)
    if name == "saturated":
        prims.rgba[..., 3] *= 100
    if name == "transparent":
        prims.rgba[:, ::2, ..., 3] = 0
    if name == "inside":
        r = rays(rng, views, height, width, distance=0.2, spread=3.0)
        r.direction[0, 0, height // 2] = (0, 0, 1)  # parallel to axes, in boxes that are too
        r.direction[0, 0, 0] = (-1, 0, 0)
        r = Rays(*(x.astype(np.float32) for x in bounded(r.origin, r.direction)))
        prims.rotation[:, :2] = np.eye(3)
        r.bounds[0, -1, -1, :, 1] = r.bounds[0, -1, -1, :, 0]  # empty rays
        r.bounds[0, -1, 0, :, 0] = r.bounds[0, -1, 0, :, 1] + 1
    if name == "scales":
        prims.scale[:, 0] = 1e-6  # holds the whole volume
        prims.scale[:, 1] = 1e6  # lies between samples
        prims.scale[:, 2] = (1e-3, 3.0, 40.0)  # a slab
        prims.scale[:, 3] = 0.0
    if name == "overlapping":
        prims.position[:] = prims.position[:, :1]
        prims.rgba[..., 3] *= 3
    return r, prims


def cotangent(shape, seed=7):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def differentiate(rays, prims, warp, cotangent, *, implementation, step_size=STEP):
    """RGBA, gradients of primitives, and of the warp field or None."""

    def run(rays, prims, warp, cotangent):
        march = functools.partial(raymarch, rays, step_size=step_size, implementation=implementation)
        rgba, transpose = jax.vjp(lambda p, w: march(p, warp=w), prims, warp)
        return rgba, *transpose(cotangent)

    args = jax.tree.map(jnp.asarray, (rays, prims, warp, cotangent))
    # Compiling takes most of the reference implementation's time, and optimising most of that.
    compiled = jax.jit(run).lower(*args).compile(compiler_options={"xla_backend_optimization_level": 0})
    return compiled(*args)


def reference(rays, prims, warp, cotangent, *, step_size=STEP):
    """`differentiate` of the reference implementation in float64: what a float32 result is measured against."""
    with jax.enable_x64(True):
        args = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (rays, prims, warp, cotangent))
        return jax.tree.map(np.asarray, differentiate(*args, implementation="jax", step_size=step_size))
