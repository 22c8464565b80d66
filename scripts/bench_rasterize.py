"""Times the rasteriser on the head: forward, forward and backward, with outlines, and its parts; or how its cost grows.

  python scripts/bench_rasterize.py --golden=DIR [--views=1] [--downsample=2] [--repeats=30]
  python scripts/bench_rasterize.py --golden=DIR --table [--json=FILE]
  python scripts/bench_rasterize.py --growth [--json=FILE]

DIR holds `bench_cameras.npz`; the folder beside it, `assets`, the head's mesh. A line a pass. On a CPU the least of the repetitions, wall
time and the processor time of all threads (which other work on the machine disturbs less). On a GPU the time of a call among --repeats
that follow each other, the least of five such rows: what a host asks for in between does not wait for the device. --table: 1, 4 and 16
views at each of three sizes, a line a scene.

--growth needs no data: sheets of triangles behind one another, each as large as the picture, drawn in any order and textured. Scenes differ
from the usual one (512 x 512 pixels, 16,384 triangles, one sheet) in one size at a time. With --json, a chart for chart.py: of processor
time on a CPU, of wall time on a GPU.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import parity_rasterize
from absl import app, flags

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh, native

_GOLDEN = flags.DEFINE_string("golden", None, "Folder of bench_cameras.npz; --growth needs none.")
_ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924.bin and face_topology.obj; by default the one beside --golden.")
_VIEWS = flags.DEFINE_integer("views", 1, "Images; the four cameras in turn.", lower_bound=1)
_DOWNSAMPLE = flags.DEFINE_float("downsample", 2.0, "1 is 1024 x 667, 2 is 512 x 333, 0.5 is 2048 x 1334.")
_REPEATS = flags.DEFINE_integer("repeats", 30, "Repetitions a pass.", lower_bound=1)
_COMMON = flags.DEFINE_bool("common_texture", False, "One texture for all images, instead of one each.")
_IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "jax"; by default the best there is.')
_TABLE = flags.DEFINE_bool("table", False, "All scenes instead of one and its parts.")
_GROWTH = flags.DEFINE_bool("growth", False, "Scenes that differ in one size at a time.")
_JSON = flags.DEFINE_string("json", None, "File for what --table or --growth measures, in ms.")
_CHAIN = ("rasterize", "forward", "forward + backward", "forward + backward, outlines")
_USUAL = {"pixels": 512, "triangles": 16384, "layers": 1}
_SIZES = {"pixels": (128, 256, 512, 1024), "triangles": (1024, 16384, 262144), "layers": (1, 4, 16)}


def timed(run, *arguments) -> tuple[float, float]:
    """Wall and processor time, ms."""
    jax.block_until_ready(run(*arguments))
    if jax.default_backend() != "cpu":
        rows = []
        for _ in range(5):
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(_REPEATS.value):
                out = run(*arguments)
            jax.block_until_ready(out)
            rows.append([1e3 * (t - t0) / _REPEATS.value for t, t0 in ((time.perf_counter(), wall), (time.process_time(), processor))])
        return tuple(np.min(rows, 0))
    walls, processors = [], []
    for _ in range(_REPEATS.value):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(run(*arguments))
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return 1e3 * min(walls), 1e3 * min(processors)


class Scene:
    """A mesh before its cameras; `passes` are what is timed: name -> jitted function and its arguments."""

    def __init__(self, points, faces, cameras: Cameras, size: tuple[int, int], texture, uvs, uv_faces=None, near: float = 1.0):
        self.points, self.faces, self.cameras, self.texture, self.uvs = jnp.asarray(points), faces, cameras, jnp.asarray(texture), uvs
        self.height, self.width = size
        self.uv_faces, self.near, self.edges = faces if uv_faces is None else uv_faces, near, mesh.mesh_edges(faces)
        rng = np.random.default_rng(1)
        self.cotangent = jnp.asarray(rng.standard_normal((len(points), *size, 3), np.float32))
        self.chosen = {"implementation": _IMPLEMENTATION.value}
        self.name = f"{len(points)} x {self.height} x {self.width}"

    def rasterize(self, vertices):
        return mesh.rasterize(vertices, self.faces, self.height, self.width, near=self.near, **self.chosen)

    def render(self, points, texture, outlines=False):
        drawn = mesh.render_mesh(
            points, self.faces, self.cameras, self.height, self.width, texture=texture, uvs=self.uvs, uv_faces=self.uv_faces,
            edges=self.edges if outlines else None, outputs=("colour",), near=self.near, **self.chosen,
        )  # fmt: skip
        return drawn.colour

    def _both(self, outlines):
        def run(points, texture, cotangent):
            colour, transpose = jax.vjp(lambda p, t: self.render(p, t, outlines), points, texture)
            return colour, *transpose(cotangent)

        return run

    def chain(self) -> dict:
        """The whole passes."""
        vertices = jax.jit(mesh.project)(self.points, self.cameras)
        both = self.points, self.texture, self.cotangent
        runs = (self.rasterize, vertices), (self.render, *both[:2]), (self._both(False), *both), (self._both(True), *both)
        return {name: (jax.jit(run), arguments) for name, (run, *arguments) in zip(_CHAIN, runs)}

    def parts(self) -> dict:
        """One operation each, forward or its gradient alone."""
        vertices = jax.jit(mesh.project)(self.points, self.cameras)
        seen = jax.jit(self.rasterize)(vertices)
        find = lambda v: mesh.find_outlines(v, self.faces, self.edges, seen, near=self.near, **self.chosen)  # noqa: E731
        chart = lambda b: mesh.interpolate(self.uvs, self.uv_faces, seen._replace(barycentrics=b), **self.chosen)  # noqa: E731
        read = lambda t, uv: mesh.sample_texture(t, uv, where=seen.index >= 0, **self.chosen)  # noqa: E731
        marks, uv = jax.jit(find)(vertices), jax.jit(chart)(seen.barycentrics)
        moved = lambda v: mesh.with_outlines(image, v, self.faces, self.edges, seen, marks, near=self.near, **self.chosen)  # noqa: E731
        image, none = jax.jit(read)(self.texture, uv), np.zeros(seen.index.shape, jax.dtypes.float0)

        def gradient(f):
            return jax.jit(lambda x, g: jax.vjp(f, x)[1](g)[0])

        of_seen = lambda v, g: jax.vjp(self.rasterize, v)[1](mesh.Fragments(none, *g))[0]  # noqa: E731
        return {
            "rasterize + its gradient": (jax.jit(of_seen), (vertices, tuple(seen[1:]))),
            "find_outlines": (jax.jit(find), (vertices,)),
            "interpolate": (jax.jit(chart), (seen.barycentrics,)),
            "interpolate, by barycentrics": (gradient(chart), (seen.barycentrics, uv)),
            "sample_texture": (jax.jit(read), (self.texture, uv)),
            "sample_texture, by texels": (gradient(lambda t: read(t, uv)), (self.texture, self.cotangent)),
            "sample_texture, by coordinates": (gradient(lambda u: read(self.texture, u)), (uv, self.cotangent)),
            "with_outlines, its gradient": (gradient(moved), (vertices, self.cotangent)),
        }


def head(views: int, downsample: float) -> Scene:
    """The head from the four cameras in turn."""
    golden = pathlib.Path(_GOLDEN.value)
    assets = pathlib.Path(_ASSETS.value) if _ASSETS.value else golden.parent / "assets"
    data, at, scale = np.load(golden / "bench_cameras.npz"), np.arange(views) % 4, np.float32(1 / downsample)
    cameras = Cameras(data["camrot"][at], data["campos"][at], data["focal"][at] * scale, data["princpt"][at] * scale)
    faces, uv_faces, uvs = parity_rasterize.read_topology(assets / "face_topology.obj")
    points = np.fromfile(assets / "021924.bin", np.float32).reshape(1, -1, 3)
    side = (1024, 1024, 3) if _COMMON.value else (views, 1024, 1024, 3)
    texture = np.random.default_rng(0).random(side, np.float32)
    size = tuple(int(x * scale) for x in data["image_hw"])
    return Scene(np.broadcast_to(points, (views, *points.shape[1:])), faces, cameras, size, texture, uvs, uv_faces)


def sheets(pixels: int, triangles: int, layers: int) -> Scene:
    """`layers` sheets of `triangles` in all before a picture of `pixels` a side, each further away by a tenth of the first one's depth."""
    rng, side = np.random.default_rng(0), max(1, round((triangles / layers / 2) ** 0.5))
    y, x = np.meshgrid(*[np.linspace(-1, 1, side + 1)] * 2, indexing="ij")
    depth = np.repeat(1 + 0.1 * np.arange(layers), x.size)[:, None]
    flat = np.tile(np.stack([x, y], -1).reshape(-1, 2), (layers, 1))
    points = np.concatenate([flat * depth, depth], -1)[None].astype(np.float32)  # as large in the picture as the first
    corner = np.arange(layers * x.size, dtype=np.int32).reshape(layers, *x.shape)
    a, b, c, d = corner[:, :-1, :-1], corner[:, :-1, 1:], corner[:, 1:, :-1], corner[:, 1:, 1:]
    faces = np.concatenate([np.stack(three, -1).reshape(-1, 3) for three in ((a, b, d), (a, d, c))])
    one, centre = np.ones((1, 2), np.float32), np.float32((pixels - 1) / 2)
    cameras = Cameras(np.eye(3, dtype=np.float32)[None], np.zeros((1, 3), np.float32), one * np.float32(0.4995 * pixels), one * centre)
    uvs, texture = ((flat + 1) / 2).astype(np.float32), rng.random((512, 512, 3), np.float32)
    return Scene(points, rng.permutation(faces), cameras, (pixels, pixels), texture, uvs, near=0.1)


def growth() -> None:
    """Prints every scene's passes, and writes a chart, anew whenever a panel is complete."""
    panels, on_cpu, known = [], jax.default_backend() == "cpu", {}
    for name, sizes in _SIZES.items():
        for size in sizes:
            scene = tuple((_USUAL | {name: size}).items())
            if scene not in known:
                known[scene] = time_passes(sheets(**dict(scene)), f"{name} {size}")
        of = [known[tuple((_USUAL | {name: size}).items())] for size in sizes]
        x = [size**2 for size in sizes] if name == "pixels" else list(sizes)
        series = [{"name": one, "x": x, "y": [round(passes[one][on_cpu], 4) for passes in of]} for one in _CHAIN]
        law = [series[0]["y"][-1] * at / x[-1] for at in x]
        series.append({"name": "proportional", "x": x, "y": law, "dashed": True})
        if name != "layers":  # names fit into one panel alone
            series = [{key: value for key, value in one.items() if key != "name"} for one in series]
        panels.append({"x": name, "y": "processor ms" if on_cpu else "ms", "log_x": True, "log_y": True, "series": series})
        if _JSON.value:
            chart = {"title": "Rasteriser, milliseconds per call", "note": origin(), "panels": panels}
            pathlib.Path(_JSON.value).write_text(json.dumps(chart, indent=1) + "\n")


def time_passes(scene: Scene, name: str) -> dict[str, tuple[float, float]]:
    """Wall and processor time, ms, of each pass of the chain; printed too."""
    print(f"{name}: {scene.height} x {scene.width}, {len(scene.faces)} triangles")
    times = {}
    for one, (run, arguments) in scene.chain().items():
        times[one] = timed(run, *arguments)
        print(f"  {one:30}{times[one][0]:9.3f} ms, processor {times[one][1]:9.3f} ms", flush=True)
    return times


def origin() -> str:
    """What the figures belong to."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
    device = jax.devices()[0].device_kind
    if jax.default_backend() == "cpu":
        device += f", {len(os.sched_getaffinity(0))} processors, {native.instruction_set() if native.BUILT else 'no compiled calls'}"
    return f"scripts/bench_rasterize.py --growth: {device}, jax {jax.__version__}, {commit.stdout.strip()}; least of {_REPEATS.value}"


def table() -> None:
    """A line a scene; without processor times."""
    measured = {}
    print(f"{'':18}" + "".join(f"{name:>30}" for name in _CHAIN))
    for downsample in (2.0, 1.0, 0.5):
        for views in (1, 4, 16):
            scene = head(views, downsample)
            measured[scene.name] = {name: timed(run, *arguments)[0] for name, (run, arguments) in scene.chain().items()}
            print(f"{scene.name:18}" + "".join(f"{ms:27.3f} ms" for ms in measured[scene.name].values()), flush=True)
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps({"device": jax.devices()[0].device_kind, "ms": measured}, indent=1))


def main(_) -> None:
    compiled = "compiled calls" if native.serves_meshes() else "plain JAX but for rasterize" if native.rasterizes() else "plain JAX"
    print(f"{jax.default_backend()}, {jax.devices()[0].device_kind}, {compiled}")
    if _GROWTH.value:
        return growth()
    if not _GOLDEN.value or not (pathlib.Path(_GOLDEN.value) / "bench_cameras.npz").is_file():
        sys.exit("bench_rasterize.py: --golden must name the folder of bench_cameras.npz, the assets folder beside it; or give --growth.")
    if _TABLE.value:
        return table()
    scene = head(_VIEWS.value, _DOWNSAMPLE.value)
    print(f"{scene.name}, {len(scene.faces)} triangles")
    for name, (run, arguments) in (scene.chain() | scene.parts()).items():
        wall, processor = timed(run, *arguments)
        print(f"{name:32}{wall:9.3f} ms, processor {processor:9.3f} ms", flush=True)


if __name__ == "__main__":
    app.run(main)
