"""Times the rasteriser on the head: forward, forward and backward, with outlines, and its parts.

  python scripts/bench_rasterize.py --golden=DIR [--views=1] [--downsample=2] [--repeats=30]

DIR holds `bench_cameras.npz`; the folder beside it, `assets`, the head's mesh. A line a pass: the least of the repetitions, wall time and
the processor time of all threads (which other work on the machine disturbs less).
"""

import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import parity_rasterize
from absl import app, flags

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of bench_cameras.npz.", required=True)
_ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924.bin and face_topology.obj; by default the one beside --golden.")
_VIEWS = flags.DEFINE_integer("views", 1, "Images; the four cameras in turn.", lower_bound=1)
_DOWNSAMPLE = flags.DEFINE_float("downsample", 2.0, "1 is 1024 x 667, 2 is 512 x 333, 0.5 is 2048 x 1334.")
_REPEATS = flags.DEFINE_integer("repeats", 30, "Repetitions a pass.", lower_bound=1)
_COMMON = flags.DEFINE_bool("common_texture", False, "One texture for all images, instead of one each.")
_IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "jax"; by default the best there is.')


def least(run, *arguments) -> str:
    jax.block_until_ready(run(*arguments))
    walls, processors = [], []
    for _ in range(_REPEATS.value):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(run(*arguments))
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return f"{1e3 * min(walls):8.2f} ms, processor {1e3 * min(processors):8.2f} ms"


def main(_) -> None:
    golden = pathlib.Path(_GOLDEN.value)
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    data, views = np.load(golden / "bench_cameras.npz"), _VIEWS.value
    at, scale = np.arange(views) % 4, np.float32(1 / _DOWNSAMPLE.value)
    cameras = Cameras(data["camrot"][at], data["campos"][at], data["focal"][at] * scale, data["princpt"][at] * scale)
    height, width = (int(x * scale) for x in data["image_hw"])
    faces, uv_faces, uvs = parity_rasterize.read_topology(assets / "face_topology.obj")
    edges = mesh.mesh_edges(faces)
    points = jnp.asarray(np.broadcast_to(np.fromfile(assets / "021924.bin", np.float32).reshape(1, -1, 3), (views, 7306, 3)))
    rng = np.random.default_rng(0)
    side = (1024, 1024, 3) if _COMMON.value else (views, 1024, 1024, 3)
    texture = jnp.asarray(rng.random(side, np.float32))
    cotangent = jnp.asarray(rng.standard_normal((views, height, width, 3), np.float32))
    chosen = {"implementation": _IMPLEMENTATION.value}

    def render(points, texture, outlines=False):
        drawn = mesh.render_mesh(
            points, faces, cameras, height, width, texture=texture, uvs=uvs, uv_faces=uv_faces, edges=edges if outlines else None,
            outputs=("colour",), near=1.0, **chosen,
        )  # fmt: skip
        return drawn.colour

    def backward(outlines):
        def run(points, texture, cotangent):
            colour, transpose = jax.vjp(lambda p, t: render(p, t, outlines), points, texture)
            return colour, *transpose(cotangent)

        return jax.jit(run)

    print(f"{jax.default_backend()}, {jax.devices()[0].device_kind}: {views} x {height} x {width}, {len(faces)} triangles")
    vertices = jax.jit(mesh.project)(points, cameras)
    print("rasterize                    ", least(jax.jit(lambda v: mesh.rasterize(v, faces, height, width, near=1.0, **chosen)), vertices))
    print("forward                      ", least(jax.jit(render), points, texture))
    print("forward + backward           ", least(backward(False), points, texture, cotangent))
    print("forward + backward, outlines ", least(backward(True), points, texture, cotangent))


if __name__ == "__main__":
    app.run(main)
