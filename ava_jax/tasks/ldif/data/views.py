"""The twenty depth images of a shape, as the published data have them, and points of its surface that they see.

Cameras stand at a dodecahedron's corners and look at its middle; half the field of view is 0.5 radians, images are 224 x 224.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from ava_jax.core.types import Cameras
from ava_jax.tasks.ldif.data.meshes import Mesh

SIDE = 224
VIEWS = 20
DEPTH_STEPS = 1000  # per unit: depths are whole numbers of them
PICTURE_SIDE = 137  # of the image that networks see
_LAMP = np.array([-0.36, 0.60, 0.71])  # where it stands, in the camera's frame
_CLAY = np.array([0.92, 0.84, 0.76])
_FOCAL = SIDE / 2 / math.tan(0.5)


class Views(NamedTuple):
    """What twenty cameras see.

    Attributes:
      depth: f32 [20, 224, 224], along the camera's axis, cut to whole thousandths; 0 where there is nothing.
      normals: f32 [20, 224, 224, 3], unit vectors towards the camera, in its frame: x right, y up, z backward; 0 where there is nothing.
    """

    depth: np.ndarray
    normals: np.ndarray


@functools.cache
def cameras() -> Cameras:
    """The cameras, leading axis 20, in the published order: x right, y down, z forward, whole numbers are pixel centres."""
    a, b, c = 0.6, 0.97082, 0.37082
    signs = [(i, j) for i in (1, -1) for j in (1, -1)]
    places = [(a * i, a * j, a * k) for i in (1, -1) for j, k in signs]
    places += [(0, b * i, c * j) for i, j in signs] + [(c * i, 0, b * j) for i, j in signs] + [(b * i, c * j, 0) for i, j in signs]
    position = np.array(places)
    forward = -position / np.linalg.norm(position, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0]) - forward[:, 1:2] * forward
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    rotation = np.stack([np.cross(forward, up), -up, forward], axis=1)
    middle = np.full((VIEWS, 2), (SIDE - 1) / 2, np.float32)
    return Cameras(rotation.astype(np.float32), position.astype(np.float32), np.full((VIEWS, 2), _FOCAL, np.float32), middle)


def draw(mesh: Mesh) -> Views:
    """Depths and normals of a mesh in the published place and size. Of a face that is seen from behind, the normal is turned."""
    from ava_jax.ops import mesh as ops

    corners = mesh.vertices[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    depth, normals = np.zeros((VIEWS, SIDE, SIDE), np.float32), np.zeros((VIEWS, SIDE, SIDE, 3), np.float32)
    every = cameras()
    for view in range(VIEWS):  # one by one: memory for one picture, one compiled program for all
        one = Cameras(*(field[view : view + 1] for field in every))
        seen = ops.rasterize(ops.project(vertices[None], one), faces, SIDE, SIDE)
        index = np.asarray(seen.index[0])
        depth[view] = np.where(index >= 0, np.floor(np.asarray(seen.depth[0]) * DEPTH_STEPS) / DEPTH_STEPS, 0)
        found = normal[np.maximum(index, 0)] @ every.rotation[view].astype(np.float64).T * [1, -1, -1]
        rays = _rays() * [1, -1, -1]
        towards = np.where((found * rays).sum(-1, keepdims=True) > 0, -found, found)
        normals[view] = np.where(index[..., None] >= 0, towards, 0)
    return Views(depth, normals)


def surface_points(views: Views, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points of the surface with their normals, f32 [count, 6], in the mesh's space: random pixels of all views that see something.

    All different where the views see as many; else each some times.

    Raises:
      ValueError: nothing is seen.
    """
    seen = np.flatnonzero(views.depth.reshape(-1) > 0)
    if not len(seen):
        raise ValueError("surface_points: no camera sees the shape.")
    times = -(-count // len(seen))
    chosen = rng.permutation(np.tile(seen, times))[:count] if times > 1 else rng.choice(seen, count, replace=False)
    view, row, column = np.unravel_index(chosen, views.depth.shape)
    every = cameras()
    rotation = every.rotation[view].astype(np.float64)
    local = _rays()[row, column] * views.depth[view, row, column, None]
    points = np.einsum("nij,ni->nj", rotation, local) + every.position[view]
    normals = np.einsum("nij,ni->nj", rotation, views.normals[view, row, column] * [1, -1, -1])
    return np.concatenate([points, normals], axis=1).astype(np.float32)


def picture(views: Views, view: int = 0) -> np.ndarray:
    """A view shaded as clay on white, u8 [137, 137, 3]: what single-view networks see of a shape without colours."""
    shaded = Image.fromarray(shade(views.normals[view], views.depth[view] > 0))
    return np.asarray(shaded.resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX, box=(0, 0, SIDE, SIDE)))


def shade(normals: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Clay in the light of a lamp above the camera and of the sky, on white: u8 [H, W, 3].

    Args:
      normals: [H, W, 3], as of `Views`.
      seen: bool [H, W].
    """
    lamp, fill = np.clip(normals @ _LAMP, 0, None), 0.5 + 0.5 * normals[..., 1]
    light = (0.62 * lamp + 0.30 * fill + 0.08)[..., None] * _CLAY
    return np.where(seen[..., None], np.clip(light, 0, 1) * 255, 255).round().astype(np.uint8)


@functools.cache
def _rays() -> np.ndarray:
    """Rays of the pixels, f64 [224, 224, 3]: one long along the axis."""
    at = (np.arange(SIDE) - (SIDE - 1) / 2) / _FOCAL
    column, row = np.meshgrid(at, at)
    return np.stack([column, row, np.ones_like(row)], axis=-1)
