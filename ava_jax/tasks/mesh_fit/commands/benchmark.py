"""Times training steps of mesh fitting on the platform at hand, and compares how precisions learn.

  ava mesh_fit benchmark [--config=mesh_fit] [--vertices=32731] [--meshes=798] [--out=FILE.json]
  ava mesh_fit benchmark --config=mesh_fit --config.data.root=DATA --epochs=5      # learning curves on these meshes

Without data.root the meshes are made up: right for times and memory, not for errors. `step`: one in a dispatch, five in flight; `epoch`:
over all meshes, which lie on the device, in one dispatch. The floor is 6 operations per weight and row over the rate of a large
product of that precision here. Each precision learns from the same start in the same order; losses are means of parts of the steps, and
errors are those of predictions in float32 of the meshes held out (made up: of all).
"""

import json
import pathlib
import time
from typing import Any

from absl import flags

from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_PRECISIONS = flags.DEFINE_list("precisions", ["float32", "tf32", "bfloat16"], "Which to time; float32 and tf32 are one on CPUs.")
_VERTICES = flags.DEFINE_integer("vertices", 32_731, "Of the meshes made up.", lower_bound=100)
_MESHES = flags.DEFINE_integer("meshes", 798, "How many are made up.", lower_bound=2)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "That each precision learns; 0: no learning curves.", lower_bound=0)
_PARTS = flags.DEFINE_integer("parts", 10, "Points of a learning curve.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 12, "Timed rounds.", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "JSON file for all figures.")

_FLIGHT = 5


def main() -> None:
    """Measures and prints, as the flags say."""
    if _CONFIG.value is None:
        raise ValueError("--config is missing: --config=mesh_fit.")
    import jax

    device = jax.local_devices()[0]
    about = {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    print(", ".join(f"{name} {value}" for name, value in about.items()), flush=True)
    rows = [_measure(precision) for precision in _PRECISIONS.value]
    if _EPOCHS.value:
        _print_curves(rows)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(about | {"config": _CONFIG.value.to_dict(), "rows": rows}, indent=1))
        print(f"wrote {_OUT.value}")


def _measure(precision: str) -> dict[str, Any]:
    """Times, memory and learning curve of one precision."""
    import jax

    from ava_jax.tasks.mesh_fit.stepping import Stepper

    samples, held_out, task, assets = _data(precision)
    stepper = Stepper(task, assets, seed=task.config.seed)
    count, batch = len(samples["source"]), task.config.train.batch_size
    per_step = batch * samples["target"].shape[1]
    row = {"precision": precision, "rows": per_step, "operations": 6.0 * per_step * stepper.weights}
    compiled = stepper.step.lower(stepper.begin(), samples, 0).compile()
    row |= _costs(compiled, samples)
    row["step_ms"] = 1e3 * _timed_steps(compiled, stepper.begin(), samples)
    row["peak_gib"] = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", float("nan")) / 2**30
    row["floor_ms"] = 1e3 * row["operations"] / _rate(precision)
    row |= _epochs(stepper, samples, held_out, count, batch)
    print(
        f"{precision:9} step {row['step_ms']:.3f} ms (floor {row['floor_ms']:.3f}, {row['step_ms'] / row['floor_ms']:.1f} x; "
        f"{row['operations'] / 1e9:.3g} GFLOP, compiled {row['compiled_flops'] / 1e9:.3g} and {row['compiled_bytes'] / 1e9:.3g} GB); "
        f"step's memory {row['step_gib']:.2f} GiB beside {row['data_gib']:.2f} of meshes, device's peak {row['peak_gib']:.2f}; "
        f"epoch of {count} {row['epoch_s']:.2f} s",
        flush=True,
    )
    return row


def _data(precision: str) -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    """Samples to learn from and others, on the device; the task with this precision, and its assets."""
    import ml_collections

    from ava_jax.core.types import Assets
    from ava_jax.tasks.base import TRAIN, load_task
    from ava_jax.tasks.mesh_fit import stepping

    config = ml_collections.ConfigDict(_CONFIG.value.to_dict())
    config.model.precision = precision
    task = load_task(config)
    if config.data.root:
        assets = task.prepare()
        splits = task.eval_splits(assets)
        samples = stepping.stacked(task.source(TRAIN, assets))
        return samples, stepping.stacked(task.source(splits[0], assets)) if splits else samples, task, assets
    history = config.model.condition_frames if config.model.condition_on == "time" else 1
    samples = stepping.made_up(_VERTICES.value, _MESHES.value, history, config.model.joints)
    return samples, samples, task, Assets({"faces": stepping.grid_faces(_VERTICES.value)}, {})


def _costs(compiled: Any, samples: dict[str, Any]) -> dict[str, float]:
    """What the compiler says of a step, and its memory without the meshes."""
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    data = sum(x.nbytes for x in samples.values())
    # Arguments stay during the step; results take the place of those donated.
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    found = {"compiled_flops": cost.get("flops", float("nan")), "compiled_bytes": cost.get("bytes accessed", float("nan"))}
    return found | {"step_gib": (held - data) / 2**30, "data_gib": data / 2**30}


def _timed_steps(compiled: Any, learning: Any, samples: dict[str, Any]) -> float:
    """Seconds per step, several in flight; the median of the rounds."""
    import jax
    import numpy as np

    flight = _FLIGHT if jax.default_backend() == "gpu" else 1
    seconds = []
    for _ in range(_REPEATS.value + 1):
        begin = time.perf_counter()
        for i in range(flight):
            learning, loss = compiled(learning, samples, np.int32(i % len(samples["source"])))
        jax.block_until_ready((learning, loss))
        seconds.append((time.perf_counter() - begin) / flight)
    return float(np.median(seconds[1:]))


def _rate(precision: str) -> float:
    """Operations per second of a large product of this precision."""
    import jax

    from ava_jax.tasks.mesh_fit.layers import Arithmetic

    side = 8192 if jax.default_backend() == "gpu" else 1024
    arithmetic = Arithmetic.of(precision)
    a, b = jax.random.normal(jax.random.key(1), (2, side, side)).astype(arithmetic.dtype)
    product = jax.jit(lambda a, b: arithmetic.product(a, b, (1, 0), arithmetic.dtype))
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        jax.block_until_ready([product(a, b) for _ in range(_FLIGHT)])
        seconds.append((time.perf_counter() - begin) / _FLIGHT)
    return 2 * side**3 / min(seconds)


def _epochs(stepper: Any, samples: dict[str, Any], held_out: dict[str, Any], count: int, batch: int) -> dict[str, Any]:
    """Seconds per epoch and, where they are asked for, the losses and the error after the last."""
    import jax
    import numpy as np

    from ava_jax.tasks.mesh_fit import stepping

    order = stepping.order(count, batch, shuffle=stepper.config.data.shuffle, seed=stepper.config.seed)
    learning, losses, seconds = stepper.begin(), [], []
    learning, _ = jax.block_until_ready(stepper.steps(learning, samples, next(order)))  # compiled
    learning = stepper.begin()
    order = stepping.order(count, batch, shuffle=stepper.config.data.shuffle, seed=stepper.config.seed)
    for _ in range(max(_EPOCHS.value, 1)):
        begin = time.perf_counter()
        learning, found = jax.block_until_ready(stepper.steps(learning, samples, next(order)))
        seconds.append(time.perf_counter() - begin)
        losses.append(np.asarray(found))
    errors = [_error(stepper, learning, jax.tree.map(lambda x, i=i: x[i : i + 1], held_out)) for i in range(len(held_out["source"]))]
    losses = np.array_split(np.concatenate(losses), _PARTS.value)
    return {"epoch_s": min(seconds), "losses": [float(np.mean(part)) for part in losses], "error_m2": float(np.mean(errors))}


def _error(stepper: Any, learning: Any, batch: dict[str, Any]) -> float:
    import numpy as np

    found = np.asarray(stepper.predict(learning.params, batch)["vertices"], np.float64)
    return float(np.mean(np.square(found - np.asarray(batch["target"]))))


def _print_curves(rows: list[dict[str, Any]]) -> None:
    print(f"\nmean loss of each of {_PARTS.value} parts of {_EPOCHS.value} epochs")
    print(f"{'part':>12}" + "".join(f"{row['precision']:>12}" for row in rows))
    for part, losses in enumerate(zip(*(row["losses"] for row in rows)), 1):
        print(f"{part:12}" + "".join(f"{loss:12.3e}" for loss in losses))
    print(f"{'error, m^2':>12}" + "".join(f"{row['error_m2']:12.3e}" for row in rows))
