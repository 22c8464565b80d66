"""Times the whole training step and its parts, on the platform at hand.

  python scripts/bench_step.py --golden=DIR [--config=ava256] [--sizes=512x333,1024x667] [--batch=4] [--out=FILE.json]

The scene: the published model's mesh and texture in the assets folder beside DIR, seen by DIR's `bench_cameras.npz`, with 80 cameras
and 4 identities to choose from, targets of noise. `fresh`: weights as they start. `trained`: densities as a trained model gives them,
so that rays saturate: the geometry decoder's map of biases is such that the density is exp(4 + standard normal) per voxel, and the last
layers of motion and vertices are silent, so that decoding gives the mean mesh. Steps are taken within the warm-up, where the batch's mesh
carries the primitives (the cost is the same after it).

A step's time is that of five in flight together, divided; a part's likewise. Each part is compiled apart, forward and forward + backward
(gradients of its weights and of what other parts computed). Its floor is the larger of operations over the rate of a large
matrix product here, and of the bytes of its arguments and results over the rate of a large copy here, each moved once.
"""

import json
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import bench_scene
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from count_operations import operations
from flax import nnx

from ava_jax.bin import _main
from ava_jax.core.types import Batch
from ava_jax.losses import terms
from ava_jax.ops import camera_rays, raymarch
from ava_jax.tasks.ava256.model.background import chunks, composite, pixel_weights
from ava_jax.tasks.ava256.model.codec import AvatarCodec, cameras_of
from ava_jax.tasks.ava256.model.losses import kl_with_absolute_logstd
from ava_jax.tasks.base import Optimizer
from ava_jax.tasks.command import define_config
from ava_jax.train import optimization
from ava_jax.train import state as states

_CONFIG = define_config()
_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors; the assets folder stands beside it.")
_SIZES = flags.DEFINE_list("sizes", ["512x333", "1024x667"], "Heights x widths.")
_BATCH = flags.DEFINE_integer("batch", 4, "Samples per step.", lower_bound=1)
_REGIMES = flags.DEFINE_list("regimes", ["fresh", "trained"], "Which of fresh and trained.")
_PARTS = flags.DEFINE_bool("parts", True, "Profile the parts of the first size.")
_REPEATS = flags.DEFINE_integer("repeats", 12, "Timed rounds.", lower_bound=3)
_CACHE = flags.DEFINE_string("cache", None, "Folder of compiled programs; by default a new one, so that the first compilation is cold.")
_OUT = flags.DEFINE_string("out", None, "JSON file for all figures.")

_FLIGHT = 5
_TEXTURES_AND_MESHES = ("texture", "vertices", "neutral_texture", "neutral_vertices")

# The published implementation on one H200, fresh weights: (batch, height) -> step, decode, decode + render, ms; peak, GiB.
_REFERENCE = {
    (4, 512): (113.0, 7.9, 27.8, 10.3),
    (4, 1024): (207.0, 7.9, 62.8, 27.0),
    (1, 1024): (91.0, 6.0, 19.7, 7.5),
    (8, 512): (177.0, 14.0, 49.1, 19.9),
}


class Part(NamedTuple):
    """A piece of the step: `run(modules, moving, fixed)`, differentiated by the modules' parameters and by `moving`."""

    name: str
    run: Callable[[tuple, tuple, tuple], Any]
    modules: tuple
    moving: tuple
    fixed: tuple
    trips: int = 1  # of its loops, where their number is known at run time only


class Timing(NamedTuple):
    p50: float
    p90: float


def timed(call: Callable[[], Any]) -> Timing:
    """Seconds per call, several in flight."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(_REPEATS.value + 1):
        begin = time.perf_counter()
        out = [call() for _ in range(_FLIGHT if jax.default_backend() == "gpu" else 1)]
        jax.block_until_ready(out)
        seconds.append((time.perf_counter() - begin) / len(out))
        del out
    return Timing(*np.percentile(seconds[1:], (50, 90)))


def ceilings() -> dict[str, float]:
    """Bytes a second of a large copy; operations a second of large matrix products of random values."""
    gpu = jax.default_backend() == "gpu"
    side, length = (8192, 1 << 29) if gpu else (1024, 1 << 24)
    x = jax.random.normal(jax.random.key(0), (length,), jnp.float32)
    rates = {"bytes": 8 * length / timed(lambda f=jax.jit(lambda x: x + 1.0): f(x)).p50}
    a, b = jax.random.normal(jax.random.key(1), (2, side, side), jnp.float32)
    product = jax.jit(jnp.matmul)
    for name, dtype in (("float32", jnp.float32), ("bfloat16", jnp.bfloat16)):
        rates[name] = 2 * side**3 / timed(lambda a=a.astype(dtype), b=b.astype(dtype): product(a, b)).p50
    return rates


def _inputs(m, _, batch):
    texture, vertices, neutral_texture, neutral_vertices = (batch[0][k] for k in _TEXTURES_AND_MESHES)
    return m[0].identity_images(neutral_texture, neutral_vertices), m[0].expression_images(
        texture, vertices, neutral_texture, neutral_vertices
    )


def _encode_identity(m, _, x):
    return m[0](*x)


def _encode_expression(m, _, x):
    return m[1](m[0](*x))


def _decode(m, moving, fixed):
    z, identity = moving
    return m[0](z, identity), m[1](z, identity, *fixed)


def _assemble(m, moving, fixed):
    return m[0](*moving, *fixed, guided=jnp.array(True))


def _calibrate_and_composite(m, moving, fixed):
    rgba, learned = moving
    image = jnp.concatenate([m[0](rgba[..., :3], *fixed), rgba[..., 3:]], -1)
    return composite(image, learned)


def _losses(_, moving, fixed):
    image, vertices, (mean, logstd), primitives = moving
    found = terms.absolute_error(image, fixed[0]), terms.absolute_error(vertices, fixed[1])
    found += kl_with_absolute_logstd(mean, logstd), terms.primitive_volume(primitives)
    return sum(jnp.mean(x) for x in found)


def _run(part, modules, moving, fixed):
    graph, state = nnx.split(modules)
    return jax.jit(lambda state, moving, fixed: part(nnx.merge(graph, state, copy=True), moving, fixed))(state, moving, fixed)


def parts_of(model: AvatarCodec, batch: Batch) -> list[Part]:
    """The step's pieces, each with the inputs that it has in a step."""
    height, width = batch["image"].shape[1:3]
    camera_position, cameras = batch["camera_position"], cameras_of(batch)

    def march(_, moving, fixed):
        one_view = jax.tree.map(lambda x: x[:, None], fixed[0])
        rays = camera_rays(one_view, height, width, radius=model.volume_radius)
        return raymarch(rays, moving[0], step_size=model.step_size)[:, 0]

    def background(m, _, fixed):
        *who, mask, gradient_weight = fixed
        return m[0](*who, height, width, mask=mask, gradient_weight=gradient_weight)

    identity_images, expression_images = _run(_inputs, (model,), (), (batch,))
    identity = _run(_encode_identity, (model.identity_encoder,), (), identity_images)
    code = _run(_encode_expression, (model.expression_encoder, model.bottleneck), (), expression_images)
    decoders = (model.geometry_decoder, model.colour_decoder)
    geometry, colour = _run(_decode, decoders, (code[0], identity), (camera_position,))
    placed = (jnp.asarray(batch["vertices"]),)
    primitives = _run(_assemble, (model.assembler,), (geometry, colour), placed)
    rgba = _run(march, (), (primitives,), (cameras,))
    who = (jnp.asarray(batch["camera"]), jnp.asarray(batch["identity"]))
    listed = [
        Part("inputs", _inputs, (model,), (), (batch,)),
        Part("identity encoder", _encode_identity, (model.identity_encoder,), (), identity_images),
        Part("expression encoder", _encode_expression, (model.expression_encoder, model.bottleneck), (), expression_images),
        Part("decoders", _decode, decoders, (code[0], identity), (camera_position,)),
        Part("assembler", _assemble, (model.assembler,), (geometry, colour), placed),
        Part("raymarch", march, (), (primitives,), (cameras,)),
    ]
    if model.background is not None:
        counted = pixel_weights(rgba[..., 3] <= 0, model.background_fraction, jax.random.key(0))
        mask = (counted.loss > 0) & (rgba[..., 3] < 1.0)
        hidden = *who, mask, None if model.background_fraction == 1 else counted.gradient
        learned = _run(background, (model.background,), (), hidden)
        listed.append(Part("background", background, (model.background,), (), hidden, chunks(mask)))
        listed.append(Part("calibration, composite", _calibrate_and_composite, (model.calibration,), (rgba, learned), who))
    vertices = geometry.vertices * 5.0
    listed.append(Part("losses", _losses, (), (rgba[..., :3], vertices, code, primitives), (batch["image"], batch["vertices"])))
    return listed


def compiled_part(part: Part, backward: bool) -> tuple[Callable[[], Any], dict[str, float]]:
    """The part as a compiled call without arguments, and its operations and bytes."""
    graph, params, rest = nnx.split(part.modules, nnx.Param, ...)

    def forward(params, moving, rest, fixed):
        return part.run(nnx.merge(graph, params, rest, copy=True), moving, fixed)

    def both(params, moving, rest, fixed):
        out, transpose = jax.vjp(lambda p, m: forward(p, m, rest, fixed), params, moving)
        return transpose(jax.tree.map(lambda x: jnp.full(x.shape, 1e-3, x.dtype), out))

    args = jax.device_put((params, part.moving, rest, part.fixed))
    traced = jax.jit(both if backward else forward).trace(*args)
    compiled = traced.lower().compile()
    memory = compiled.memory_analysis()
    size = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return (lambda: compiled(*args)), {"flops": operations(traced.jaxpr.jaxpr, part.trips), "bytes": float(size)}


def profile(model: AvatarCodec, batch: Batch, rates: dict[str, float], precision: str) -> list[dict[str, Any]]:
    rows = []
    for part in parts_of(model, batch):
        row: dict[str, Any] = {"part": part.name}
        for label in ("forward", "forward + backward"):
            if label != "forward" and part.name == "inputs":
                continue
            call, cost = compiled_part(part, label != "forward")
            floor = max(cost["flops"] / rates[precision], cost["bytes"] / rates["bytes"])
            row[label] = {"ms": 1e3 * timed(call).p50, "floor_ms": 1e3 * floor, **cost}
        rows.append(row)
    return rows


def profile_optimizer(optimizer: Optimizer, state: states.TrainState, rates: dict[str, float]) -> dict:
    @jax.jit
    def run(gradients, opt_state, params):
        packed = params.pack(gradients)
        updates, opt_state = optimization.update(optimizer, packed, optimization.joint_norm(packed), opt_state, params, jnp.float32(1))
        return optax.apply_updates(params.groups, updates), opt_state

    gradients = jax.jit(lambda params: jax.tree.map(lambda x: 1e-3 * jnp.ones_like(x), params.learning()))(state.params)
    args = (gradients, state.opt_state, state.params)
    size = 7 * sum(x.nbytes for x in jax.tree.leaves(state.params))  # gradient, two moments, parameter; all but the gradient written
    row = {"ms": 1e3 * timed(lambda: run(*args)).p50, "floor_ms": 1e3 * size / rates["bytes"], "bytes": float(size)}
    return {"part": "optimiser", "forward": row}


def dispatch(take: Callable[[], Any]) -> float:
    """Seconds that the host needs for a step's own call, the device being idle before it: the median of 40."""
    seconds = []
    for _ in range(40):
        begin = time.perf_counter()
        metrics = take()
        seconds.append(time.perf_counter() - begin)
        jax.block_until_ready(metrics)
    return float(np.median(seconds))


def compile_times(step: Callable, *args: Any) -> tuple[Any, float, float]:
    """The compiled step; seconds to compile it when the cache lacks it (or as --cache has it), and when the cache has it."""
    begin = time.perf_counter()
    step.lower(*args).compile()
    cold = time.perf_counter() - begin
    jax.clear_caches()
    begin = time.perf_counter()
    compiled = step.lower(*args).compile()
    return compiled, cold, time.perf_counter() - begin


def bench(config: Any, regime: str, height: int, width: int, *, with_parts: bool, rates: dict[str, float]) -> dict[str, Any]:
    """All figures of one size and regime. Fills `rates` with the ceilings where they are not known yet."""
    ready = bench_scene.make_step(config, pathlib.Path(_GOLDEN.value), regime, _BATCH.value, height, width)
    constants, batch, optimizer = ready.constants, ready.batch, ready.optimizer
    compiled, cold, warm = compile_times(ready.step, ready.state, constants, batch)
    memory = compiled.memory_analysis()
    holder = [ready.state]
    graphdef = ready.graphdef
    del ready  # its state is donated

    def take() -> Any:
        holder[0], metrics = compiled(holder[0], constants, batch)
        return metrics

    found = timed(take)
    # Arguments stay during the step; results take the place of those donated.
    planned = memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    row = {"regime": regime, "batch": _BATCH.value, "height": height, "width": width}
    row |= {"step_ms": 1e3 * found.p50, "step_p90_ms": 1e3 * found.p90, "dispatch_ms": 1e3 * dispatch(take), "planned_gib": planned / 2**30}
    row |= {"compile_s": cold, "compile_cached_s": warm}
    if not rates:  # nothing but steps has run so far, so the process's peak is theirs
        stats = jax.local_devices()[0].memory_stats() or {}
        row |= {"peak_gib": stats["peak_bytes_in_use"] / 2**30} if "peak_bytes_in_use" in stats else {}
        rates |= ceilings()
    model = states.merge(states.Split(graphdef, optimization.unpacked(holder[0].params), holder[0].running, constants))
    row |= bench_decoding(model, batch, height, width)
    if with_parts:
        row["parts"] = [*profile(model, batch, rates, config.model.precision), profile_optimizer(optimizer, holder[0], rates)]
    return row


def bench_decoding(model: AvatarCodec, batch: Batch, height: int, width: int) -> dict[str, float]:
    """Codes to primitives, and to finished pictures."""
    graph, state = nnx.split(model)

    @jax.jit
    def encode(state, batch):
        model = nnx.merge(graph, state)
        identity = model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
        keys = ("texture", "vertices", "neutral_texture", "neutral_vertices")
        return identity, model.encode_expression(*(batch[k] for k in keys))[0]

    @jax.jit
    def decode(state, codes, camera_position):
        return nnx.merge(graph, state).decode(*codes, camera_position)

    @jax.jit
    def draw(state, codes, batch):
        model = nnx.merge(graph, state)
        primitives = model.decode(*codes, batch["camera_position"]).primitives
        return model.calibrate_and_composite(model.render(primitives, cameras_of(batch), height, width), batch["camera"], batch["identity"])

    codes = encode(state, batch)
    figures = {"decode_ms": timed(lambda: decode(state, codes, batch["camera_position"])).p50}
    figures["decode_render_ms"] = timed(lambda: draw(state, codes, batch)).p50
    return {name: 1e3 * seconds for name, seconds in figures.items()}


def show(row: dict[str, Any]) -> None:
    print(f"\n{row['regime']}, batch {row['batch']}, {row['height']} x {row['width']}; reference in brackets (H200, fresh weights)")
    known = row["batch"], row["height"]
    reference = dict(zip(("step_ms", "decode_ms", "decode_render_ms", "peak_gib"), _REFERENCE.get(known, ())))
    for name in (
        "step_ms",
        "step_p90_ms",
        "dispatch_ms",
        "decode_ms",
        "decode_render_ms",
        "peak_gib",
        "planned_gib",
        "compile_s",
        "compile_cached_s",
    ):
        if name in row:
            beside = f"  ({reference[name]:g})" if name in reference else ""
            print(f"  {name:18}{row[name]:9.2f}{beside}")
    if "parts" not in row:
        return
    print(f"  {'part':24}{'forward':>9}{'floor':>8}{'f + b':>9}{'floor':>8}{'Gflop':>9}{'MB':>8}")
    total = 0.0
    for part in row["parts"]:
        last = part.get("forward + backward", part["forward"])
        total += last["ms"]
        cells = [f"{part[k]['ms']:9.2f}{part[k]['floor_ms']:8.2f}" if k in part else " " * 17 for k in ("forward", "forward + backward")]
        print(f"  {part['part']:24}{''.join(cells)}{last.get('flops', 0) / 1e9:9.1f}{last['bytes'] / 1e6:8.0f}")
    print(f"  {'sum; what is left':24}{total:26.2f}{row['step_ms'] - total:8.2f}", flush=True)


def main() -> None:
    config = _CONFIG.value
    if config is None:
        raise ValueError("--config is missing: for example --config=ava256.")
    if _GOLDEN.value is None:
        raise ValueError("--golden is missing: the folder of golden vectors.")
    jax.config.update("jax_compilation_cache_dir", _CACHE.value or tempfile.mkdtemp(prefix="bench_step_"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    rates: dict[str, float] = {}
    about = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "commit": bench_scene.commit(), "rates": rates}
    print(f"{about['device']}, jax {jax.__version__}, commit {about['commit']}")
    rows = []
    for i, size in enumerate(_SIZES.value):
        for j, regime in enumerate(_REGIMES.value):
            height, width = (int(x) for x in size.split("x"))
            last = j == len(_REGIMES.value) - 1
            rows.append(bench(config, regime, height, width, with_parts=_PARTS.value and last, rates=rates))
            show(rows[-1])
            print("  measured here: " + ", ".join(f"{k} {v / 1e12:.3g} T/s" for k, v in rates.items()), flush=True)
            if _OUT.value:
                text = json.dumps({**about, "config": config.to_json_best_effort(), "rows": rows}, indent=1)
                pathlib.Path(_OUT.value).write_text(text)


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
