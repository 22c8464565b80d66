"""Traces the training step on a GPU, kernel by kernel, and says which part of the model took how long.

  python scripts/trace_step.py --golden=DIR [--config=ava256] [--size=512x333] [--batch=4] [--regime=trained] [--out=FILE.json]

The scene is that of bench_step.py. Command buffers are off, so that each kernel has its name: the step takes a little longer from end
to end (its kernels do not). Prints for each part of the model, forward and backward, kernels per step, milliseconds on the device, and
how much of both are kernels of under 4 us; then the largest kernels. A kernel that fuses operations of two parts counts for the one
that its result belongs to.
"""

import collections
import json
import os
import pathlib
import re
import tempfile
from typing import Any, NamedTuple

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_enable_command_buffer="  # before jax reads it

import bench_scene
import jax
from absl import flags

from ava_jax.bin import _main
from ava_jax.tasks.command import define_config

_CONFIG = define_config()
_GOLDEN = flags.DEFINE_string("golden", None, "Folder of golden vectors; the assets folder stands beside it.", required=True)
_SIZE = flags.DEFINE_string("size", "512x333", "Height x width.")
_BATCH = flags.DEFINE_integer("batch", 4, "Samples per step.", lower_bound=1)
_REGIME = flags.DEFINE_enum("regime", "trained", ["fresh", "trained"], "Weights as they start, or densities of a trained model.")
_STEPS = flags.DEFINE_integer("steps", 3, "Steps to trace.", lower_bound=1)
_LARGEST = flags.DEFINE_integer("largest", 40, "Kernels to list by themselves.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "JSON file for all figures.")

# Scopes that the model and the step give to JAX.
_PARTS = (
    "inputs", "identity_encoder", "expression_encoder", "geometry_decoder", "colour_decoder", "assembler",
    "raymarch", "background", "composite", "optimiser",
)  # fmt: skip
_REST = "losses, norms, packing"
_SMALL = 4.0  # us


class Kernel(NamedTuple):
    """A kernel, or copy, of the step: `us` and `launches` per step."""

    part: str
    us: float
    launches: float
    name: str
    operation: str


def part_of(operation: str) -> str:
    """The part, by the innermost scope of an operation's path that is one."""
    found = [name for name in re.findall(r"\w+", operation) if name in _PARTS]
    part = found[-1] if found else _REST
    return f"{part}, backward" if "transpose(" in operation else part


def operations(hlo: str) -> dict[str, str]:
    """Instruction -> path of what it computes, of a compiled program's text."""
    instruction = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = .*op_name="([^"]*)"')
    return {m[1]: m[2] for m in map(instruction.match, hlo.splitlines()) if m}


def events(folder: str) -> list[tuple[str, str, float]]:
    """(instruction, kernel's name, us) of all that ran on the GPU's streams."""
    found = []
    for file in pathlib.Path(folder).rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
            for line in plane.lines if "GPU" in plane.name else ():
                if line.name.startswith("Stream"):
                    found += [(str(dict(e.stats).get("hlo_op", "")), e.name, e.duration_ns / 1e3) for e in line.events]
    return found


def traced() -> list[Kernel]:
    """The kernels of a step, the longest first."""
    config, golden = _CONFIG.value, pathlib.Path(_GOLDEN.value)
    height, width = (int(x) for x in _SIZE.value.split("x"))
    step, state, constants, batch, *_ = bench_scene.make_step(config, golden, _REGIME.value, _BATCH.value, height, width)
    compiled = step.lower(state, constants, batch).compile()
    for _ in range(3):
        state, metrics = compiled(state, constants, batch)
    jax.block_until_ready(metrics)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(_STEPS.value):
                state, metrics = compiled(state, constants, batch)
            jax.block_until_ready((state, metrics))
        ran = events(folder)
    paths, sums = operations(compiled.as_text()), collections.defaultdict(lambda: [0, 0.0])
    for instruction, name, us in ran:
        total = sums[instruction, name]
        total[0] += 1
        total[1] += us
    n = _STEPS.value
    kernels = [Kernel(part_of(paths.get(i, "")), us / n, count / n, name[:80], paths.get(i, i)) for (i, name), (count, us) in sums.items()]
    return sorted(kernels, key=lambda kernel: -kernel.us)


def by_part(kernels: list[Kernel]) -> dict[str, dict[str, float]]:
    """Part -> kernels and us per step, and of these the small ones."""
    parts: dict[str, dict[str, float]] = {}
    for kernel in kernels:
        row = parts.setdefault(kernel.part, {"kernels": 0, "us": 0.0, "small_kernels": 0, "small_us": 0.0})
        row["kernels"] += kernel.launches
        row["us"] += kernel.us
        if kernel.us < _SMALL * kernel.launches:
            row["small_kernels"] += kernel.launches
            row["small_us"] += kernel.us
    return dict(sorted(parts.items(), key=lambda item: -item[1]["us"]))


def show(report: dict[str, Any]) -> None:
    print(f"{'part':32}{'kernels':>8}{'ms':>8}{'small':>7}{'ms':>7}")
    for name, row in report["parts"].items():
        print(f"{name:32}{row['kernels']:8.0f}{row['us'] / 1e3:8.2f}{row['small_kernels']:7.0f}{row['small_us'] / 1e3:7.2f}")
    print(f"{'all':32}{report['kernels_per_step']:8.0f}{report['device_us'] / 1e3:8.2f}")
    for kernel in report["largest"]:
        what = f"{kernel['part'][:28]:28}  {kernel['name'][:36]:36}  {kernel['operation'][-60:]}"
        print(f"{kernel['us']:8.1f} us {kernel['launches']:4.0f}  {what}")


def main() -> None:
    if _CONFIG.value is None:
        raise ValueError("--config is missing: for example --config=ava256.")
    if jax.default_backend() != "gpu":
        raise ValueError(f"there are no kernels to trace on {jax.default_backend()}: it takes an NVIDIA GPU.")
    kernels = traced()
    about = f"bench_step.py's scene, {_REGIME.value}, batch {_BATCH.value}, {_SIZE.value}; command buffers off; "
    about += f"mean of {_STEPS.value} steps; small: under {_SMALL:g} us"
    report = {"device": jax.devices()[0].device_kind, "jax": jax.__version__, "commit": bench_scene.commit(), "about": about}
    report |= {"kernels_per_step": sum(k.launches for k in kernels), "device_us": sum(k.us for k in kernels)}
    report |= {"parts": by_part(kernels), "largest": [k._asdict() for k in kernels[: _LARGEST.value]]}
    show(report)
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
