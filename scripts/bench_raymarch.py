"""Times `ops.raymarch` on the head of the golden vectors, on the platform at hand.

  python scripts/bench_raymarch.py --golden=DIR [--views=1] [--downsample=2]

The scene: 16,384 primitives of 8^3, the rig's cameras of `bench_cameras.npz`, at 1024 x 667 over `downsample`; `init`: density 1,
as when training starts; `trained`: dense, so that rays saturate. Each view is a frame with primitives of its own, as in training.
Prints milliseconds (p50, p90), samples inside primitives up to saturation, and nanoseconds a sample.
"""

import os
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import parity_raymarch
from ava_jax.core.types import Cameras, Rays
from ava_jax.ops import camera_rays, native, raymarch

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors.", required=True)
_ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924_avgtex.png; by default the one beside --golden.")
_VIEWS = flags.DEFINE_integer("views", 1, "Frames of one view each, 1 to 4.", lower_bound=1, upper_bound=4)
_DOWNSAMPLE = flags.DEFINE_float("downsample", 2.0, "Divides 1024 x 667.", lower_bound=0.25)
_REPEATS = flags.DEFINE_integer("repeats", 20, "Timed calls of each function.", lower_bound=3)
_IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "twin"; by default the best there is.')

_RADIUS, _STEP = 256.0, 1.0 / 256.0  # of the published model: mm; volume radii


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


def time_calls(function, *args) -> tuple[float, float]:
    """p50 and p90 in seconds, after two calls to warm up."""
    seconds = []
    for i in range(_REPEATS.value + 2):
        begin = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - begin)
    return tuple(np.percentile(seconds[2:], (50, 90)))


def main(_):
    golden = pathlib.Path(_GOLDEN.value)
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    cameras, height, width = head_cameras(golden, _VIEWS.value, _DOWNSAMPLE.value)
    rays = camera_rays(cameras, height, width, radius=_RADIUS)
    kernel = f", {native.instruction_set()}" if native.serves_default_backend() else ""
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} processors{kernel}; {_VIEWS.value} x {height} x {width}")

    def march(rays, prims):
        return raymarch(rays, prims, step_size=_STEP, implementation=_IMPLEMENTATION.value)

    def differentiate(rays, prims, cotangent):
        rgba, transpose = jax.vjp(lambda p: march(rays, p), prims)
        return rgba, *transpose(cotangent)

    march, differentiate = jax.jit(march), jax.jit(differentiate)
    cotangent = jnp.asarray(np.random.default_rng(1).standard_normal((_VIEWS.value, 1, height, width, 4), np.float32))
    for variant in ("init", "trained"):
        one = parity_raymarch.head_primitives(np.load(golden / "raymarch_head16384.npz"), assets / "021924_avgtex.png", variant)
        prims = jax.tree.map(lambda x: jnp.concatenate([x] * _VIEWS.value), one)
        samples = count_samples(cameras, rays, prims, count_steps(march, rays, prims))
        for name, function, args in (("forward", march, (rays, prims)), ("forward + backward", differentiate, (rays, prims, cotangent))):
            p50, p90 = time_calls(function, *args)
            print(
                f"{variant:8} {name:19} p50 {p50 * 1e3:8.1f} ms  p90 {p90 * 1e3:8.1f} ms  "
                f"{samples / 1e6:7.2f} M samples  {p50 / samples * 1e9:7.1f} ns a sample",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
