"""Steps per second through the whole training loop beside those of the step alone, in one process on one machine.

  python scripts/bench_loop.py                                                # the tests' toy task: its step is nearly all the host's work
  python scripts/bench_loop.py --config=configs/mesh_fit.py --config.data.root=DATA --steps_per_call=1,10,57
  python scripts/bench_loop.py --config=configs/ava256.py:quick --config.data.root=CAPTURES --data=host --batch_size=4,16 --downsample=8,4

The step alone: the same compiled program, dispatched again and again on one batch that lies on the devices. The loop: `loop.train`, as
`ava train` calls it; nothing but log lines is due meanwhile (no pictures, no validation, a checkpoint at both ends). Each setting runs
five log intervals; the first, which compiles and warms up, is left out, and the median and the best of the others are shown.
"""

import gc
import itertools
import json
import math
import os
import pathlib
import platform
import statistics
import sys

import loop_timing
from absl import app, flags, logging

from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_PER_CALL = flags.DEFINE_list("steps_per_call", ["1"], "One measurement each.")
_PLACES = flags.DEFINE_list("data", ["host", "device"], "Where batches come from, one measurement each.")
_BATCHES = flags.DEFINE_list("batch_size", [], "One measurement each; the config's without it.")
_DOWNSAMPLES = flags.DEFINE_list("downsample", [], "Of configs that have it: one measurement each; the config's without it.")
_READERS = flags.DEFINE_list("read_processes", [], "Of configs that have it: one measurement each; the config's without it.")
_AT_LEAST = flags.DEFINE_integer("steps", 500, "Of a log interval, at least; rounded up to a multiple of all --steps_per_call.")
_JSON = flags.DEFINE_string("json", "", "File that the figures are written to as well.")


def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    config = _CONFIG.value if _CONFIG.value is not None else _toy_config()
    counts = [int(count) for count in _PER_CALL.value]
    interval = math.lcm(*counts) * math.ceil(_AT_LEAST.value / math.lcm(*counts))
    loop_timing.prepare(config, interval)
    sweeps = {
        "train.batch_size": [int(n) for n in _BATCHES.value] or [config.train.batch_size],
        "data.downsample": [int(n) for n in _DOWNSAMPLES.value] or [config.data.get("downsample")],
        "data.read_processes": [int(n) for n in _READERS.value] or [config.data.get("read_processes")],
        "data.on_device": [place == "device" for place in _PLACES.value],
        "train.steps_per_call": counts,
    }
    print(f"{'batch':>6}{'down':>6}{'readers':>9}{'data':>8}{'per call':>10}", end="")
    print(f"{'step alone':>12}{'loop':>10}{'ratio':>8}{'steps/s':>10}{'idle':>6}{'waiting':>9}")
    rows = []
    for values in itertools.product(*sweeps.values()):
        settings = dict(zip(sweeps, values))
        with config.unlocked():
            config.update_from_flattened_dict({name: value for name, value in settings.items() if value is not None})
        rows.append({**settings, **measure(config)})
        show(rows[-1])
    if _JSON.value:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "argv": sys.argv[1:]}
        pathlib.Path(_JSON.value).write_text(json.dumps({**machine, **_devices(), "rows": rows}, indent=1))


def show(row: dict) -> None:
    """A line of the table."""
    place = "device" if row["data.on_device"] else "host"
    settings = f"{row['train.batch_size']:>6}{row['data.downsample'] or '':>6}{row['data.read_processes'] or '':>9}{place:>8}"
    times = f"{row['train.steps_per_call']:>10}{row['step_ms']:>9.2f} ms{row['loop_ms']:>7.2f} ms{row['ratio']:>8.3f}"
    print(f"{settings}{times}{1e3 / row['loop_ms']:>10,.1f}{row['idle']:>5.0f}%{row['waiting']:>8.0f}%", flush=True)


def measure(config) -> dict[str, float]:
    """Milliseconds of a step alone and through the loop, their ratio, and percent of the time that the devices were idle."""
    step = loop_timing.alone(config, _AT_LEAST.value)
    gc.collect()
    rates, idle, waiting = loop_timing.whole(config)
    loop_ms = 1e3 / statistics.median(rates)
    found = {"step_ms": 1e3 * step, "loop_ms": loop_ms, "best_ms": 1e3 / max(rates), "ratio": loop_ms / (1e3 * step)}
    return {**found, "idle": statistics.median(idle), "waiting": statistics.median(waiting)}


def _toy_config():
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "train"))
    import toy_task

    config = toy_task.toy_config()
    config.data.update(samples=4000, missing=False)
    return config


def _devices() -> dict[str, str]:
    import jax

    return {"jax": jax.__version__, "devices": f"{len(jax.devices())} x {jax.devices()[0].device_kind}"}


if __name__ == "__main__":
    app.run(main)
