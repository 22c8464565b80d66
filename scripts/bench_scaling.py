"""What several devices of one host gain: the training loop with real reading on 1, 2, 4, ... of them.

  python scripts/bench_scaling.py --config=configs/ava256.py:quick --config.data.root=CAPTURES --devices=1,2 --batch_per_device=4
  python scripts/bench_scaling.py --config=configs/ava256.py:quick --config.data.root=CAPTURES --devices=1,2 --batch_size=16   # strong
  python scripts/bench_scaling.py --config=... --platform=cpu --devices=1,8 --batch_per_device=1 --steps=4   # it runs

Each number of devices is a process of its own, `loop.train` as `ava train` calls it. First all of them compile, side by side, into one
cache; then they are measured one after the other: steps per second through the loop and alone, efficiency against the first number,
idle time, memory; on GPUs a trace of a few steps gives the time of the all-reduces and how much of it other kernels cover.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags, logging

from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_DEVICES = flags.DEFINE_list("devices", ["1", "2"], "How many devices, one measurement each.")
_PER_DEVICE = flags.DEFINE_integer("batch_per_device", 4, "Samples per device and step: weak scaling.", lower_bound=1)
_BATCH = flags.DEFINE_integer(
    "batch_size", 0, "Samples per step over all devices: strong scaling; 0: --batch_per_device counts.", lower_bound=0
)
_STEPS = flags.DEFINE_integer("steps", 200, "Of a log interval; five are run.", lower_bound=1)
_PLATFORM = flags.DEFINE_enum("platform", "gpu", ["gpu", "cpu"], "cpu: devices are simulated, and share the cores.")
_OUT = flags.DEFINE_string("out", "", "Folder for scaling.json and scaling_chart.json (for scripts/chart.py).")
_CHILD = flags.DEFINE_string("child", "", "Set by the script itself: the file that one measurement goes to.")
_COMPILE = flags.DEFINE_bool("only_compile", False, "Set by the script itself.")
_TRACED = 5  # steps


def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    if _CONFIG.value is None:
        raise app.UsageError("--config is missing, as in --config=configs/ava256.py:quick.")
    if _CHILD.value:
        pathlib.Path(_CHILD.value).write_text(json.dumps(measure(_CONFIG.value)))
        return
    counts = [int(count) for count in _DEVICES.value]
    with tempfile.TemporaryDirectory() as folder:
        compiling = [_start(count, pathlib.Path(folder), "--only_compile") for count in counts]
        _finish(compiling)
        rows = []
        for count in counts:
            _finish([_start(count, pathlib.Path(folder))])
            rows.append(json.loads((pathlib.Path(folder) / f"{count}.json").read_text()))
    for row in rows:
        row["efficiency"] = efficiency(rows[0], row)
    show(rows)
    if _OUT.value:
        out = pathlib.Path(_OUT.value)
        out.mkdir(parents=True, exist_ok=True)
        (out / "scaling.json").write_text(json.dumps({"argv": sys.argv[1:], "rows": rows}, indent=1))
        (out / "scaling_chart.json").write_text(json.dumps(chart(rows), indent=1))


def batch_size(count: int) -> int:
    """Samples per step on so many devices."""
    return _BATCH.value or _PER_DEVICE.value * count


def efficiency(first: dict, row: dict) -> float:
    """Samples per second and device, as a part of the first row's."""
    return (row["samples_per_s"] / row["devices"]) / (first["samples_per_s"] / first["devices"])


def _start(count: int, folder: pathlib.Path, *more: str) -> subprocess.Popen:
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if _PLATFORM.value == "cpu":
        flags_ = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
        env |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags_.strip()}
    else:
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if os.environ.get("CUDA_VISIBLE_DEVICES") else map(str, range(count))
        env["CUDA_VISIBLE_DEVICES"] = ",".join(list(given)[:count])
    given = [arg for arg in sys.argv[1:] if not arg.startswith(("--devices", "--out"))]
    command = [sys.executable, __file__, *given, f"--child={folder}/{count}.json", f"--config.train.batch_size={batch_size(count)}", *more]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)


def _finish(processes: list[subprocess.Popen]) -> None:
    if any([process.wait() for process in processes]):
        raise SystemExit("a measurement failed; what it said is above.")


def measure(config) -> dict:
    """One process's figures."""
    import jax
    import loop_timing

    loop_timing.prepare(config, _STEPS.value)
    if _COMPILE.value:
        with loop_timing.ready(config):
            return {}
    batch, found = config.train.batch_size, {}
    step = loop_timing.alone(config, _STEPS.value)
    if jax.default_backend() == "gpu":
        found |= all_reduces(config)
    rates, idle, waiting = (sorted(values) for values in loop_timing.whole(config))
    middle = len(rates) // 2
    memory = [stats["peak_bytes_in_use"] for device in jax.devices() if (stats := device.memory_stats()) and "peak_bytes_in_use" in stats]
    return {
        "devices": jax.device_count(), "kind": jax.devices()[0].device_kind, "batch": batch, "step_ms": 1e3 * step,
        "loop_ms": 1e3 / rates[middle], "samples_per_s": batch * rates[middle], "idle": idle[middle], "waiting": waiting[middle],
        "gib": max(memory) / 2**30 if memory else None, "cores": os.cpu_count(), **found,
    }  # fmt: skip


def all_reduces(config) -> dict:
    """Milliseconds per step that the first GPU's all-reduces take, and the part of it that other kernels cover."""
    import jax
    import loop_timing

    with loop_timing.ready(config) as (program, state, batch), tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            state, metrics = program(state, batch.arrays)
        jax.block_until_ready(metrics)
        with jax.profiler.trace(folder):
            for _ in range(_TRACED):
                state, metrics = program(state, batch.arrays)
            jax.block_until_ready(metrics)
        reducing, others = [], []
        for file in pathlib.Path(folder).rglob("*.xplane.pb"):
            planes = [plane for plane in jax.profiler.ProfileData.from_file(str(file)).planes if plane.name.startswith("/device:GPU:0")]
            for line in (line for plane in planes for line in plane.lines if line.name.startswith("Stream")):
                for event in line.events:
                    kind = reducing if "AllReduce" in event.name or "all-reduce" in event.name else others
                    kind.append((event.start_ns, event.start_ns + event.duration_ns))
    reducing, others = union(reducing), union(others)
    steps = _TRACED * batch.steps
    return {"all_reduce_ms": length(reducing) / steps / 1e6, "covered": length(overlap(reducing, others)) / max(length(reducing), 1.0)}


def union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same time as spans that do not overlap, in order."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def overlap(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The time that is in both of two unions."""
    found, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        start, stop = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < stop:
            found.append((start, stop))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return found


def length(spans: list[tuple[float, float]]) -> float:
    """Of all of them."""
    return sum(stop - start for start, stop in spans)


def show(rows: list[dict]) -> None:
    """The table."""
    print(f"{rows[0]['kind']}, {rows[0]['cores']} cores")
    print(f"{'devices':>8}{'batch':>7}{'step alone':>12}{'loop':>10}{'samples/s':>11}{'efficiency':>12}", end="")
    print(f"{'idle':>6}{'waiting':>9}{'GiB':>7}  all-reduce")
    for row in rows:
        line = f"{row['devices']:>8}{row['batch']:>7}{row['step_ms']:>9.2f} ms{row['loop_ms']:>7.2f} ms{row['samples_per_s']:>11,.1f}"
        line += f"{row['efficiency']:>12.3f}{row['idle']:>5.0f}%{row['waiting']:>8.0f}%{row['gib'] or float('nan'):>7.1f}"
        traced = f"  {row['all_reduce_ms']:.2f} ms, {row['covered']:.0%} covered" if "all_reduce_ms" in row else "  not traced here"
        print(line + traced)


def chart(rows: list[dict]) -> dict:
    """For scripts/chart.py."""
    x = [row["devices"] for row in rows]
    ideal = [rows[0]["samples_per_s"] / rows[0]["devices"] * count for count in x]
    measured = {"name": "measured", "x": x, "y": [row["samples_per_s"] for row in rows]}
    panel = {"title": "through the loop", "x": "devices", "y": "samples/s"}
    return {
        "title": "Scaling on one host",
        "note": f"{rows[0]['kind']}, {rows[0]['cores']} cores: {' '.join(['bench_scaling.py', *sys.argv[1:]])}",
        "panels": [panel | {"series": [measured, {"name": "ideal", "x": x, "y": ideal, "dashed": True}]}],
    }


if __name__ == "__main__":
    app.run(main)
