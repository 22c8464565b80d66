"""What examples of implicit functions cost: read from prepared folders, from a packed set, held on a device; and what shapes cost to make.

ava ldif synthesize --out=DATA --packed && python scripts/bench_ldif_data.py DATA

Prints a table in Markdown: seconds of one core (the process's own, so that other work on the machine counts little), and bytes.
"""

import pathlib
import runpy
import sys
import time
from collections.abc import Callable

import numpy as np

from ava_jax.tasks.ldif import shapes
from ava_jax.tasks.ldif.data import examples, meshes, source

DEVICE = 139 * 2**30  # bytes of an H200
FREE = 0.9  # of them, beside the model and its step


def seconds(function: Callable[[int], object], most: float = 4.0) -> float:
    """Of one call, of this process's threads: the mean over calls with 0, 1, ... for so many seconds, the first left out."""
    function(0)
    began, wall, calls = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - wall < most:
        calls += 1
        function(calls)
    return (time.process_time() - began) / calls


def source_of(root: pathlib.Path, variant: str) -> source.ExampleSource:
    config = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "configs" / "ldif.py"))["get_config"](variant)
    config.data.root = str(root)
    return source.ExampleSource(config, "train", source.prepare(config))


def main(data: pathlib.Path) -> None:
    rows = []
    for what, root, variant in (
        ("prepared folders", data / "examples", "ldif"),
        ("packed, whole", data / "packed", "ldif"),
        ("packed, what a step takes", data / "packed", "ldif"),
        ("the same, SIF's one view", data / "packed", "sif"),
    ):
        of = source_of(root, variant)
        read = (lambda i, of=of: of.redraw(i % len(of), i)) if "step" in what or "SIF" in what else (lambda i, of=of: of[i % len(of)])
        size = sum(value.nbytes for value in read(0).values())
        took = seconds(read)
        rows.append(f"| {what} | {size / 1e6:.2f} | {1 / took:,.0f} | {int(FREE * DEVICE / size):,} |")
    print("\n".join(["| read | MB per example | examples/s, one core | fit in 139 GiB, a tenth left free |", "|---|---|---|---|", *rows]))
    makers = []
    for at, kind in enumerate(shapes.CLASSES):
        own = seconds(lambda i, kind=kind, at=at: shapes.shape(kind, np.random.default_rng([1, at, i])), 2.0)
        mesh = meshes.read(sorted((data / "meshes" / "train" / kind).glob("*.ply"))[0])
        made = seconds(lambda i, mesh=mesh: examples.make(mesh, np.random.default_rng(i)), 2.0)
        makers.append(f"| {kind} | {own * 1e3:.0f} | {len(mesh.faces):,} | {made:.2f} |")
    print("\n".join(["\n| class | ms per shape | faces of one | s per example of it |", "|---|---|---|---|", *makers]))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
