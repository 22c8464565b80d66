"""`python tests/ops/raymarch_cuda_scenes.py` runs the CUDA raymarcher on small scenes, forward and backward, for compute-sanitizer to watch.

No twin, so that little but the raymarcher's kernels runs. What comes out is raymarch_cuda_test.py's to judge.
"""

import jax
from raymarch_cuda_test import SHAPES, held_in, make_prims, make_rays, make_warp, run

# Frames, primitives, half a primitive's side, density: samples by cell, long rays, lists without room, rays that end at once.
CROWDS = [(1, 2500, 0.05, 6.0), (1, 2500, 0.4, 0.02), (2, 3000, 0.3, 60.0)]


def main() -> None:
    """Prints a line a scene."""
    for frames, views, height, width, primitives, side, warp_side in SHAPES:
        warp = make_warp(frames, primitives, warp_side) if warp_side else None
        for dtype in ("float32", "bfloat16"):
            prims = held_in(dtype, make_prims(frames, primitives, side))
            jax.block_until_ready(run(make_rays(frames, views, height, width), prims, warp=warp))
        print(f"{frames} x {views} x {height} x {width}, {primitives} of {side}^3, warp {warp_side}", flush=True)
    for frames, primitives, half, density in CROWDS:
        prims = make_prims(frames, primitives, half=half, density=density)
        for dtype in ("float32", "bfloat16"):
            jax.block_until_ready(run(make_rays(frames, 1, 30, 41), held_in(dtype, prims)))
        print(f"{frames} x 1 x 30 x 41, {primitives} of 8^3, density {density:g}", flush=True)


if __name__ == "__main__":
    main()
