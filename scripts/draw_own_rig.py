"""Draws the pictures of docs/guide/your_data.md: of a synthetic rig, of the same with K of smaller images, and of a neck that is grown.

ava synth --rig --out=rig && scripts/draw_own_rig.py rig
"""

import dataclasses
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

from ava_jax.captures.convert import neck, page, plan, review, texture
from ava_jax.captures.convert.request import Request
from ava_jax.core import zbuffer
from ava_jax.core.cameras import look_at
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Cameras
from ava_jax.synth.heads import geometry
from ava_jax.viz import sheet

IMAGES = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH = 1100  # pixels at most
CHIN = 0.88  # level of the synthetic head below which it is cut off, as tracked meshes are


def draw_pages(rig: pathlib.Path) -> None:
    request = Request(
        rig=rig,
        meshes=rig / "meshes",
        topology=rig / "topology.obj",
        template=rig / "topology.obj",
        scale=1000.0,
        texture_size=256,
        out=rig / "none",
        subject="SYN001",
    )
    made = plan.make(request)
    halved = tuple(dataclasses.replace(camera, k=np.diag([0.8, 0.8, 1]) @ camera.k) for camera in made.rig.cameras)
    wrong = dataclasses.replace(made, rig=dataclasses.replace(made.rig, cameras=halved))
    sized = {camera.name: with_k(made.targets[camera.name], camera) for camera in halved}
    with tempfile.TemporaryDirectory() as folder:
        for name, one in (("sound", made), ("wrong", dataclasses.replace(wrong, targets=sized))):
            page.write(pathlib.Path(folder) / name, one, [review.look(one, one.neutral)], [])
        frame = f"{made.neutral:06d}.jpg"
        for source, name in (
            ("sound/mesh_", "own_rig"),
            ("sound/texture_", "own_rig_texture"),
            ("sound/head_", "own_rig_axes"),
            ("wrong/mesh_", "own_rig_wrong"),
        ):
            picture = Image.open(pathlib.Path(folder) / f"{source}{frame}")
            width = min(picture.width, WIDTH)
            picture = picture.resize((width, picture.height * width // picture.width), Image.Resampling.LANCZOS)
            picture.save(IMAGES / f"{name}.jpg", quality=82)


def with_k(target, camera):
    return target._replace(k=camera.k)


def draw_neck() -> None:
    plain = geometry.Identity(0, dict.fromkeys(geometry.SHAPE, 0.0), {})
    vertices = geometry.shape(plain, geometry.Expression(), np.zeros(len(geometry.topology().uvs)))
    whole, level = geometry.topology(), geometry.vertex_surface().level
    kept = (level[whole.faces] < CHIN).all(1)
    cut = Topology(whole.faces[kept], whole.face_uvs[kept], whole.uvs)
    grown = neck.grow(cut, vertices, 60.0)
    print(f"{grown.edges} edges, {grown.added} vertices more; {grown.room}")
    ways = (("front", (0.0, 0.0, 1.0)), ("three quarters", (0.7, 0.1, 0.7)), ("side", (1.0, 0.0, 0.0)))
    strips = []
    for title, topology, points in (("before", cut, vertices), ("after --neck=60", grown.topology, grown.extend(vertices))):
        strips.append(sheet.Strip(title, tuple((words, shaded(points, topology.faces, way)) for words, way in ways)))
    sheet.save(sheet.compose(strips, 1, 300), IMAGES / "own_rig_neck.jpg")


def shaded(points: np.ndarray, faces: np.ndarray, way: tuple[float, float, float]) -> np.ndarray:
    side, position = 300, np.array(way) / np.linalg.norm(way) * 5000 - [0, 25, 0]
    camera = Cameras(look_at(position, (0, -25, 0), (0, 1, 0)), position, np.full(2, side * 5000 / 340), np.full(2, (side - 1) / 2))
    triangle, weights = zbuffer.rasterize(zbuffer.project(points, camera), faces, side, side)
    normals = (texture.vertex_normals(points, faces)[faces[triangle]] * weights[..., None]).sum(-2)
    light = np.clip(normals @ (position / 5000 + (0.2, 0.5, 0.2)) / 1.3, 0.05, 1)
    return np.where((triangle >= 0)[..., None], light[..., None] * (225, 215, 205), (30, 31, 36)).astype(np.uint8)


if __name__ == "__main__":
    draw_pages(pathlib.Path(sys.argv[1]))
    draw_neck()
