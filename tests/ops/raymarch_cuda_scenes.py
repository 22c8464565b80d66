"""`python tests/ops/raymarch_cuda_scenes.py [FIRST [END]]` runs the CUDA raymarcher on small scenes, forward and backward, for
compute-sanitizer to watch: all of them, or the scenes FIRST <= n < END, which as processes side by side take less time.

Without the reference implementation, so that little but the raymarcher's kernels runs. What comes out is raymarch_cuda_test.py's to judge.
"""

import itertools
import sys

import jax
import jax.numpy as jnp
from raymarch_cuda_test import SHAPES, held_in, make_prims, make_rays, make_warp, run

# Frames, height, width, half of a ray's length, primitives, half a primitive's side, density: samples by cell, lists without room, rays
# that end at once. Without room, step follows step: of longer rays racecheck takes minutes.
CROWDS = [(1, 30, 41, 1.7, 2500, 0.05, 6.0), (1, 9, 13, 0.2, 2500, 0.4, 0.02), (2, 30, 41, 1.7, 3000, 0.3, 60.0)]


def scenes():
    """Name, rays, primitives in float32 and the warp field of each."""
    for frames, views, height, width, primitives, side, warp_side in SHAPES:
        name = f"{frames} x {views} x {height} x {width}, {primitives} of {side}^3, warp {warp_side}"
        warp = make_warp(frames, primitives, warp_side) if warp_side else None
        yield name, make_rays(frames, views, height, width), make_prims(frames, primitives, side), warp
    for frames, height, width, reach, primitives, half, density in CROWDS:
        name = f"{frames} x 1 x {height} x {width}, {primitives} of 8^3, density {density:g}"
        rays = make_rays(frames, 1, height, width)
        middle = jnp.mean(rays.bounds, -1, keepdims=True)
        rays = rays._replace(bounds=jnp.concatenate([middle - reach, middle + reach], -1))
        yield name, rays, make_prims(frames, primitives, half=half, density=density), None


def main(first: int = 0, end: int | None = None) -> None:
    """Prints a line a scene."""
    for name, rays, prims, warp in itertools.islice(scenes(), first, end):
        for dtype in ("float32", "bfloat16"):
            jax.block_until_ready(run(rays, held_in(dtype, prims), warp=warp))
        print(name, flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
