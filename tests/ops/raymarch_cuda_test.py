"""The CUDA raymarcher: against the reference implementation, and what it promises about bits, bad numbers and memory.

The golden vectors are raymarch_golden_test.py's, on any platform.
"""

import functools
import importlib.util
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.core.types import Primitives, Rays
from ava_jax.ops import native, raymarch

STEP = 1 / 64
# Frames, views, height, width, primitives, side, side of the warp field or 0.
SHAPES = [
    (1, 1, 1, 1, 1, 2, 0),
    (1, 1, 13, 21, 20, 8, 0),
    (3, 1, 33, 7, 9, 8, 0),
    (2, 3, 37, 129, 30, 8, 0),
    (1, 2, 20, 20, 12, 5, 0),
    (1, 1, 20, 20, 6, 16, 0),
    (1, 1, 20, 20, 4, 32, 0),
    (2, 2, 15, 20, 10, 8, 4),
    (1, 1, 15, 20, 6, 3, 8),
    (1, 1, 12, 12, 3, 2, 17),
]

both_types = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])  # of the voxels
on_gpu = pytest.mark.skipif(
    not (native.CUDA_BUILT and jax.default_backend() == "gpu"),
    reason=f"needs the CUDA module and an NVIDIA GPU (module: {native.CUDA_BUILT}, backend: {jax.default_backend()})",
)


def make_rays(frames=1, views=1, height=13, width=21, distance=3.0) -> Rays:
    """Views of the volume from around it, through pixels that reach beyond it."""
    angle = np.arange(frames * views).reshape(frames, views, 1, 1) * 0.7
    x, y = np.meshgrid(np.linspace(-0.45, 0.45, width), np.linspace(-0.45, 0.45, height))
    along = np.stack([np.cos(angle) * x + np.sin(angle), y + 0 * angle, np.cos(angle) - np.sin(angle) * x], -1)
    direction = along / np.linalg.norm(along, axis=-1, keepdims=True)
    origin = np.broadcast_to(np.stack([-np.sin(angle), 0 * angle, -np.cos(angle)], -1) * distance, direction.shape)
    bounds = np.broadcast_to(np.float32([max(distance - 1.7, 0), distance + 1.7]), (*direction.shape[:-1], 2))
    return Rays(*(jnp.asarray(v, jnp.float32) for v in (origin, direction, bounds)))


def make_prims(frames=1, primitives=20, side=8, seed=0, half=0.2, density=6.0, spread=0.6) -> Primitives:
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((frames, primitives, 3, 3)))[0]
    rgba = rng.uniform(0, 1, (frames, primitives, side, side, side, 4)) * np.array([255, 255, 255, density])
    position = rng.uniform(-spread, spread, (frames, primitives, 3))
    scale = rng.uniform(0.7, 1.4, (frames, primitives, 3)) / half
    return Primitives(*(jnp.asarray(v, jnp.float32) for v in (position, rotation, scale, rgba)))


def held_in(dtype, prims: Primitives) -> Primitives:
    """Rounded on the host: compute-sanitizer, told to watch the raymarcher alone, takes what other kernels write for never written."""
    return prims._replace(rgba=jnp.asarray(np.asarray(prims.rgba).astype(jnp.dtype(dtype))))


def make_warp(frames, primitives, side):
    axis = np.linspace(-1, 1, side)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    noise = np.random.default_rng(3).standard_normal((frames, primitives, *grid.shape)) * 0.2
    return jnp.asarray(grid * 1.1 + noise, jnp.float32)


@functools.partial(jax.jit, static_argnames="implementation")
def differentiate(rays, prims, warp, cotangent, implementation):
    def march(prims, warp):
        return raymarch(rays, prims, step_size=STEP, warp=warp, implementation=implementation)

    rgba, transpose = jax.vjp(march, prims, warp)
    return rgba, *transpose(cotangent)


def run(rays, prims, implementation="native", warp=None):
    """RGBA, gradients of primitives and of the warp field: the CUDA kernel's, or the reference implementation's in float64."""
    cotangent = np.random.default_rng(9).standard_normal((*rays.origin.shape[:-1], 4)).astype(np.float32)
    if implementation == "native":
        return differentiate(rays, prims, warp, cotangent, "native")
    with jax.enable_x64(True):
        arguments = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), (rays, prims, warp, cotangent))
        return jax.tree.map(np.asarray, differentiate(*arguments, "jax"))


def assert_close(ours, expected, bound=1e-3):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        rounding = 2.0**-8 if a.dtype == jnp.bfloat16 else 0.0  # half of the last place of eight binary digits
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.isfinite(a).all()
        assert (np.abs(a - b) - rounding * np.abs(a)).max() <= bound * max(np.abs(b).max(), 1e-6)


def bits(tree):
    return [np.ascontiguousarray(x).view(np.uint8) for x in jax.tree.leaves(tree)]


def assert_same_bits(ours, expected):
    for a, b in zip(bits(ours), bits(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
@on_gpu
@both_types
@pytest.mark.parametrize("frames, views, height, width, primitives, side, warp_side", SHAPES)
def test_equals_reference(frames, views, height, width, primitives, side, warp_side, dtype):
    rays, prims = make_rays(frames, views, height, width), held_in(dtype, make_prims(frames, primitives, side))
    warp = make_warp(frames, primitives, warp_side) if warp_side else None
    ours = run(rays, prims, warp=warp)
    assert ours[0].dtype == jnp.float32 and ours[1].rgba.dtype == dtype
    assert_close(ours, run(rays, prims, "jax", warp=warp))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("side, warp_side, primitives", [(8, 0, 30), (8, 0, 2200), (5, 0, 30), (8, 4, 12)])
def test_bfloat16_computes_as_float32_does(side, warp_side, primitives):
    """The same operations on the same numbers: an image and gradients within rounding, and rays saturate at the same samples."""
    rays, prims = make_rays(2, 2, 37, 61), held_in("bfloat16", make_prims(2, primitives, side, density=30.0))
    warp = make_warp(2, primitives, warp_side) if warp_side else None
    assert_close(run(rays, prims, warp=warp), run(rays, held_in("float32", prims), warp=warp), 2e-5)


@pytest.mark.gpu
@on_gpu
@both_types
@pytest.mark.parametrize("primitives, half, density, opaque", [(2500, 0.05, 6.0, 0), (2500, 0.4, 5e-4, 10), (3, 1.3, 0.2, 0)])
def test_primitives_small_and_large(primitives, half, density, opaque, dtype):
    """Side 8 with one warp per primitive and with four; a few samples of a primitive, and rays of hundreds that share few cells.

    Thin primitives alone must not saturate a ray: at which of its thousands of samples hangs on how their alphas were rounded.
    """
    rays, prims = make_rays(height=9, width=14), make_prims(primitives=primitives, half=half, density=density)
    prims = held_in(dtype, prims._replace(rgba=prims.rgba.at[:, :opaque, ..., 3].mul(2e6)))
    assert_close(run(rays, prims), run(rays, prims, "jax"))


@pytest.mark.gpu
@on_gpu
def test_warps_that_share_a_primitive():
    """A frame by itself (four warps per primitive) and among others (one)."""
    rays, prims = make_rays(height=90, width=120), make_prims(primitives=300, density=2.0)
    cotangent = jnp.asarray(np.random.default_rng(9).standard_normal((*rays.origin.shape[:-1], 4)), jnp.float32)
    several = jax.tree.map(lambda x: jnp.concatenate([x] * 8), (rays, prims, cotangent))
    gradients = differentiate(rays, prims, None, cotangent, "native")[1]
    others = differentiate(several[0], several[1], None, several[2], "native")[1]
    assert_close(gradients, jax.tree.map(lambda x: x[-1:], others), 1e-5)


@pytest.mark.gpu
@on_gpu
def test_many_rays_in_one_cell():
    """A narrow bundle of rays along a primitive of the whole volume: more samples a cell than a lane should take alone."""
    rays = make_rays(height=8, width=12)
    middle = rays.direction[:, :, 4:5, 6:7]
    rays = rays._replace(direction=middle + 0.01 * (rays.direction - middle))
    prims = make_prims(primitives=2, half=1.5, density=0.2, spread=0.1)
    assert_close(run(rays, prims), run(rays, prims, "jax"))


@pytest.mark.gpu
@on_gpu
def test_rays_that_cancel():
    """The first and last rays of a tile are opposite, so that its cone has no axis."""
    rays = make_rays(height=4, width=8, distance=0.2)
    rays = rays._replace(direction=rays.direction.at[:, :, -1, -1].set(-rays.direction[:, :, 0, 0]))
    prims = make_prims()
    assert_close(run(rays, prims), run(rays, prims, "jax"))


@pytest.mark.gpu
@on_gpu
@both_types
@pytest.mark.parametrize("density", [0.0, 1e-3, 60.0, 1e6])
def test_densities(density, dtype):
    rays, prims = make_rays(), held_in(dtype, make_prims(density=density))
    assert_close(run(rays, prims), run(rays, prims, "jax"), 2e-3)


@pytest.mark.gpu
@on_gpu
def test_starts_inside_and_parallel_to_axes():
    rays = make_rays(distance=0.3)
    direction = rays.direction.at[:, :, ::2].set(jnp.array([0.0, 0.0, 1.0])).at[:, :, 1::4].set(jnp.array([1.0, 0.0, 0.0]))
    prims = make_prims(half=0.5)
    prims = prims._replace(rotation=prims.rotation.at[:, ::2].set(jnp.eye(3)))
    rays = rays._replace(direction=direction, bounds=rays.bounds.at[:, :, :3, :, 1].set(0.0))
    assert_close(run(rays, prims), run(rays, prims, "jax"))


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize(
    "height, width, primitives, density",
    [(5, 6, 60, 0.1), (5, 6, 700, 0.02), (5, 6, 700, 3.0), (5, 6, 3000, 0.01), (5, 6, 3000, 1.0), (60, 75, 60, 0.1), (60, 75, 130, 2.0)],
)
def test_primitives_on_one_pixel(height, width, primitives, density):
    """More than a ray or a tile has slots for, than fit the list of a tile, or that of a block: none is dropped."""
    rays, prims = make_rays(height=height, width=width), make_prims(primitives=primitives, side=2, density=density, spread=0.02)
    assert_close(run(rays, prims), run(rays, prims, "jax"), 3e-3)


@pytest.mark.gpu
@on_gpu
def test_65536_primitives():
    rays, prims = make_rays(height=9, width=8), make_prims(primitives=65536, side=2, half=0.02)
    assert_close(run(rays, prims), run(rays, prims, "jax"), 3e-3)


@pytest.mark.gpu
@on_gpu
def test_odd_scales_hold_no_bad_number():
    rays, prims = make_rays(), make_prims(primitives=24)
    scale = prims.scale.at[:, :4].mul(1e-3).at[:, 4:8].mul(1e4).at[:, 8].mul(1e8).at[:, 9, 0].set(0.0)
    prims = prims._replace(scale=scale, position=prims.position.at[:, 10].set(1e4), rgba=prims.rgba.at[..., 3].mul(0.1))
    assert_close(run(rays, prims), run(rays, prims, "jax"), 3e-3)


@pytest.mark.gpu
@on_gpu
@both_types
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["position", "rotation", "scale", "rgba"])
def test_bad_primitive_stays_where_it_is(field, bad, dtype):
    rays, prims = make_rays(height=40, width=70), held_in(dtype, make_prims())
    without = prims._replace(rgba=prims.rgba.at[:, 5].set(0.0))
    seen = np.asarray(run(rays, prims._replace(rgba=jnp.zeros_like(prims.rgba).at[:, 5].set(1.0)))[0][..., 3] > 0)
    broken = prims._replace(**{field: getattr(prims, field).at[:, 5].set(bad)})
    rgba, gradients, _ = run(rays, broken)
    expected = run(rays, without)[0]
    if field == "rgba":
        assert seen.any() and not seen.all()
        np.testing.assert_allclose(np.asarray(rgba)[~seen], np.asarray(expected)[~seen], rtol=1e-5, atol=1e-4)
    else:  # a pose that is not finite holds no sample
        np.testing.assert_allclose(np.asarray(rgba), np.asarray(expected), rtol=1e-5, atol=1e-4)
        assert all(np.isfinite(np.asarray(x)).all() for x in gradients)


@pytest.mark.gpu
@on_gpu
@both_types
def test_same_bits_from_run_to_run(dtype):
    rays, prims = make_rays(2, 2, 61, 75), held_in(dtype, make_prims(2, 300, density=30.0))
    first = run(rays, prims)
    for _ in range(5):
        assert_same_bits(run(rays, prims), first)


@pytest.mark.gpu
@on_gpu
@pytest.mark.parametrize("side", [8, 5])
def test_bits_do_not_depend_on_primitives_elsewhere(side):
    """Also where more primitives per pixel choose other constants for the march."""
    rays, prims = make_rays(height=50, width=70), make_prims(primitives=40, side=side, density=30.0)
    more = make_prims(primitives=2000, side=side, seed=1)
    more = more._replace(position=more.position + 100.0)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), prims, more)
    march = functools.partial(raymarch, rays, step_size=STEP, implementation="native")
    assert_same_bits(march(both), march(prims))


@pytest.mark.gpu
@on_gpu
def test_calls_in_flight():
    rays = make_rays(height=50, width=60)
    scenes = [make_prims(seed=seed, primitives=100) for seed in range(6)]
    together = [run(rays, prims) for prims in scenes]
    for ours, prims in zip(together, scenes):
        assert_same_bits(ours, jax.block_until_ready(run(rays, prims)))


@pytest.mark.gpu
@on_gpu
@both_types
def test_scan_vmap_and_donation(dtype):
    rays, scenes = make_rays(), [held_in(dtype, make_prims(seed=seed)) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *scenes)
    march = functools.partial(raymarch, rays, step_size=STEP, implementation="native")
    expected = jnp.stack([march(prims) for prims in scenes])
    scanned = jax.jit(lambda s: jax.lax.scan(lambda c, prims: (c, march(prims)), 0, s)[1])(stacked)
    mapped = jax.jit(jax.vmap(march))(stacked)
    donated = jax.jit(march, donate_argnums=0)(jax.tree.map(jnp.copy, scenes[0]))
    assert_same_bits((scanned, mapped, donated), (expected, expected, expected[0]))


@pytest.mark.gpu
@on_gpu
def test_command_buffers():
    """The same bits when the calls are captured into CUDA graphs."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import jax, numpy as np; import raymarch_cuda_test as t;"
        "outs = [jax.tree.leaves(t.run(t.make_rays(), t.make_prims(seed=i % 2))) for i in range(8)];"
        "print(hash(tuple(np.asarray(x).tobytes() for x in outs[6])), hash(tuple(np.asarray(x).tobytes() for x in outs[7])))"
    )
    outputs = []
    captured = "--xla_gpu_enable_command_buffer=FUSION,CUSTOM_CALL --xla_gpu_graph_min_graph_size=1"
    for flags in ("--xla_gpu_enable_command_buffer=", captured):
        command = [sys.executable, "-c", program, str(pathlib.Path(__file__).parent)]
        environment = {"XLA_FLAGS": flags, "PYTHONHASHSEED": "0", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] != ""


@pytest.mark.gpu
@on_gpu
def test_shard_map():
    if jax.device_count() < 2:
        pytest.skip(f"needs 2 GPUs, has {jax.device_count()}")
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rays, prims = make_rays(4, 1), make_prims(4)
    spec = jax.sharding.PartitionSpec("data")

    def loss(prims):
        march = jax.shard_map(lambda r, p: raymarch(r, p, step_size=STEP), mesh=mesh, in_specs=(spec, spec), out_specs=spec)
        return jnp.sum(march(rays, prims) ** 2)

    def alone(prims):
        return jnp.sum(raymarch(rays, prims, step_size=STEP) ** 2)

    assert_close(jax.jit(jax.grad(loss))(prims), jax.jit(jax.grad(alone))(prims), 1e-5)


@pytest.mark.gpu
@on_gpu
def test_too_large_a_side():
    with pytest.raises(Exception, match="at most 64 voxels per side; got 65"):
        jax.block_until_ready(raymarch(make_rays(), make_prims(primitives=1, side=65), step_size=STEP, implementation="native"))


@pytest.mark.skipif(importlib.util.find_spec("ava_jax._ffi_cuda") is None, reason="the CUDA module is not built")
def test_scratch_is_linear():
    """Memory has no term in pixels x primitives beyond a list of bounded length per block. Runs without a GPU."""
    from ava_jax import _ffi_cuda

    for i in range(2):
        few, many = (_ffi_cuda.scratch(1, 512, 512, k)[i] for k in (4096, 65536))
        few_wide, many_wide = (_ffi_cuda.scratch(1, 1024, 512, k)[i] for k in (4096, 65536))
        assert abs((many_wide - few_wide) - (many - few)) < 1e-2 * many
        assert 4 * few_wide < 1 << 28
