"""`raymarch_memory.py`, in a process of its own on Linux: prints JSON, by pass, the bytes that peak memory grew by and those stated.

Stated is what ffi/raymarch/cpu.h says the handlers allocate, with the results, and what XLA plans between the calls.
"""

import ctypes
import json
import os
import re

import jax
import numpy as np
from raymarch_scenes import STEP, primitives, rays

from ava_jax.ops import raymarch

HEIGHT, WIDTH, COUNT, SIDE = 500, 700, 40000, 3
THREADS = len(os.sched_getaffinity(0))


def status(field: str) -> int:
    """Bytes of this process, by /proc/self/status."""
    with open("/proc/self/status") as file:
        return int(re.search(rf"{field}:\s+(\d+) kB", file.read())[1]) * 1024


def forward(r, p):
    return raymarch(r, p, step_size=STEP, implementation="native")


def both(r, p, g):
    image, transpose = jax.vjp(lambda p: forward(r, p), p)
    return image, transpose(g)[0]


def peak(compiled, args) -> int:
    """Bytes by which peak memory grows in a call."""
    ctypes.CDLL(None).malloc_trim(0)  # what was freed into the heap would be used again, and not counted
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    before = status("VmRSS")
    jax.block_until_ready(compiled(*args))
    return status("VmHWM") - before


def growth(function, *args) -> tuple[int, int]:
    """Bytes by which peak memory grows in a call, and those of its results with what XLA plans beside them."""
    small = jax.tree.map(lambda x: x[:, :8] if x.shape[1] == COUNT else x[:, :, :8], args)
    jax.block_until_ready(jax.jit(function)(*small))  # starts the threads, reads the code
    compiled = jax.jit(function).lower(*args).compile()
    planned = compiled.memory_analysis()
    used = min(peak(compiled, args) for _ in range(8))  # whatever else the process does only adds to it
    return used, planned.output_size_in_bytes + planned.temp_size_in_bytes


def main():
    rng = np.random.default_rng(0)
    r, p = rays(rng, 1, HEIGHT, WIDTH), primitives(rng, COUNT, SIDE, 0.02)
    g = np.ones((1, 1, HEIGHT, WIDTH, 4), np.float32)
    r, p, g = jax.block_until_ready(jax.tree.map(jax.numpy.asarray, (r, p, g)))
    blocks = -(-HEIGHT // 32) * -(-WIDTH // 32)
    scratch = {"forward": 16 * COUNT + THREADS * (264 * COUNT + 60_000), "backward": 16 * COUNT + 57 * 1024 * blocks}
    result = {}
    for name, function, args, passes in (("forward", forward, (r, p), 1), ("both", both, (r, p, g), 2)):
        used, planned = growth(function, *args)
        result[name] = {"used": used, "planned": planned, "scratch": max(list(scratch.values())[:passes])}
    print(json.dumps(result))


main()
