"""Times `ops.raymarch` on the head of the golden vectors, on the platform at hand.

  python scripts/bench_raymarch.py --golden=DIR [--views=1] [--downsample=2]
  python scripts/bench_raymarch.py --golden=DIR --table      the scenes of docs/design/raymarch_gpu.md
  python scripts/bench_raymarch.py --golden=DIR --growth     cost by pixels, primitives, side and depth
  python scripts/bench_raymarch.py --golden=DIR --cores=1,2  cost by CPU cores
  python scripts/bench_raymarch.py --golden=DIR --template=bfloat16   with any of these

The scene: 16,384 primitives of 8^3, the rig's cameras of `bench_cameras.npz`, at 1024 x 667 over `downsample`; `init`: density 1,
as when training starts; `trained`: dense, so that rays saturate. Each view is a frame with primitives of its own, as in training.
Prints milliseconds per call (p50, p90) of the forward pass, the backward pass and both, samples inside primitives up to saturation,
samples per second and, where the device's rates are known, the floor and the ratio to it. `--json=FILE` writes the same as JSON, with
the machine, commit and command; after --growth and --cores it is a chart for chart.py too. `--template=bfloat16` also prints by how much
images and gradients of the head change with that rounding.

The floor is the larger of two times. Memory: the bytes that must move (inputs read once, results written once). Samples: on a GPU the
128 bytes that a sample reads from the nearest cache, 64 of a template in bfloat16 (backward: 256 more, of its gradient); on a CPU the
operations of a sample, 140 forward and 340 more backward as counted in ffi/raymarch, at the rate of XLA's matrix product on the same
cores. A GPU's rates are known by its name, a CPU's are measured first.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import parity_raymarch
from absl import app, flags

from ava_jax.core.types import Cameras, Primitives, Rays
from ava_jax.ops import camera_rays, native, raymarch

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors.", required=True)
_ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924_avgtex.png; by default the one beside --golden.")
_VIEWS = flags.DEFINE_integer("views", 1, "Frames of one view each, 1 to 4.", lower_bound=1, upper_bound=4)
_DOWNSAMPLE = flags.DEFINE_float("downsample", 2.0, "Divides 1024 x 667.", lower_bound=0.25)
_TABLE = flags.DEFINE_bool("table", False, "Times the scenes of docs/design/raymarch_gpu.md.")
_GROWTH = flags.DEFINE_bool("growth", False, "Times scenes that differ in one size at a time.")
_CORES = flags.DEFINE_list("cores", [], "Times the head on each of these numbers of CPU cores.")
_JSON = flags.DEFINE_string("json", None, "File for the results.")
_CALLS = flags.DEFINE_integer("calls", 0, "Calls on their way at once, timed together; 0: 10 on a GPU, else 1.", lower_bound=0)
_REPEATS = flags.DEFINE_integer("repeats", 20, "Timed calls of each function.", lower_bound=3)
_TEMPLATE = flags.DEFINE_enum("template", "float32", ["float32", "bfloat16"], "Type of the voxels.")
_COUNT = flags.DEFINE_bool("count", True, "Counts samples, for the floor: seconds a scene on a CPU core.")
_IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "jax"; by default the best there is.')

_RADIUS, _STEP = 256.0, 1.0 / 256.0  # of the published model: mm; volume radii


_TABLE_SCENES = (("init", 4, 1.0), ("init", 1, 0.5), ("init", 4, 2.0), ("trained", 4, 1.0), ("trained", 4, 2.0), ("trained", 1, 1.0))

# Bytes per second of device memory (copied) and of the nearest caches together, by kind of device.
_RATES = {"NVIDIA H200": (4.3e12, 132 * 128 * 1.98e9)}

_FLOPS = (140, 340)  # of a sample on a CPU: forward, backward

_RESULTS: list[dict] = []


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


def floors(rays: Rays, prims, samples: int) -> dict[str, float] | None:
    """Seconds that each pass needs at least, where the device's rates are known."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        memory, arithmetic = cpu_rates()
        needs = tuple(n * samples / arithmetic for n in _FLOPS)
    elif device.device_kind in _RATES:
        memory, cache = _RATES[device.device_kind]
        read = 32 * prims.rgba.dtype.itemsize
        needs = (read * samples / cache, (read + 256) * samples / cache)
    else:
        return None
    pixels, template = rays.bounds.size // 2, prims.rgba.nbytes
    forward = max((template + pixels * (32 + 40)) / memory, needs[0])
    backward = max((2 * template + pixels * (32 + 40)) / memory, needs[1])
    return {"forward": forward, "backward": backward, "forward + backward": forward + backward}


@functools.cache
def cpu_rates() -> tuple[float, float]:
    """Bytes a second of memory read and written in place, and float32 operations a second of a matrix product: the best of 10."""

    def best(function, array):
        seconds = []
        for _ in range(10):
            begin = time.perf_counter()
            array = jax.block_until_ready(function(array))
            seconds.append(time.perf_counter() - begin)
        return min(seconds)

    large, square = jnp.zeros(2**26), jnp.eye(1024)
    move = jax.jit(lambda x: x + 1, donate_argnums=0)
    multiply = jax.jit(lambda x: jnp.dot(x, x))
    rates = 2 * large.nbytes / best(move, large), 2 * 1024**3 / best(multiply, square)
    print(f"measured rates: memory {rates[0] / 1e9:.1f} GB/s, arithmetic {rates[1] / 1e9:.0f} GFLOP/s")
    return rates


def time_calls(function, *args) -> tuple[float, float]:
    """p50 and p90 of the seconds per call, after two rounds to warm up."""
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
def march_for_gradient(rays, prims):
    """RGBA, and what takes its cotangent to the gradients of the primitives."""
    return jax.vjp(lambda p: march(rays, p), prims)


@jax.jit
def transpose(linear, cotangent):
    return linear(cotangent)


@jax.jit
def differentiate(rays, prims, cotangent):
    rgba, linear = march_for_gradient(rays, prims)
    return rgba, *linear(cotangent)


def print_rounding(name: str, rays: Rays, prims: Primitives) -> None:
    """By how much an image and its gradients change where templates are rounded to bfloat16.

    The head's colours are whole numbers, which bfloat16 holds, and so is one density: noise makes numbers of them as a network gives them.
    """
    noise = jax.random.uniform(jax.random.key(2), prims.rgba.shape, minval=-0.5, maxval=0.5) * jnp.array([1.0, 1.0, 1.0, 0.1])
    wide = prims._replace(rgba=jnp.maximum(prims.rgba + noise, 0.0))
    cotangent = jax.random.normal(jax.random.key(1), (*rays.bounds.shape[:-1], 4))
    unrounded, *gradients = differentiate(rays, wide, cotangent)
    ours, *rounded = differentiate(rays, wide._replace(rgba=wide.rgba.astype(jnp.bfloat16)), cotangent)
    off = jnp.abs(ours - unrounded)[..., :3]
    psnr = 20 * jnp.log10(255 / jnp.sqrt(jnp.mean(off**2)))
    line = f"{name:24} rounded to bfloat16: colour off by {off.max():.3f} of 255 at most, {off.mean():.4f} on average, "
    line += f"PSNR {psnr:.1f} dB; gradients"
    for field, a, b in zip(Primitives._fields, jax.tree.leaves(rounded), jax.tree.leaves(gradients)):
        a = a.astype(jnp.float32)
        line += f" {field} {jnp.linalg.norm((a - b).ravel()) / jnp.linalg.norm(b.ravel()):.1e}"
    print(line + " of their norm", flush=True)


def time_scene(name: str, rays: Rays, prims, samples: int | None) -> None:
    """`samples` is None where they were not counted: then there is no floor either."""
    prims = prims._replace(rgba=prims.rgba.astype(_TEMPLATE.value))
    cotangent = jnp.asarray(np.random.default_rng(1).standard_normal((*rays.bounds.shape[:-1], 4), np.float32))
    floor = floors(rays, prims, samples) if samples is not None else None
    linear = march_for_gradient(rays, prims)[1]
    passes = {
        "forward": (march, rays, prims), "backward": (transpose, linear, cotangent),
        "forward + backward": (differentiate, rays, prims, cotangent),
    }  # fmt: skip
    for label, (function, *args) in passes.items():
        p50, p90 = time_calls(function, *args)
        result = {"scene": name, "pass": label, "p50_ms": p50 * 1e3, "p90_ms": p90 * 1e3}
        line = f"{name:24} {label:19} p50 {p50 * 1e3:8.3f} ms  p90 {p90 * 1e3:8.3f} ms"
        if samples is not None:
            line += f"  {samples / 1e6:7.2f} M samples  {samples / p50 / 1e6:8.1f} M samples/s"
            result |= {"samples": samples, "samples_per_s": samples / p50}
        if floor:
            line += f"  floor {floor[label] * 1e3:6.3f} ms  ratio {p50 / floor[label]:5.1f}"
            result |= {"floor_ms": floor[label] * 1e3, "ratio": p50 / floor[label]}
        print(line, flush=True)
        _RESULTS.append(result)


def head_scene(golden: pathlib.Path, variant: str, views: int, downsample: float) -> None:
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    cameras, height, width = head_cameras(golden, views, downsample)
    rays = camera_rays(cameras, height, width, radius=_RADIUS)
    one = parity_raymarch.head_primitives(np.load(golden / "raymarch_head16384.npz"), assets / "021924_avgtex.png", variant)
    prims = jax.tree.map(lambda x: jnp.concatenate([x] * views), one)
    samples = count_samples(cameras, rays, prims, count_steps(march, rays, prims)) if _COUNT.value else None
    name = f"{variant} {views} x {height} x {width}"
    time_scene(name, rays, prims, samples)
    if _TEMPLATE.value == "bfloat16":
        print_rounding(name, rays, prims)


def random_scene(pixels: int, primitives: int, side: int, depth: float) -> None:
    """A square image of boxes spread over the volume; a ray is in `depth` of them on average."""
    rng = np.random.default_rng(0)
    half = 0.5 * (depth * 4.0 / (1.5 * primitives)) ** 0.5  # a cube's shadow is 1.5 of its faces, the volume's 4
    pinhole = (np.eye(3), (0.0, 0.0, -4.0 * _RADIUS), ((pixels - 1) / 0.6,) * 2, ((pixels - 1) / 2,) * 2)
    cameras = Cameras(*(jnp.asarray(x, jnp.float32)[None, None] for x in pinhole))
    rays = camera_rays(cameras, pixels, pixels, radius=_RADIUS)
    rays = rays._replace(bounds=jnp.broadcast_to(jnp.float32([2.9, 5.6]), rays.bounds.shape))
    shapes = ((primitives, 3), (primitives, 3, 3), (primitives, 3), (primitives, side, side, side, 4))
    position, rotation, scale, rgba = (np.zeros(shape) for shape in shapes)
    position[:] = rng.uniform(-1, 1, shapes[0])
    rotation[:] = np.linalg.qr(rng.standard_normal(shapes[1]))[0]
    scale[:], rgba[:] = 1 / half, rng.uniform(0, 1, shapes[3])
    prims = Primitives(*(jnp.asarray(x[None], jnp.float32) for x in (position, rotation, scale, rgba)))
    samples = count_samples(cameras, rays, prims, count_steps(march, rays, prims)) if _COUNT.value else None
    time_scene(f"{pixels}^2 K={primitives} D={side} depth {depth:g}", rays, prims, samples)


_USUAL = {"pixels": 512, "primitives": 4096, "side": 8, "depth": 4.0}
_SIZES = {"pixels": (128, 256, 512, 1024), "depth": (1.0, 4.0, 16.0), "primitives": (256, 1024, 4096, 16384), "side": (4, 8, 16)}
_AXES = {"pixels": "pixels", "depth": "boxes deep", "primitives": "primitives", "side": "voxels per side"}


def panel(axis: str, x: list, results: list[dict], law: float | None) -> dict:
    """A panel for chart.py: a line for each pass, and where a power law is expected, that law dashed through the largest x."""
    series = []
    for name in ("forward", "forward + backward"):
        y = [r["p50_ms"] for r in results if r["pass"] == name]
        series.append({"name": name, "x": x, "y": y})
        if law is not None:
            series.append({"x": x, "y": [y[-1] * (at / x[-1]) ** law for at in x], "dashed": True})
    return {"title": results[0]["scene"] if axis == "cores" else "", "x": axis, "y": "ms", "log_x": True, "log_y": True, "series": series}


def time_growth() -> list[dict]:
    """Times scenes that differ from the usual one in one size; panels for a chart."""
    panels = []
    for name, sizes in _SIZES.items():
        begin = len(_RESULTS)
        for size in sizes:
            random_scene(**{**_USUAL, name: size})
        x = [size**2 for size in sizes] if name == "pixels" else list(sizes)
        panels.append(panel(_AXES[name], x, _RESULTS[begin:], 1.0 if name in ("pixels", "depth") else None))
    return panels


def time_cores() -> list[dict]:
    """Times the head on each number of cores, in a process of its own: XLA counts the cores when it starts. Panels for a chart."""
    counts, cpus = [int(n) for n in _CORES.value], sorted(os.sched_getaffinity(0))
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--cores", "--json"))]
    for count in counts:
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [sys.executable, __file__, *arguments, f"--json={out.name}"]
            os.sched_setaffinity(0, cpus[:count])  # which the process inherits
            subprocess.run(command, check=True)
            os.sched_setaffinity(0, cpus)
            _RESULTS.extend({**result, "cores": count} for result in json.load(out)["results"])
    scenes = [[r for r in _RESULTS if r["scene"].startswith(variant)] for variant in ("init", "trained")]
    return [panel("cores", counts, results, -1.0) for results in scenes]


def origin() -> dict:
    """What the figures belong to."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    return {
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}", "processors": len(os.sched_getaffinity(0)),
        "instruction_set": native.instruction_set() if native.BUILT and jax.default_backend() == "cpu" else None,
        "jax": jax.__version__, "commit": commit.stdout.strip() or None,
        "options": [a for a in sys.argv[1:] if not a.startswith(("--golden", "--assets", "--json"))],
    }  # fmt: skip


def write_json(panels: list[dict]) -> None:
    where = origin()
    out = {"origin": where, "results": _RESULTS}
    if panels:
        named = ", ".join(f"{key} {value}" for key, value in where.items() if key not in ("options", "device") and value)
        note = f"scripts/bench_raymarch.py {' '.join(where['options'])}: {where['device']}, {named}; dashed: proportional"
        out |= {"title": "Raymarcher, milliseconds per call (p50)", "note": note, "panels": panels}
    pathlib.Path(_JSON.value).write_text(json.dumps(out, indent=1) + "\n")


def main(_):
    golden, panels = pathlib.Path(_GOLDEN.value), []
    for file in (golden / "bench_cameras.npz", golden / "raymarch_head16384.npz"):
        if not (_GROWTH.value or file.is_file()):
            why = "--golden names the folder of golden vectors, with the assets folder beside it"
            sys.exit(f"bench_raymarch.py: there is no {file}; {why}.")
    kernel = f", {native.instruction_set()}" if native.BUILT and jax.default_backend() == "cpu" else ""
    print(f"{jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} processors{kernel}, jax {jax.__version__}", flush=True)
    if _GROWTH.value:
        panels = time_growth()
    elif _CORES.value:
        panels = time_cores()
    else:
        scenes = _TABLE_SCENES if _TABLE.value else [(v, _VIEWS.value, _DOWNSAMPLE.value) for v in ("init", "trained")]
        for scene in scenes:
            head_scene(golden, *scene)
    if _JSON.value:
        write_json(panels)


if __name__ == "__main__":
    app.run(main)
