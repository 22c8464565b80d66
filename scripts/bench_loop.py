"""Steps per second through the whole training loop, by steps per call, with batches from the host and from the device.

  python scripts/bench_loop.py                                                # the tests' toy task: its step is nearly all the host's work
  python scripts/bench_loop.py --config=configs/mesh_fit.py --config.data.root=DATA --steps_per_call=1,10,57

Nothing but log lines is due meanwhile: no pictures, no validation, and a checkpoint at both ends. Each setting runs five log intervals;
the first, which compiles and warms up, is left out, and the median and the best of the others are shown.
"""

import contextlib
import io
import math
import pathlib
import re
import statistics
import sys
import tempfile

from absl import app, flags, logging

from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_PER_CALL = flags.DEFINE_list("steps_per_call", ["1", "16", "64"], "One measurement each.")
_PLACES = flags.DEFINE_list("data", ["host", "device"], "Where batches come from, one measurement each.")
_AT_LEAST = flags.DEFINE_integer("steps", 500, "Of a log interval, at least; rounded up to a multiple of all --steps_per_call.")
_INTERVALS = 5


def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    if _CONFIG.value is None:
        sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "train"))
        import toy_task

        config = toy_task.toy_config()
        config.data.update(samples=4000, missing=False)
    else:
        config = _CONFIG.value
    counts = [int(count) for count in _PER_CALL.value]
    interval = math.lcm(*counts) * math.ceil(_AT_LEAST.value / math.lcm(*counts))
    never = interval * 10**6
    with config.unlocked():
        config.train.update(steps=interval * _INTERVALS, epochs=0, log_every=interval, picture_every=never, checkpoint_every=never)
        config.train.update(validate_every=0, max_recoveries=0, keep_best=0)
    print(f"{'data':>8}{'per call':>10}{'steps/s':>12}{'best':>12}{'waiting':>9}")
    for place in _PLACES.value:
        for count in counts:
            with config.unlocked():
                config.train.steps_per_call, config.data.on_device = count, place == "device"
            rates, waiting = measure(config)
            print(
                f"{place:>8}{count:>10}{statistics.median(rates):>12,.1f}{max(rates):>12,.1f}{statistics.median(waiting):>8.0f}%",
                flush=True,
            )


def measure(config) -> tuple[list[float], list[float]]:
    """Steps per second and percent of the time spent waiting for data, of each log interval but the first."""
    from ava_jax.train import loop

    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        loop.train(config, folder)
    found = re.findall(r"([\d.]+) steps/s  waiting for data ([\d.]+)%", said.getvalue())[1:]
    return [float(rate) for rate, _ in found], [float(percent) for _, percent in found]


if __name__ == "__main__":
    app.run(main)
