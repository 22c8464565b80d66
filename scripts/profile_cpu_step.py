"""Where a training step's time goes on a CPU: its parts beside their floors, the optimiser, the reading of data.

  ava synth --out=CAPTURES
  python scripts/profile_cpu_step.py --config=ava256:tiny --config.data.root=CAPTURES [--steps=20] [--repeats=12] [--out=FILE.json]

The step is the real one, of a batch of the captures' training split, after `--steps` steps on that batch. Times are seconds of CPU of the
whole process, all threads together, so that other work on the machine hardly shows: the least of --repeats. Beside them the least wall
time, and how many cores were busy in it. A part is compiled by itself, forward + backward as `bench_step.py` has it. Its floor is the
larger of operations over the rate of a large matrix product, and of the bytes of its arguments and results over that of a large copy,
per CPU second both.
"""

import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import bench_scene
import bench_step
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from ava_jax.bin import _main
from ava_jax.data import pipeline
from ava_jax.tasks.base import load_task
from ava_jax.train import optimization
from ava_jax.train import state as states
from ava_jax.train import step as steps

_STEPS = flags.DEFINE_integer("steps", 20, "Steps before anything is timed.", lower_bound=1)
_ONLY_STEP = flags.DEFINE_bool("only_step", False, "Time the step alone: no parts, which take a minute to compile.")
_TRAIN_SPLIT = "train"
_MARCHED = ("raymarch",)  # its products are no matrix products: counted by bytes alone


class Timing(NamedTuple):
    """The least of the repeats, seconds."""

    cpu: float
    wall: float


def timed(call: Callable[[], Any]) -> Timing:
    """Of a call and of what it computes."""
    jax.block_until_ready(call())
    found = []
    for _ in range(bench_step._REPEATS.value):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return Timing(*(min(column) for column in zip(*found)))


def rates() -> dict[str, float]:
    """Operations of a large matrix product, and bytes of a large copy, per CPU second."""
    side, length = 2048, 1 << 25
    a, b = jax.random.normal(jax.random.key(0), (2, side, side), jnp.float32)
    product, source, target = jax.jit(jnp.matmul), np.ones(length, np.float32), np.ones(length, np.float32)
    copied = timed(lambda: np.copyto(target, source))  # by NumPy, as a result of JAX's would be new memory each time
    return {"operations": 2 * side**3 / timed(lambda: product(a, b)).cpu, "bytes": 8 * length / copied.cpu}


def row(name: str, call: Callable[[], Any], operations: float, size: float, known: dict[str, float]) -> dict[str, Any]:
    """A line of the table; operations and bytes of the floor."""
    found = timed(call)
    floor = max(operations / known["operations"], size / known["bytes"])
    return {
        "part": name,
        "cpu_ms": 1e3 * found.cpu,
        "wall_ms": 1e3 * found.wall,
        "floor_ms": 1e3 * floor,
        "flops": operations,
        "bytes": size,
    }


def optimizer_row(optimizer: Any, state: states.TrainState, known: dict[str, float]) -> dict[str, Any]:
    """The optimiser's update: gradient, two moments and parameter, all but the gradient written."""

    @jax.jit
    def update(gradients, opt_state, params):
        packed = params.pack(gradients)
        updates, opt_state = optimization.update(optimizer, packed, optimization.joint_norm(packed), opt_state, params, jnp.float32(1))
        return optax.apply_updates(params.groups, updates), opt_state

    gradients = jax.jit(lambda params: jax.tree.map(lambda x: 1e-3 * jnp.ones_like(x), params.learning()))(state.params)
    size = 7.0 * sum(x.nbytes for x in jax.tree.leaves(state.params))
    return row("optimiser", lambda: update(gradients, state.opt_state, state.params), 0.0, size, known)


def reading_row(source: Any, sampling: Any, known: dict[str, float]) -> dict[str, Any]:
    """A batch read, decoded and stacked by one thread, new frames as often as training has them."""
    batches = pipeline.iterator(source, sampling, seed=0, threads=0)
    size = float(sum(np.asarray(x).nbytes for x in jax.tree.leaves(next(batches))))
    found = []
    for _ in range(3 * bench_step._REPEATS.value):
        begin, cpu = time.perf_counter(), time.process_time()
        next(batches)
        found.append((time.process_time() - cpu, time.perf_counter() - begin))
    cpu, wall = (1e3 * float(np.mean(column)) for column in zip(*found))  # visits of a frame differ: their mean counts
    return {"part": "reading (mean)", "cpu_ms": cpu, "wall_ms": wall, "floor_ms": 1e3 * size / known["bytes"], "flops": 0.0, "bytes": size}


def measure(config: Any) -> dict[str, Any]:
    """All figures of a config."""
    task = load_task(config)
    assets = task.prepare()
    source, sampling = task.source(_TRAIN_SPLIT, assets), task.sampling(_TRAIN_SPLIT)
    batch = next(pipeline.iterator(source, sampling, seed=0, threads=0))
    parts = states.split(task.model(assets, rngs=states.model_rngs(config.seed)))
    optimizer = task.optimizer(config.train.steps, max(1, len(source) // config.train.batch_size))
    mesh = steps.device_mesh(config.train.batch_size)
    batch = jax.device_put(batch, steps.sharded(mesh))
    initial = states.initial_state(parts, optimizer, config.seed)
    constants, state = jax.device_put((parts.constants, initial), steps.replicated(mesh))
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh), mesh)
    begin = time.process_time()
    compiled = step.lower(state, constants, batch).compile()
    figures: dict[str, Any] = {"compile_cpu_s": time.process_time() - begin}
    holder = [state]
    del state  # it is donated

    def take() -> Any:
        holder[0], metrics = compiled(holder[0], constants, batch)
        return metrics, holder[0]

    for _ in range(_STEPS.value):
        jax.block_until_ready(take())
    known = rates()
    figures |= {"rates": known, "rows": [row("whole step", take, math.nan, math.nan, known)]}
    if _ONLY_STEP.value:
        return figures
    model = states.merge(states.Split(parts.graphdef, optimization.unpacked(holder[0].params), holder[0].running, constants))
    for part in bench_step.parts_of(model, batch):
        call, cost = bench_step.compiled_part(part, part.name != "inputs")
        operations = 0.0 if part.name in _MARCHED else cost["flops"]
        figures["rows"].append(row(part.name, call, operations, cost["bytes"], known))
    figures["rows"] += [optimizer_row(optimizer, holder[0], known), reading_row(source, sampling, known)]
    return figures


def show(figures: dict[str, Any]) -> None:
    """Prints the table."""
    known = figures["rates"]
    print(f"per CPU second: {known['operations'] / 1e9:.0f} GFLOP of products, {known['bytes'] / 1e9:.1f} GB of copies")
    print(f"compiling: {figures['compile_cpu_s']:.0f} s of CPU")
    print(f"{'forward + backward':24}{'CPU ms':>9}{'floor':>8}{'times':>7}{'wall ms':>9}{'cores':>7}{'GFLOP':>8}{'MB':>8}")
    for line in figures["rows"]:
        cpu, wall, floor = line["cpu_ms"], line["wall_ms"], line["floor_ms"]
        if math.isnan(floor):
            print(f"{line['part']:24}{cpu:9.1f}{'':15}{wall:9.1f}{cpu / wall:7.2f}")
            continue
        last = f"{line['flops'] / 1e9:8.2f}{line['bytes'] / 1e6:8.1f}"
        print(f"{line['part']:24}{cpu:9.1f}{floor:8.2f}{cpu / max(floor, 1e-9):7.1f}{wall:9.1f}{cpu / wall:7.2f}{last}")


def main() -> None:
    config = bench_step._CONFIG.value
    if config is None or not config.data.root:
        raise ValueError("--config and --config.data.root are needed: for example --config=ava256:tiny --config.data.root=CAPTURES.")
    if jax.default_backend() != "cpu":
        raise ValueError(f"it profiles CPUs; JAX computes on {jax.default_backend()} here. For GPUs: scripts/trace_step.py.")
    figures = {"commit": bench_scene.commit(), "jax": jax.__version__} | measure(config)
    show(figures)
    if bench_step._OUT.value:
        pathlib.Path(bench_step._OUT.value).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
