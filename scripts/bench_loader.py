"""How fast samples come from captures, beside what decoding alone costs.

  taskset -c 0 python scripts/bench_loader.py --captures=CAPTURES --threads=1
  python scripts/bench_loader.py --captures=CAPTURES --threads=1,2,4,8,16 --views=1,2,4,8 --out=loader.json --chart=CHART.json

Every sample is read as if for the first time: nothing is kept but what the views of one visit share, and neutral faces. The *floor* of
a sample is the CPU time of decoding and resizing its image, plus its share of decoding a texture; `ratio` is the time a sample takes
on the cores that are used, over the floor.
"""

import concurrent.futures
import ctypes
import json
import os
import pathlib
import platform
import resource
import runpy
import statistics
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

from ava_jax.captures import ava256
from ava_jax.core.sampling import Sampling
from ava_jax.data import archive, images, mesh_files, pipeline, zip_index
from ava_jax.tasks.ava256.data import source

_CAPTURES = flags.DEFINE_string("captures", None, "Folder of captures.", required=True)
_DOWNSAMPLE = flags.DEFINE_integer("downsample", 8, "Image side = full sensor (4096 x 2668) over this.")
_TEXTURE = flags.DEFINE_integer("texture_size", 1024, "Side of the textures.")
_THREADS = flags.DEFINE_list("threads", ["1"], "Read threads, one measurement each.")
_VIEWS = flags.DEFINE_list("views", ["4"], "Cameras a visit, one measurement each, at the first of --threads.")
_WINDOW = flags.DEFINE_integer("window", 16, "Frames begun between two views of one.")
_BATCH = flags.DEFINE_integer("batch_size", 4, "Samples a batch.")
_SECONDS = flags.DEFINE_float("seconds", 8.0, "Of each measurement.")
_OUT = flags.DEFINE_string("out", "", "JSON to write.")
_CHART = flags.DEFINE_string("chart", "", "JSON to write for scripts/chart.py.")

_PARTS = 60  # files of each kind that the parts are timed on


class _Timed:
    """A source that notes how long each of its samples takes."""

    def __init__(self, inner: source.CaptureSource) -> None:
        self.inner, self.groups, self.counts = inner, inner.groups, inner.counts
        self.seconds: list[float] = []

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int):
        start = time.perf_counter()
        sample = self.inner[index]
        if sample is not None:
            self.seconds.append(time.perf_counter() - start)
        return sample


def main(argv: list[str]) -> None:
    del argv
    threads, views = [int(t) for t in _THREADS.value], [int(v) for v in _VIEWS.value]
    with concurrent.futures.ProcessPoolExecutor(1, initializer=_keep_memory) as pool:
        parts = pool.submit(measure_parts).result()
    for name, ms in parts.items():
        print(f"{name:24}{ms['p50']:9.3f} ms{ms['p90']:9.3f}")
    rows = []
    for count, view in [(t, views[0]) for t in threads] + [(threads[0], v) for v in views[1:]]:
        rows.append(measure(count, view, parts))
        print_row(rows[-1], header=len(rows) == 1)
    report = {
        "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "downsample": _DOWNSAMPLE.value,
        "texture_size": _TEXTURE.value, "window": _WINDOW.value, "batch_size": _BATCH.value, "parts_ms": parts, "rows": rows,
    }  # fmt: skip
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1) + "\n")
    if _CHART.value:
        pathlib.Path(_CHART.value).write_text(json.dumps(chart(report, threads, views), indent=1) + "\n")


def _keep_memory() -> None:
    """Lets this process keep what it frees: pages that the system zeroes anew would count as decoding, and a floor has none."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD


def measure_parts() -> dict[str, dict[str, float]]:
    """CPU milliseconds of each part of a sample, p50 and p90 over files spread over the captures."""
    captures = [ava256.load(folder) for folder in ava256.find(_CAPTURES.value, "")]
    archives = archive.Archives(zip_index.default_folder())
    for c in captures:
        archives.index([c.head_pose, c.vertices, c.texture, *map(c.image, c.cameras)], np.unique(c.frames))
    rng = np.random.default_rng(0)
    picks = [(c, int(rng.choice(c.frames)), str(rng.choice(c.cameras))) for c in captures for _ in range(-(-_PARTS // len(captures)))]
    picks = [(c, f, cam) for c, f, cam in picks if archives.has(c.image(cam), f)]
    size, texture = captures[0].image_size(_DOWNSAMPLE.value), (_TEXTURE.value,) * 2
    images_read = [archives.read(c.image(cam), f) for c, f, cam in picks]
    textures = [archives.read(c.texture, f) for c, f, _ in picks]
    meshes = [archives.read(c.vertices, f) for c, f, _ in picks]
    whole, decoded = [p50(images.decode, data) for data in images_read], [p50(images.decode, data, size) for data in images_read]
    return {
        "read image": summary(lambda p: archives.read(p[0].image(p[2]), p[1]), picks),
        "read texture, mesh": summary(lambda p: (archives.read(p[0].texture, p[1]), archives.read(p[0].vertices, p[1])), picks),
        "decode image": spread(whole),
        "resize image": spread([b - a for a, b in zip(whole, decoded, strict=True)]),
        "decode texture": summary(lambda data: images.decode(data, texture), textures),
        "decode mesh": summary(mesh_files.read_vertices, meshes),
    }


def p50(fn: Callable, *args) -> float:
    """Median CPU milliseconds of three calls."""
    times = []
    for _ in range(3):
        start = time.thread_time()
        fn(*args)
        times.append(1e3 * (time.thread_time() - start))
    return statistics.median(times)


def summary(fn: Callable, inputs: list) -> dict[str, float]:
    return spread([p50(fn, value) for value in inputs])


def spread(ms: list[float]) -> dict[str, float]:
    return {"p50": float(np.quantile(ms, 0.5)), "p90": float(np.quantile(ms, 0.9)), "mean": float(np.mean(ms))}


def measure(threads: int, views: int, parts: dict) -> dict[str, float]:
    """Reads batches for a while; a fresh source each time."""
    config = runpy.run_path(str(pathlib.Path(__file__).parents[1] / "configs" / "ava256.py"))["get_config"]()
    config.data.update(root=_CAPTURES.value, downsample=_DOWNSAMPLE.value, read_threads=threads)
    config.data.shuffle.update(cameras_per_visit=views, window=_WINDOW.value)
    config.data.held_out.segments = ()
    config.model.texture_size = _TEXTURE.value
    start = time.perf_counter()
    captures = source.load_captures(config)
    seconds_to_start = time.perf_counter() - start
    assets = source.prepare(captures, config)
    start = time.perf_counter()
    samples = _Timed(source.source(captures, config, source.TRAIN, assets))
    seconds_to_start += time.perf_counter() - start
    sampling = Sampling(_BATCH.value, per_visit=views, window=_WINDOW.value)
    batches = pipeline.iterator(samples, sampling, seed=0, threads=threads)
    # The first visits have no second view yet, and neutral faces are decoded.
    for _ in range(views * (_WINDOW.value + 1) * views // _BATCH.value + 1):
        next(batches)
    samples.seconds.clear()
    taken, cpu, start = [], time.process_time(), time.perf_counter()
    while (now := time.perf_counter()) - start < _SECONDS.value or len(taken) < 10:
        next(batches)
        taken.append(time.perf_counter() - now)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    count = len(taken) * _BATCH.value
    floor = parts["decode image"]["mean"] + parts["resize image"]["mean"] + parts["decode texture"]["mean"] / views
    cores = min(threads, len(os.sched_getaffinity(0)))
    quantiles = {"sample": samples.seconds, "batch": taken}
    return {
        "threads": threads, "views": views, "samples_per_second": count / wall, "cpu_ms": 1e3 * cpu / count, "floor_ms": floor,
        "ratio": 1e3 * wall * cores / count / floor, "start_s": seconds_to_start,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "open_files": len(os.listdir("/proc/self/fd")),
        "read_threads_alive": threading.active_count() - 1,
        **{f"{name}_p{q}_ms": 1e3 * float(np.quantile(values, q / 100)) for name, values in quantiles.items() for q in (50, 90)},
    }  # fmt: skip


def print_row(row: dict[str, float], *, header: bool) -> None:
    names = {
        "threads": "threads", "views": "views", "samples_per_second": "samples/s", "sample_p50_ms": "sample p50", "sample_p90_ms": "p90",
        "batch_p50_ms": "batch p50", "batch_p90_ms": "p90", "cpu_ms": "cpu ms", "floor_ms": "floor ms", "ratio": "ratio",
        "start_s": "start s", "memory_mb": "MB",
    }  # fmt: skip
    if header:
        print("".join(f"{name:>11}" for name in names.values()))
    print("".join(f"{row[key]:>11}" if isinstance(row[key], int) else f"{row[key]:11.2f}" for key in names), flush=True)


def chart(report: dict, threads: list[int], views: list[int]) -> dict:
    """Samples a second by threads and by cameras a visit, beside what the floor would give."""
    panels = []
    sweeps = (("by threads", "threads", threads, ("views", views[0])), ("by views", "views", views, ("threads", threads[0])))
    for title, key, values, fixed in sweeps:
        rows = [row for value in values for row in report["rows"] if row[key] == value and row[fixed[0]] == fixed[1]]
        if len(rows) < 2:
            continue
        cores = [min(row["threads"], report["cores"]) for row in rows]
        x = [row[key] for row in rows]
        panels.append({
            "title": f"{title}, {fixed[1]} {fixed[0]}", "x": key if key == "threads" else "views a visit", "y": "samples/s",
            "series": [
                {"name": "measured", "x": x, "y": [row["samples_per_second"] for row in rows]},
                {"name": "floor", "x": x, "y": [1e3 * c / row["floor_ms"] for c, row in zip(cores, rows, strict=True)], "dashed": True},
            ],
        })  # fmt: skip
    return {"title": "Loader", "note": f"{report['cpu']}, {report['cores']} cores, downsample {report['downsample']}", "panels": panels}


def cpu_name() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    # The index is built for the measurement alone.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        app.run(main)
