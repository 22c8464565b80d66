"""Draws the picture of docs/guide/ldif.md: four procedural shapes of each class, as `ava ldif synthesize` makes them.

python scripts/draw_ldif_shapes.py
"""

import pathlib

import numpy as np
from PIL import Image

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh as ops
from ava_jax.tasks.ldif import shapes
from ava_jax.tasks.ldif.data import meshes, views

OUT = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images" / "ldif_shapes.jpg"
TILE, FINER, EACH = 200, 3, 4  # pixels; samples per pixel and side; shapes of a class


def tile(mesh: meshes.Mesh) -> np.ndarray:
    """One shape from the front, above and the side, u8 [TILE, TILE, 3]."""
    from_, side = np.array([1.15, 0.75, 0.95]) * 0.97, TILE * FINER
    forward = -from_ / np.linalg.norm(from_)
    up = np.array([0.0, 1.0, 0.0]) - forward[1] * forward
    up /= np.linalg.norm(up)
    rotation = np.stack([np.cross(forward, up), -up, forward])
    focal, middle = side / 2 / np.tan(0.42), (side - 1) / 2
    camera = Cameras(*(np.float32(part)[None] for part in (rotation, from_, [focal, focal], [middle, middle])))
    seen = ops.rasterize(ops.project(np.float32(mesh.vertices)[None], camera), mesh.faces.astype(np.int32), side, side)
    index = np.asarray(seen.index[0])
    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    shaded = views.shade(normal[np.maximum(index, 0)] @ rotation.T * [1, -1, -1], index >= 0)
    return np.asarray(Image.fromarray(shaded).resize((TILE, TILE), Image.Resampling.BOX))


def main() -> None:
    columns = []
    for number, kind in enumerate(shapes.CLASSES):
        column = []
        for at in range(EACH):
            found = shapes.shape(kind, np.random.default_rng([0, number, at]))
            mesh = meshes.Mesh(np.asarray(found.vertices), np.asarray(found.faces), False)
            column.append(tile(meshes.moved(mesh, meshes.normalization(mesh))))
        columns.append(np.concatenate(column))
    Image.fromarray(np.concatenate(columns, axis=1)).save(OUT, quality=88)
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
