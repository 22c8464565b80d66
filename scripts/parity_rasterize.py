"""Scenes of rasterised meshes in a folder of golden vectors against `ops.mesh` on the platform at hand.

`python scripts/parity_rasterize.py --golden=DIR [--assets=DIR]` prints a line an array and exits 1 when one is off; `rows` does the same
for `scripts/parity.py`. Bounds are the errors of float32 that the vectors' own notes state.
"""

import pathlib
import sys
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from parity_row import Row

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh

SMALL_DEPTH, SMALL_WEIGHT, PERSPECTIVE = 8e-7, 2e-7, 10.0  # the scene "perspective" has PERSPECTIVE times these
SMALL_IMAGE, SMALL_GRADIENT = 1e-6, 1e-6
HEAD_PIXELS = 1  # that may see another triangle, where the vectors say that it is ambiguous
HEAD_DEPTH, HEAD_WEIGHT, HEAD_UV, HEAD_IMAGE = 3e-6, 7e-4, 8e-6, 1.2e-5
HEAD_VERTEX_L2, HEAD_VERTEX, HEAD_TEXTURE_L2, HEAD_TEXTURE = 3.7e-3, 9e-3, 6e-5, 8e-4
OUTLINE_BOUND = 0.05  # of the gradient's norm, smooth cotangent


def rows(golden: pathlib.Path | str, assets: pathlib.Path | str | None = None, implementation: str | None = None) -> Iterator[Row]:
    """Compares every scene. `assets` holds the head's mesh and topology; by default the folder beside `golden`."""
    golden = pathlib.Path(golden)
    assets = pathlib.Path(assets) if assets else golden.parent / "assets"
    small = np.load(golden / "raster_small.npz")
    for scene in small["names"]:
        yield from small_rows(small, scene, implementation)
    yield from head_rows(np.load(golden / "raster_head.npz"), assets, implementation)
    for scene in ("triangle", "sphere"):
        yield from outline_rows(np.load(golden / "silhouette.npz"), scene, implementation)


def small_rows(data, scene: str, implementation: str | None, skip_rule: bool = False) -> Iterator[Row]:
    """`skip_rule`: leaves out pixels that depend on the rule of edges, or of equal depth."""
    height, width = (int(x) for x in data["image_hw"])
    get = lambda name: data[f"{scene}.{name}"]  # noqa: E731
    faces, values = get("faces"), jnp.asarray(get("attr"), jnp.float32)
    principal = jnp.asarray(data["princpt"], jnp.float32)

    def run(v_cam):
        vertices = jnp.concatenate([float(data["focal"]) * v_cam[:, :2] + principal * v_cam[:, 2:], v_cam[:, 2:]], -1)[None]
        fragments = mesh.rasterize(vertices, faces, height, width, near=float(data["near"]), implementation=implementation)
        image = mesh.interpolate(values, faces, fragments, implementation=implementation)
        return jnp.sum(image[0] * jnp.moveaxis(get("cotangent"), 0, -1)), (image, fragments)

    (_, (image, fragments)), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(jnp.asarray(get("v_cam"), jnp.float32))
    wrong = np.asarray(fragments.index[0]) != get("index")
    counted = wrong & ~get("rule") if skip_rule else wrong
    yield Row(f"{scene} index", float(counted.sum()), 1.0, 0.0, not counted.any())
    factor = PERSPECTIVE if scene == "perspective" else 1.0
    for name, ours, expected, bound in (
        ("depth", fragments.depth[0], get("depth"), SMALL_DEPTH * factor),
        ("barycentrics", fragments.barycentrics[0], np.moveaxis(get("bary"), 0, -1), SMALL_WEIGHT * factor),
        ("image", image[0], np.moveaxis(get("attr_img"), 0, -1), SMALL_IMAGE),
    ):
        yield _absolute_row(f"{scene} {name}", ours, expected, bound, ~wrong)
    if not wrong.any():
        yield _relative_row(f"{scene} d_vertices", gradient, get("grad_v_cam"), SMALL_GRADIENT)


def read_topology(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces [T, 3], faces of the chart [T, 3] and its uvs [A, 2] of an OBJ file, in the order of its lines."""
    uvs, faces, uv_faces = [], [], []
    for line in path.read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "vt":
            uvs.append([float(x) for x in words[:2]])
        elif kind == "f":
            corners = [word.split("/") for word in words]
            faces.append([int(c[0]) - 1 for c in corners])
            uv_faces.append([int(c[1]) - 1 for c in corners])
    return np.asarray(faces, np.int32), np.asarray(uv_faces, np.int32), np.asarray(uvs, np.float32)


def head_rows(data, assets: pathlib.Path, implementation: str | None) -> Iterator[Row]:
    height, width = (int(x) for x in data["image_hw"])
    points = np.fromfile(assets / "021924.bin", np.float32).reshape(-1, 3)
    faces, uv_faces, uvs = read_topology(assets / "face_topology.obj")
    views = len(data["campos"])
    cameras = Cameras(data["camrot"], data["campos"], data["focal"].astype(np.float32), (data["princpt"] - 0.5).astype(np.float32))
    texture = jnp.asarray(np.moveaxis(data["texture"], 0, -1) / 255.0, jnp.float32)
    cotangent = np.random.default_rng(int(data["seed"])).standard_normal((views, 3, height, width), dtype=np.float32)

    def run(points, texture):
        chosen = {"implementation": implementation}
        fragments = mesh.rasterize(mesh.project(points, cameras), faces, height, width, near=1.0, **chosen)
        uv = mesh.interpolate(uvs, uv_faces, fragments, **chosen)
        image = mesh.sample_texture(texture, uv, where=fragments.index >= 0, **chosen)
        return jnp.sum(image * jnp.moveaxis(cotangent, 1, -1)), (fragments, uv, image)

    every = jnp.asarray(np.broadcast_to(points, (views, *points.shape)))
    (_, (fragments, uv, image)), (d_points, d_texture) = jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))(every, texture)
    wrong = np.asarray(fragments.index) != data["index"]
    yield Row("head index", float(wrong.sum()), 1.0, HEAD_PIXELS, wrong.sum() <= HEAD_PIXELS and not (wrong & ~data["ambiguous"]).any())
    scale = np.maximum(data["depth"], 1.0)
    yield _absolute_row("head depth", fragments.depth / scale, data["depth"] / scale, HEAD_DEPTH, ~wrong)
    for name, ours, expected, bound in (
        ("barycentrics", fragments.barycentrics[..., :2], data["bary"], HEAD_WEIGHT),
        ("uv", uv, data["uv"], HEAD_UV),
        ("image", image, data["image"], HEAD_IMAGE),
    ):
        yield _absolute_row(f"head {name}", ours, np.moveaxis(expected, 1, -1), bound, ~wrong)
    for i in range(views):
        yield _norm_row(f"head d_vertices {i} L2", d_points[i], data["grad_vertices"][i], HEAD_VERTEX_L2)
        yield _relative_row(f"head d_vertices {i}", d_points[i], data["grad_vertices"][i], HEAD_VERTEX)
    expected = np.moveaxis(data["grad_texture"], 0, -1)
    yield _norm_row("head d_texture L2", d_texture, expected, HEAD_TEXTURE_L2)
    yield _relative_row("head d_texture", d_texture, expected, HEAD_TEXTURE)


def outline_gradients(data, scene: str, cotangents: list[np.ndarray], implementation: str | None) -> list[np.ndarray]:
    """Gradient [6] of sum(image * cotangent [3, H, W]) by the six parameters of a scene, for each cotangent."""
    height, width = (int(x) for x in data["image_hw"])
    faces = data[f"{scene}.faces"].astype(np.int32)
    edges = mesh.mesh_edges(faces)
    colours, given, centre = (jnp.asarray(data[f"{scene}.{name}"], jnp.float32) for name in ("colour", "vertices", "centre"))
    background, principal = (jnp.asarray(data[name], jnp.float32) for name in ("background", "princpt"))
    focal = jnp.full((1, 2), float(data["focal"]), jnp.float32)
    cameras = Cameras(jnp.eye(3)[None], jnp.zeros((1, 3)), focal, principal[None])

    def loss(p, cotangent):
        # Rx(rx) Ry(ry) v, written out.
        cx, sx, cy, sy = jnp.cos(p[3]), jnp.sin(p[3]), jnp.cos(p[4]), jnp.sin(p[4])
        x, y, z = given.T
        x, z = cy * x + sy * z, cy * z - sy * x
        y, z = cx * y - sx * z, sx * y + cx * z
        points = centre + p[:3] + p[5] * jnp.stack([x, y, z], -1)
        drawn = mesh.render_mesh(
            points[None], faces, cameras, height, width, colours=colours, background=background, edges=edges, near=0.1,
            outputs=("colour",), implementation=implementation,
        )  # fmt: skip
        return jnp.sum(drawn.colour[0] * jnp.moveaxis(cotangent, 0, -1))

    gradient, start = jax.jit(jax.grad(loss)), jnp.asarray([0.0, 0, 0, 0, 0, 1], jnp.float32)
    return [np.asarray(gradient(start, jnp.asarray(cotangent, jnp.float32))) for cotangent in cotangents]


def outline_rows(data, scene: str, implementation: str | None) -> Iterator[Row]:
    (ours,) = outline_gradients(data, scene, [data["cotangent_smooth"]], implementation)
    yield _norm_row(f"outline of {scene}", ours, data[f"{scene}.grad_smooth"], OUTLINE_BOUND)


def _absolute_row(name: str, ours, expected, bound: float, where) -> Row:
    error = float(np.abs(np.asarray(ours) - expected)[where].max(initial=0.0))
    return Row(name, error, 1.0, bound, error <= bound)


def _relative_row(name: str, ours, expected, bound: float) -> Row:
    error, scale = float(np.abs(np.asarray(ours) - expected).max()), float(np.abs(expected).max())
    return Row(name, error, scale, bound, error <= bound * scale)


def _norm_row(name: str, ours, expected, bound: float) -> Row:
    error, scale = float(np.linalg.norm(np.asarray(ours) - expected)), float(np.linalg.norm(expected))
    return Row(name, error, scale, bound, error <= bound * scale)


def main(argv):
    del argv
    off = 0
    for row in rows(_GOLDEN.value, _ASSETS.value, _IMPLEMENTATION.value):
        relative, verdict = row.max_error / row.scale if row.scale else row.max_error, "ok" if row.ok else "OFF"
        print(f"{row.name:28} error {row.max_error:9.2e} of {row.scale:9.2e} = {relative:8.1e} (<= {row.bound:g}) {verdict}")
        off += not row.ok
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    _GOLDEN = flags.DEFINE_string("golden", None, "Folder of the golden vectors.", required=True)
    _ASSETS = flags.DEFINE_string("assets", None, "Folder of 021924.bin and face_topology.obj; by default the one beside --golden.")
    _IMPLEMENTATION = flags.DEFINE_string("implementation", None, '"native" or "jax"; by default the best there is.')
    app.run(main)
