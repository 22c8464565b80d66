"""Times the training step of LDIF, SIF++ and SIF and its parts, on the platform at hand, on made-up examples.

  python scripts/bench_ldif_step.py [--variants=ldif,sifpp,sif] [--precisions=float32,bfloat16] [--kernels] [--batch=24]

A step's time is that of a program of --steps steps on one batch, divided. Each part is compiled apart, forward and forward + backward
(gradients of its weights and of what other parts computed), several in flight. Operations are those of matrix products and convolutions;
`bytes` is what the compiler says that a program reads and writes, where it says so.
"""

import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from count_operations import operations
from flax import nnx
from jax import lax

from ava_jax.bin import _configs
from ava_jax.core.types import Assets
from ava_jax.tasks.base import load_task
from ava_jax.tasks.ldif.model import pointnet
from ava_jax.train import optimization
from ava_jax.train import state as states
from ava_jax.train import step as steps

_VARIANTS = flags.DEFINE_list("variants", ["ldif", "sifpp", "sif"], "Of configs/ldif.py.")
_PRECISIONS = flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of config.model.precision.")
_KERNELS = flags.DEFINE_bool("kernels", False, "config.model.decoder_kernels.")
_BATCH = flags.DEFINE_integer("batch", 24, "Samples per step.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 20, "Per call.", lower_bound=1)
_PARTS = flags.DEFINE_bool("parts", True, "Profile the parts of the first variant.")
_OUT = flags.DEFINE_string("out", None, "JSON file of all figures.")
_FLIGHT = 10


def main(_) -> None:
    """Prints a table per variant and precision."""
    rows = []
    print(jax.devices()[0].device_kind, "jax", jax.__version__, flush=True)
    for at, variant in enumerate(_VARIANTS.value):
        for precision in _PRECISIONS.value:
            row = bench(variant, precision, with_parts=_PARTS.value and at == 0)
            rows.append(row)
            print(f"{variant:8}{precision:10} batch {_BATCH.value}: {row['step_ms']:8.3f} ms {1e3 / row['step_ms']:8.1f} steps/s", end="")
            print(f"  {row['gflop']:7.0f} Gflop  {row['planned_gib']:.2f} GiB  compiled in {row['compile_s']:.0f} s", flush=True)
            for part in row.get("parts", ()):
                figures = f"{part['ms']:9.3f} ms{part['gflop']:9.1f} Gflop{part['gbytes']:8.2f} GB"
                print(f"    {part['name']:20}{part['kind']:>20}{figures}", flush=True)
    if _OUT.value:
        about = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
        pathlib.Path(_OUT.value).write_text(json.dumps({**about, "rows": rows}, indent=1))


def made_up(config: Any, count: int) -> dict[str, np.ndarray]:
    """A batch of spheres' samples under noise: what arrays hold does not matter to times, but for its ranges."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((count, 10_000, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    uniform = rng.uniform(-0.7, 0.7, (count, 100_000, 3))
    near = 0.4 * directions[:, rng.integers(0, 10_000, 100_000)] * rng.uniform(0.9, 1.1, (count, 100_000, 1))
    signed = lambda places: np.concatenate([places, np.linalg.norm(places, axis=-1, keepdims=True) - 0.4], -1)  # noqa: E731
    side = np.linspace(-0.7, 0.7, 32)
    grid = np.sqrt(sum(axis**2 for axis in np.meshgrid(side, side, side))) - 0.4
    to_grid = np.eye(4)
    to_grid[:3, :3] *= 31 / 1.4
    to_grid[:3, 3] = 15.5
    batch = {
        "depth": rng.uniform(0, 2, (count, 137, 137, 20)),
        "points": np.concatenate([0.4 * directions, directions], -1),
        "uniform": signed(uniform),
        "near": signed(near),
        "grid": np.tile(grid, (count, 1, 1, 1)),
        "world_to_grid": np.tile(to_grid, (count, 1, 1)),
    }
    return {name: array.astype(np.float32) for name, array in batch.items()} | {"example": np.arange(count), "kind": np.zeros(count, int)}


def bench(variant: str, precision: str, *, with_parts: bool) -> dict[str, Any]:
    """Figures of one config."""
    config = _configs.load(_configs.path_of(f"ldif:{variant}"))
    config.model.precision, config.train.batch_size = precision, _BATCH.value
    config.model.decoder_kernels = _KERNELS.value
    task = load_task(config)
    assets = Assets(arrays={"half_side": np.array([0.7], np.float32)}, names={"classes": ["sphere"]})
    model = task.model(assets, rngs=states.model_rngs(0))
    parts, optimizer, mesh = states.split(model), task.optimizer(config.train.steps, 1000), steps.device_mesh(_BATCH.value)
    batch = jax.device_put(made_up(config, _BATCH.value), steps.sharded(mesh))
    state, constants = jax.device_put((states.initial_state(parts, optimizer, 0), parts.constants), steps.replicated(mesh))
    one = steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh)

    def several(state, constants, batch):
        return lax.scan(lambda state, _: one(state, constants, batch), state, None, length=_STEPS.value)

    traced = jax.jit(several, donate_argnums=0, compiler_options=steps.compiler_options(mesh)).trace(state, constants, batch)
    began = time.perf_counter()
    compiled = traced.lower().compile()
    seconds, memory = time.perf_counter() - began, compiled.memory_analysis()
    holder = [state]

    def take():
        holder[0], metrics = compiled(holder[0], constants, batch)
        return metrics["loss"]

    row = {"variant": variant, "precision": precision, "kernels": _KERNELS.value, "batch": _BATCH.value, "compile_s": seconds}
    row["step_ms"] = 1e3 * timed(take, 1) / _STEPS.value
    row["gflop"] = operations(traced.jaxpr.jaxpr, 1) / _STEPS.value / 1e9
    row["planned_gib"] = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**30
    if with_parts:
        row["parts"] = profile(task, optimization_model(parts, holder[0]), batch) + [of_optimizer(optimizer, holder[0])]
    return row


def optimization_model(parts: states.Split, state: states.TrainState) -> nnx.Module:
    """The model of a state."""
    return states.merge(states.Split(parts.graphdef, optimization.unpacked(state.params), state.running, parts.constants))


def profile(task: Any, model: nnx.Module, batch: Any) -> list[dict[str, Any]]:
    """The parts of a step, each with the inputs that it has in one."""
    graph, state = nnx.split(model)
    keys = jax.random.split(jax.random.key(0), len(batch["depth"]))

    def call(function, state, *args):
        return function(nnx.merge(graph, state, copy=True), *args)

    found = jax.jit(lambda state: call(lambda m: m.elements(batch, keys[0], train=True), state))(state)
    listed = [
        ("encoder", lambda m, images: m.encoder(images, train=True), (batch["depth"][..., : model.views],), True),
        ("evaluate", lambda m, e, p: m.values(e, p, train=True), (found, batch["uniform"][:, : task.config.data.samples, :3]), True),
    ]
    if model.pointnet is not None:
        far = jax.jit(pointnet.distances)(found, batch["points"])
        which = jax.jit(lambda d: pointnet.chosen(d, model.local_points, keys))(far)
        near = jax.jit(jax.vmap(lambda own, at: own[at]))(batch["points"], which)
        listed += [
            ("distances", lambda m, e, p: pointnet.distances(e, p), (found, batch["points"]), False),
            ("choose", lambda m, d: pointnet.chosen(d, model.local_points, keys), (far,), False),
            ("gather", lambda m, p, w: jax.vmap(lambda own, at: own[at])(p, w), (batch["points"], which), False),
            ("pointnet", lambda m, e, p: m.pointnet(e, p), (found, near), True),
        ]
    if model.decoder is not None:
        local = jax.random.normal(jax.random.key(1), (len(keys), found.center.shape[1] + model.symmetric, task.config.data.samples, 3))
        features = jnp.concatenate([found.features, found.features[:, : model.symmetric]], axis=1)
        for kernels in (True, False):
            listed.append((f"decoder{'' if kernels else ', plain'}", functools.partial(_decode, kernels), (features, local), True))
    rows = []
    for name, function, args, learns in listed:
        for backward in (False, True)[: 1 + learns]:
            kind = "forward + backward" if backward else "forward"
            rows.append({"name": name, "kind": kind, **of_part(graph, state, function, args, backward)})
    return rows


def _decode(kernels: bool, model: nnx.Module, features: jax.Array, local: jax.Array) -> jax.Array:
    model.decoder.kernels = kernels
    return model.decoder(features, local, train=True)


def of_part(graph: Any, state: Any, function: Callable, args: tuple, backward: bool) -> dict[str, float]:
    """Milliseconds, operations and bytes of a part."""
    params, rest = state.split(nnx.Param, ...)

    def forward(params, args):
        return function(nnx.merge(graph, params, rest, copy=True), *args)

    def both(params, args):
        out, transpose = jax.vjp(forward, params, args)
        return transpose(jax.tree.map(lambda x: jnp.full(x.shape, 1e-3, x.dtype), out))

    traced = jax.jit(both if backward else forward).trace(params, args)
    compiled = traced.lower().compile()
    cost = compiled.cost_analysis() or {}
    figures = {"gflop": operations(traced.jaxpr.jaxpr, 1) / 1e9, "gbytes": cost.get("bytes accessed", 0.0) / 1e9}
    return {"ms": 1e3 * timed(lambda: compiled(params, args), _FLIGHT), **figures}


def of_optimizer(optimizer: Any, state: states.TrainState) -> dict[str, Any]:
    """Of the update of all parameters."""

    @jax.jit
    def run(gradients, opt_state, params):
        norm = optimization.joint_norm(gradients)
        updates, opt_state = optimization.update(optimizer, gradients, norm, opt_state, params, jnp.float32(1))
        return jax.tree.map(jnp.add, params.groups, updates), opt_state

    gradients = jax.tree.map(lambda x: 1e-3 * jnp.ones_like(x), state.params.groups)
    size = 7 * sum(x.nbytes for x in jax.tree.leaves(state.params.groups))
    ms = 1e3 * timed(lambda: run(gradients, state.opt_state, state.params), _FLIGHT)
    return {"name": "optimiser", "kind": "update", "ms": ms, "gflop": 0.0, "gbytes": size / 1e9}


def timed(call: Callable[[], Any], flight: int) -> float:
    """Seconds per call: the median of ten rounds of `flight` calls; on CPUs of two rounds of one."""
    gpu = jax.default_backend() == "gpu"
    jax.block_until_ready(call())
    seconds = []
    for _ in range(10 if gpu else 2):
        began = time.perf_counter()
        out = [call() for _ in range(flight if gpu else 1)]
        jax.block_until_ready(out)
        seconds.append((time.perf_counter() - began) / len(out))
    return float(np.median(seconds))


if __name__ == "__main__":
    app.run(main)
