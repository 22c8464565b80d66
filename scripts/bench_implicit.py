"""Times implicit functions and marching cubes on the golden shapes, and says how far they are from the golden values.

  python scripts/bench_implicit.py --golden=DIR [--resolution=256] [--json=FILE] [--reference]

DIR holds `ldif_modules.npz` and the folder `ldif`. Any platform; a row per work: median of the repetitions, one call after the other, each
waited for; many calls waited for once, which leaves out the host's part; and the processor time of all the host's threads. A mesh's time
is whole: from elements on the host to vertices and faces on the host. `pairs` is how many elements count at a point, in the mean; the time
per pair follows, on CPUs per core.
"""

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from ava_jax.ops import implicit, marching
from ava_jax.tasks.ldif.apps import shape as shapes
from ava_jax.tasks.ldif.apps import surface
from ava_jax.tasks.ldif.apps.shape import Shape

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors.", required=True)
_RESOLUTION = flags.DEFINE_integer("resolution", 256, "Places per side of the grids.", lower_bound=2)
_REPEATS = flags.DEFINE_integer("repeats", 20, "Repetitions a row; fewer where they would take over ten seconds.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "File for the table.")
_REFERENCE = flags.DEFINE_bool("reference", False, "Time the reference implementation in plain JAX, too.")
_SAMPLE = 20_000  # points that pairs are counted at


def read(folder: pathlib.Path) -> dict[str, Shape]:
    """The shapes that are timed, by name: published ones as they are, and with radii of 0.15."""
    ldif = shapes.read(folder / "test-ldif.txt", folder / "extracted.occnet", cut=True)
    sif = shapes.read(folder / "test-sif.txt")
    wide = {name: Shape(_widened(one), one.symmetric, one.decoder, one.rotated, one.cut) for name, one in (("ldif", ldif), ("sif", sif))}
    exact = {name: Shape(one.elements, one.symmetric, one.decoder) for name, one in (("ldif", ldif), ("wide", wide["ldif"]))}
    return {
        "LDIF": ldif,
        "LDIF, radii 0.15": wide["ldif"],
        "LDIF, no cut": exact["ldif"],
        "LDIF, no cut, radii 0.15": exact["wide"],
        "SIF": sif,
        "SIF, radii 0.15": wide["sif"],
    }


def _widened(shape: Shape) -> implicit.Elements:
    return shape.elements._replace(variance=np.full_like(shape.elements.variance, 0.15**2))


def timed(run: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds per call: each waited for (median), all waited for once, and of all the host's threads (least)."""
    jax.block_until_ready(run())
    start = time.perf_counter()
    jax.block_until_ready(run())
    repeats = max(1, min(_REPEATS.value, int(10 / (time.perf_counter() - start))))
    each, processor = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(run())
        each.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    start = time.perf_counter()
    jax.block_until_ready([run() for _ in range(repeats)])
    many = (time.perf_counter() - start) / repeats
    return {"ms": 1e3 * float(np.median(each)), "ms_of_many": 1e3 * many, "core_ms": 1e3 * min(processor), "repeats": repeats}


def pairs(shape: Shape) -> float:
    """Elements per point whose Gaussian counts: over 1e-4 with the cut, else such that they may add 1e-9."""
    points = np.random.default_rng(0).uniform(-shapes.HALF_SIDE, shapes.HALF_SIDE, (_SAMPLE, 3)).astype(np.float32)
    weight = np.asarray(implicit.influences(shape.elements, points, symmetric=shape.symmetric))
    return float((weight > (1e-4 if shape.cut else 1e-9)).sum(0).mean())


def errors(golden: pathlib.Path, all_shapes: dict[str, Shape]) -> dict[str, float]:
    """Largest distance from golden values, and of grids from the reference implementation."""
    found = {}
    with np.load(golden / "ldif_modules.npz") as file:
        for name, key, field in (("LDIF", "ldif", "f_kernel"), ("LDIF, no cut", "ldif", "f"), ("SIF", "sif", "f")):
            value = all_shapes[name].values(file[f"{key}.points"])
            found[name] = float(np.abs(np.asarray(value) - file[f"{key}.{field}"]).max())
    axes = [np.linspace(-0.75, 0.75, count, dtype=np.float32) for count in (29, 43, 37)]
    for name, shape in all_shapes.items():
        if "no cut" in name or "SIF" in name:  # at the cut a rounding error may leave an element out
            options = {"symmetric": shape.symmetric, "decoder": shape.decoder}
            values = [implicit.values_on_grid(shape.elements, *axes, implementation=i, **options) for i in (None, "jax")]
            found[f"grid: {name}"] = float(jnp.max(jnp.abs(values[0] - values[1])))
    return found


def main(_) -> None:
    golden = pathlib.Path(_GOLDEN.value)
    all_shapes = read(golden / "ldif")
    size = _RESOLUTION.value
    places = shapes.centers(size)
    on_device = jnp.asarray(places)
    rows = {}

    def row(name: str, shape: Shape | None, run: Callable[[], Any]) -> None:
        rows[name] = timed(run)
        if shape is not None:
            rows[name]["pairs"] = pairs(shape)
            time_of = rows[name]["core_ms" if jax.default_backend() == "cpu" else "ms_of_many"]
            rows[name]["ns_per_pair"] = 1e6 * time_of / (size**3 * rows[name]["pairs"])
        print(f"{name:40}" + "".join(f"{key:>14}{value:12.4g}" for key, value in rows[name].items()), flush=True)

    print(
        f"{jax.default_backend()}, {jax.devices()[0].device_kind}, jax {jax.__version__}, {size}^3, compiled: {implicit.is_compiled(None)}"
    )
    for name, shape in all_shapes.items():
        row(f"grid: {name}", shape, lambda shape=shape: shapes.sample_on_device(shape, on_device))
    grid = shapes.sample_on_device(all_shapes["LDIF"], on_device)
    row("marching cubes: LDIF", None, lambda: marching.extract(grid, implicit.SURFACE))
    for name in ("LDIF", "LDIF, radii 0.15", "SIF"):
        row(f"mesh: {name}", None, lambda name=name: surface.extract(all_shapes[name], size))
    points = jnp.asarray(np.random.default_rng(1).uniform(-0.7, 0.7, (100_000, 3)).astype(np.float32))
    for name in ("LDIF, no cut", "SIF"):
        run = jax.jit(lambda points, shape=all_shapes[name]: shape.values(points))
        row(f"100,000 points: {name}", None, lambda run=run: run(points))
        if _REFERENCE.value:
            shape = all_shapes[name]
            options = {"symmetric": shape.symmetric, "decoder": shape.decoder, "implementation": "jax"}
            at = jax.jit(lambda points, shape=shape, options=options: implicit.values_at(shape.elements, points, **options))
            row(f"100,000 points, plain JAX: {name}", None, lambda at=at: at(points))
    if _REFERENCE.value:
        row("marching cubes, plain JAX", None, lambda: marching.extract(grid, implicit.SURFACE, implementation="jax"))
        for name in ("LDIF", "SIF"):
            row(f"grid, blocks of plain JAX: {name}", None, lambda name=name: shapes.sample(all_shapes[name], places, implementation="jax"))
    away = errors(golden, all_shapes)
    for name, error in away.items():
        print(f"error, {name:40}{error:10.2e}")
    if _JSON.value:
        device = f"{jax.default_backend()}, {jax.devices()[0].device_kind}"
        pathlib.Path(_JSON.value).write_text(json.dumps({"device": device, "resolution": size, "rows": rows, "errors": away}, indent=1))


if __name__ == "__main__":
    app.run(main)
