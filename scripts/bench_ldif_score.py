"""Seconds of a core that the scores of one mesh take: points of both, nearest neighbours, everything; and the surface before, by grid.

  OMP_NUM_THREADS=1 python scripts/bench_ldif_score.py
  OMP_NUM_THREADS=1 python scripts/bench_ldif_score.py --shape=test-ldif.txt --decoder=extracted.occnet --resolution=256

Surfaces near each other, as after training, and a sphere in place of the shape, which trees are slowest for. Without --shape: a procedural
chair, and the same moved by noise.
"""

import pathlib
import time

import numpy as np
from absl import app, flags

from ava_jax.tasks.ldif import shapes
from ava_jax.tasks.ldif.apps import shape, surface
from ava_jax.tasks.ldif.evaluation import surfaces

_SHAPE = flags.DEFINE_string("shape", None, "Elements, .txt.")
_DECODER = flags.DEFINE_string("decoder", None, "Their decoder, .occnet.")
_RESOLUTION = flags.DEFINE_integer("resolution", 256, "Of the grid.")
_REPEAT = flags.DEFINE_integer("repeat", 3, "The least of so many is told.")


def timed(name, function, repeat=None):
    least = np.inf
    for _ in range(repeat or _REPEAT.value):
        start = time.process_time()
        found = function()
        least = min(least, time.process_time() - start)
    print(f"{name:40}{least:8.3f} s")
    return found


def main(_):
    if _SHAPE.value:
        one = shape.read(pathlib.Path(_SHAPE.value), pathlib.Path(_DECODER.value) if _DECODER.value else None, cut=bool(_DECODER.value))
        surface.extract(one, _RESOLUTION.value)  # compiles
        true = timed(f"surface, {_RESOLUTION.value} points per side", lambda: surface.extract(one, _RESOLUTION.value), 1)[:2]
    else:
        mesh = shapes.shape("chair", np.random.default_rng(0))
        true = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    near = true[0] + 2e-3 * np.random.default_rng(0).standard_normal(true[0].shape), true[1]
    sphere = surface.mesh_of(np.zeros((2, 2, 2), np.float32), np.array([-0.5, 0.5], np.float32))[:2]
    timed("points of one mesh", lambda: surfaces.sample(*true, seed=0))
    for name, found in (("near", near), ("a sphere", sphere)):
        scores = timed(f"all scores, {name}", lambda found=found: surfaces.of_meshes(found, true))
        print("   ", ", ".join(f"{field} {value:.4g}" for field, value in scores._asdict().items()))


if __name__ == "__main__":
    app.run(main)
