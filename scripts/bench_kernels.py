"""Times the kernels of the training step one by one beside what they stand for, on a GPU, at the full configuration's shapes.

  python scripts/bench_kernels.py [--batch=4]

Random values. Each is compiled by itself; its time is that of calls in flight together, divided: the least of five rounds, microseconds.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from ava_jax.nn import conv, convolve
from ava_jax.tasks.ava256.kernels import fused_combiner, voxels

_BATCH = flags.DEFINE_integer("batch", 4, "Frames.", lower_bound=1)

_FLIGHT, _ROUNDS = 12, 5
_SIDE = 1024  # of slabs and textures


def microseconds(call: Callable, args: tuple) -> float:
    compiled = jax.jit(lambda *args: call(*args))
    jax.block_until_ready(compiled(*args))
    rounds = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        jax.block_until_ready([compiled(*args) for _ in range(_FLIGHT)])
        rounds.append((time.perf_counter() - begin) / _FLIGHT)
    return 1e6 * min(rounds)


def show(name: str, args: tuple, **calls: Callable) -> None:
    print(f"{name:44}" + "".join(f"  {kind} {microseconds(call, args):8.1f} us" for kind, call in calls.items()), flush=True)


def normal(seed: int, *shape: int, dtype: jnp.dtype = jnp.bfloat16) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def combiners(batch: int) -> None:
    for side, c in ((512, 16), (256, 32)):
        p = batch * side * side
        layers = (normal(2, 8, c, c, dtype=jnp.float32) / np.sqrt(c)).astype(jnp.bfloat16), normal(3, 8, c, dtype=jnp.float32)
        args = normal(0, p, c), normal(1, p, c), *layers
        show(f"combiner, {side}, {c} channels", args, kernel=fused_combiner.forward_kernel, written_out=fused_combiner._forward_plain)
        args += (normal(4, p, 2 * c),)
        show(
            f"combiner, {side}, {c} channels, gradient",
            args,
            kernel=fused_combiner.backward_kernel,
            written_out=fused_combiner._backward_plain,
        )


def convolutions(batch: int) -> None:
    for side, out in ((512, 16), (513, 32)):
        args = normal(0, batch, side + 1, side + 1, 16), normal(1, 2, 2, 16, out, dtype=jnp.float32), normal(2, out, dtype=jnp.float32)
        show(f"convolution, {side}, 16 to {out} channels", args[:2], kernel=convolve.kernel, library=conv._convolve_valid)
        show("... with bias and LeakyReLU", args, kernel=convolve.kernel, library=conv._activated_plain)


def templates(batch: int) -> None:
    blocks = batch, _SIDE // 2 + 1, _SIDE // 2 + 1
    slabs = [
        voxels.Slab(normal(0, *blocks, 4 * c), normal(1, c, dtype=jnp.float32), normal(2, _SIDE, _SIDE, c, dtype=jnp.float32))
        for c in (24, 8)
    ]
    show("template", tuple(slabs), kernel=voxels.forward_kernel, written_out=voxels._forward_plain)
    shape = batch, (_SIDE // 8) ** 2, 8, 8, 8, 4
    args = normal(3, *shape, dtype=jnp.float32), normal(4, *shape, dtype=jnp.float32)
    show("template, gradient", args, kernel=voxels.backward_kernel, written_out=voxels._backward_plain)


def main(_) -> None:
    if jax.default_backend() != "gpu":
        raise app.UsageError("bench_kernels.py needs an NVIDIA GPU; the platform here is " + jax.default_backend() + ".")
    for part in (combiners, convolutions, templates):
        part(_BATCH.value)


if __name__ == "__main__":
    app.run(main)
