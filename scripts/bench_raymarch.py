"""Times `ops.raymarch` on the head of the golden vectors, on the platform at hand.

  python scripts/bench_raymarch.py --golden=DIR [--views=1] [--downsample=2]
  python scripts/bench_raymarch.py --golden=DIR --table      the scenes of docs/raymarch.md
  python scripts/bench_raymarch.py --golden=DIR --growth     cost by pixels, primitives, side and depth

The scene: 16,384 primitives of 8^3, the rig's cameras of `bench_cameras.npz`, at 1024 x 667 over `downsample`; `init`: density 1,
as when training starts; `trained`: dense, so that rays saturate. Each view is a frame with primitives of its own, as in training.
Prints milliseconds a call (p50, p90), samples inside primitives up to saturation, nanoseconds a sample and, where the device's
rates are known, the floor: the larger of the bytes that device memory must move (inputs read once, results written once) and the
128 bytes that a sample reads from the nearest cache (backward: 384, with those of its gradient read and written).
"""

import os
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import parity_raymarch
from ava_jax.core.types import Cameras, Primitives, Rays
from ava_jax.ops import camera_rays, native, raymarch

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors.", required=True)
_ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924_avgtex.png; by default the one beside --golden.")
_VIEWS = flags.DEFINE_integer("views", 1, "Frames of one view each, 1 to 4.", lower_bound=1, upper_bound=4)
_DOWNSAMPLE = flags.DEFINE_float("downsample", 2.0, "Divides 1024 x 667.", lower_bound=0.25)
_TABLE = flags.DEFINE_bool("table", False, "Times the scenes of docs/raymarch.md.")
_GROWTH = flags.DEFINE_bool("growth", False, "Times scenes that differ in one size at a time.")
_CALLS = flags.DEFINE_integer("calls", 0, "Calls on their way at once, timed together; 0: 10 on a GPU, else 1.", lower_bound=0)
_REPEATS = flags.DEFINE_integer("repeats", 20, "Timed calls of each function.", lower_bound=3)
_IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "twin"; by default the best there is.')

_RADIUS, _STEP = 256.0, 1.0 / 256.0  # of the published model: mm; volume radii


_TABLE_SCENES = (("init", 4, 1.0), ("init", 1, 0.5), ("init", 4, 2.0), ("trained", 4, 1.0), ("trained", 4, 2.0), ("trained", 1, 1.0))

# Bytes a second of device memory (copied) and of the nearest caches together, by kind of device.
_RATES = {"NVIDIA H200": (4.3e12, 132 * 128 * 1.98e9)}


def head_cameras(golden: pathlib.Path, views: int, downsample: float) -> tuple[Cameras, int, int]:
    data = np.load(golden / "bench_cameras.npz")
    height, width = (int(x / downsample) for x in data["image_hw"])
    cameras = Cameras(*(x[:views] for x in parity_raymarch.head_cameras(data)))
    return cameras._replace(focal=cameras.focal / downsample, principal=cameras.principal / downsample), height, width


def count_steps(march, rays: Rays, prims) -> np.ndarray:
    """Steps [F, N, H, W] that each ray takes: by bisection of where it may end and still reach alpha 1."""
    near, far = (np.asarray(rays.bounds[..., i], np.float64) for i in range(2))
    low, high = np.zeros(near.shape), np.maximum(np.ceil((far - near) / _STEP), 0)
    steps = high.copy()
    for _ in range(int(np.ceil(np.log2(high.max()))) + 1):
        middle = np.floor((low + high) / 2)
        cut = np.minimum(near + (middle - 0.5) * _STEP, far)
        alpha = march(rays._replace(bounds=jnp.asarray(np.stack([near, cut], -1), jnp.float32)), prims)[..., 3]
        saturated = (np.asarray(alpha) >= 1) & (middle > 0)
        steps = np.where(saturated, np.minimum(steps, middle), steps)
        low, high = np.where(saturated, low, middle), np.where(saturated, middle, high)
    return steps


def count_samples(cameras: Cameras, rays: Rays, prims, steps: np.ndarray) -> int:
    """Samples inside primitives within the first `steps` of each ray."""
    total = 0
    for f in range(steps.shape[0]):
        camera = jax.tree.map(lambda x, f=f: np.asarray(x[f, 0], np.float64), cameras)
        start = np.asarray(rays.origin[f, 0] + rays.bounds[f, 0, ..., :1] * rays.direction[f, 0], np.float64)
        step = np.asarray(rays.direction[f, 0], np.float64) * _STEP
        position, rotation, scale = (np.asarray(x[f], np.float64) for x in prims[:3])
        seen = (position - camera.position / _RADIUS) @ camera.rotation.T
        centre = seen[:, :2] / seen[:, 2:] * camera.focal + camera.principal
        reach = np.linalg.norm(1 / scale, axis=-1) / seen[:, 2] * camera.focal.max() * 1.1 + 1
        low = np.maximum(np.floor(centre - reach[:, None]), 0).astype(int)
        high = np.maximum(np.ceil(centre + reach[:, None]), 0).astype(int) + 1
        for k in range(position.shape[0]):
            pixels = np.s_[low[k, 1] : high[k, 1], low[k, 0] : high[k, 0]]
            to_box = rotation[k] * scale[k]
            begin, slope = (start[pixels] - position[k]) @ to_box, step[pixels] @ to_box
            a, b = (-1 - begin) / slope, (1 - begin) / slope
            first = np.maximum(np.floor(np.minimum(a, b).max(-1)) + 1, 0)
            last = np.minimum(np.ceil(np.maximum(a, b).min(-1)), steps[f, 0][pixels])
            total += int(np.maximum(last - first, 0).sum())
    return total


def floors(rays: Rays, prims, samples: int) -> tuple[float, float] | None:
    """Seconds that forward and forward + backward need at least, where the device's rates are known."""
    if jax.devices()[0].device_kind not in _RATES:
        return None
    memory, cache = _RATES[jax.devices()[0].device_kind]
    pixels, template = rays.bounds.size // 2, 4 * prims.rgba.size
    forward = max((template + pixels * (32 + 40)) / memory, 128 * samples / cache)
    backward = max((2 * template + pixels * (32 + 40)) / memory, 384 * samples / cache)
    return forward, forward + backward


def time_calls(function, *args) -> tuple[float, float]:
    """p50 and p90 of the seconds a call, after two rounds to warm up."""
    calls = _CALLS.value or (10 if jax.default_backend() == "gpu" else 1)
    seconds = []
    for _ in range(_REPEATS.value + 2):
        begin = time.perf_counter()
        for _ in range(calls):
            out = function(*args)
        jax.block_until_ready(out)
        seconds.append((time.perf_counter() - begin) / calls)
    return tuple(np.percentile(seconds[2:], (50, 90)))


@jax.jit
def march(rays, prims):
    return raymarch(rays, prims, step_size=_STEP, implementation=_IMPLEMENTATION.value)


@jax.jit
def differentiate(rays, prims, cotangent):
    rgba, transpose = jax.vjp(lambda p: march(rays, p), prims)
    return rgba, *transpose(cotangent)


def time_scene(name: str, rays: Rays, prims, samples: int | None) -> None:
    cotangent = jnp.asarray(np.random.default_rng(1).standard_normal((*rays.bounds.shape[:-1], 4), np.float32))
    floor = samples and floors(rays, prims, samples)
    for i, (label, function, args) in enumerate((("forward", march, ()), ("forward + backward", differentiate, (cotangent,)))):
        p50, p90 = time_calls(function, rays, prims, *args)
        line = f"{name:24} {label:19} p50 {p50 * 1e3:8.3f} ms  p90 {p90 * 1e3:8.3f} ms"
        if samples:
            line += f"  {samples / 1e6:7.2f} M samples  {p50 / samples * 1e9:8.3f} ns a sample"
        if floor:
            line += f"  floor {floor[i] * 1e3:6.3f} ms  ratio {p50 / floor[i]:5.1f}"
        print(line, flush=True)


def head_scene(golden: pathlib.Path, variant: str, views: int, downsample: float) -> None:
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    cameras, height, width = head_cameras(golden, views, downsample)
    rays = camera_rays(cameras, height, width, radius=_RADIUS)
    one = parity_raymarch.head_primitives(np.load(golden / "raymarch_head16384.npz"), assets / "021924_avgtex.png", variant)
    prims = jax.tree.map(lambda x: jnp.concatenate([x] * views), one)
    samples = count_samples(cameras, rays, prims, count_steps(march, rays, prims))
    time_scene(f"{variant} {views} x {height} x {width}", rays, prims, samples)


def random_scene(pixels: int, primitives: int, side: int, depth: float) -> None:
    """A square image of boxes spread over the volume; a ray is in `depth` of them on average."""
    rng = np.random.default_rng(0)
    half = 0.5 * (depth * 4.0 / (1.5 * primitives)) ** 0.5  # a cube's shadow is 1.5 of its faces, the volume's 4
    x, y = np.meshgrid(*[np.linspace(-0.3, 0.3, pixels)] * 2)
    direction = np.stack([x, y, np.ones_like(x)], -1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    origin = np.broadcast_to([0.0, 0.0, -4.0], direction.shape)
    rays = Rays(origin, direction, np.broadcast_to([2.9, 5.6], (*direction.shape[:-1], 2)))
    shapes = ((primitives, 3), (primitives, 3, 3), (primitives, 3), (primitives, side, side, side, 4))
    position, rotation, scale, rgba = (np.zeros(shape) for shape in shapes)
    position[:] = rng.uniform(-1, 1, shapes[0])
    rotation[:] = np.linalg.qr(rng.standard_normal(shapes[1]))[0]
    scale[:], rgba[:] = 1 / half, rng.uniform(0, 1, shapes[3])
    as_float = lambda x: jnp.asarray(x[None], jnp.float32)  # noqa: E731
    prims = Primitives(*map(as_float, (position, rotation, scale, rgba)))
    time_scene(f"{pixels}^2 K={primitives} D={side} depth {depth:g}", Rays(*(as_float(x[None]) for x in rays)), prims, None)


def main(_):
    golden = pathlib.Path(_GOLDEN.value)
    kernel = f", {native.instruction_set()}" if native.BUILT and jax.default_backend() == "cpu" else ""
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} processors{kernel}, jax {jax.__version__}")
    if _GROWTH.value:
        usual = {"pixels": 512, "primitives": 4096, "side": 8, "depth": 4.0}
        values = {"pixels": (128, 256, 512, 1024), "primitives": (256, 1024, 4096, 16384), "side": (4, 8, 16), "depth": (1.0, 4.0, 16.0)}
        for name, sizes in values.items():
            for size in sizes:
                random_scene(**{**usual, name: size})
        return
    scenes = _TABLE_SCENES if _TABLE.value else [(v, _VIEWS.value, _DOWNSAMPLE.value) for v in ("init", "trained")]
    for scene in scenes:
        head_scene(golden, *scene)


if __name__ == "__main__":
    app.run(main)
