"""Procedural heads: cameras, light and pictures.

Each camera has its own light beside it, so that shading and highlights follow the view, as in a dome whose lamps fire with its cameras;
a weaker lamp and the surroundings stay with the head.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ava_jax.captures.ava256 import SENSOR
from ava_jax.core import mesh, zbuffer
from ava_jax.core.cameras import look_at
from ava_jax.core.types import Cameras
from ava_jax.synth.heads import geometry, layouts, skin
from ava_jax.synth.heads.geometry import Expression, Identity

DISTANCE = 1100.0  # mm from the head to a camera
SEEN = 405.0  # mm of height that a picture shows at that distance
SUPERSAMPLING = 2
_TARGET = np.array([0.0, -26.0, 0.0])  # the middle of head and neck
_FIXED_LAMP = (np.array([-0.75, 0.35, 0.55]) / np.linalg.norm([-0.75, 0.35, 0.55])).astype(np.float32)
# Colour of a camera's own lamp, of the fixed one and of the sky; and what comes from everywhere.
_LAMPS = np.array([[1.01, 0.95, 0.87], [0.165, 0.20, 0.25], [0.09, 0.10, 0.11]], np.float32)
_LEAST_FACING = 0.2  # cosine to the camera, below which a texel is not seen: unwrapped, it would be smeared over the surface
_FLOOR = np.array([0.054, 0.06, 0.066], np.float32)


class Camera(NamedTuple):
    """A camera in world space, which is head space of a head at rest. Pixels of the full sensor."""

    name: str
    rotation: np.ndarray  # [3, 3], world to camera
    position: np.ndarray  # [3], mm
    focal: np.ndarray  # [2]
    principal: np.ndarray  # [2]
    gain: np.ndarray  # [3]
    offset: np.ndarray  # [3], 0-255
    backdrop: np.ndarray  # [5, 6]: blobs of colour: x, y, size, r, g, b


class Painted(NamedTuple):
    """A face ready to be seen: vertices f64 [V, 3], head space, mm, and its unlit texture."""

    vertices: np.ndarray
    normals: np.ndarray
    paint: skin.Paint  # at T x T texels, flat
    size: int  # T


def rig(count: int, seed: int) -> list[Camera]:
    """Cameras on a spherical patch in front, the first one frontal."""
    rng = np.random.default_rng([seed, 1])
    cameras = []
    for i in range(count):
        # A low-discrepancy walk over the patch: any number of cameras covers it evenly.
        azimuth = np.deg2rad(70) * (2 * ((i * 0.618034) % 1) - 1) if i else 0.0
        elevation = np.deg2rad(-14 + 44 * ((i * 0.754878) % 1)) if i else 0.0
        direction = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        position = _TARGET + direction * DISTANCE * rng.uniform(0.97, 1.03)
        focal = SENSOR[0] * DISTANCE / SEEN * rng.uniform(0.99, 1.01, 2)
        principal = np.array(SENSOR[::-1]) / 2 + rng.uniform(-40, 40, 2)
        rotation = look_at(position, _TARGET + rng.uniform(-4, 4, 3), (rng.uniform(-0.03, 0.03), 1, 0))
        backdrop = np.concatenate([rng.uniform(0, 1, (5, 2)), rng.uniform(0.25, 0.6, (5, 1)), rng.uniform(20, 120, (5, 3))], axis=1)
        name = "401168" if i == 0 else str(400001 + 7 * i)  # the frontal camera is called as in the real rig
        gain, offset = 1 + 0.025 * rng.standard_normal(3), 3 * rng.standard_normal(3)
        cameras.append(Camera(name, rotation, position, focal, principal, gain, offset, backdrop))
    return cameras


def face(identity: Identity, expression: Expression, size: int) -> Painted:
    """Shape and unlit colour of an identity with an expression; textures of `size` texels a side."""
    vertices = geometry.shape(identity, expression, skin.hair_thickness(geometry.vertex_surface(), identity))
    surface, jaw = _texels(size)
    painted = skin.animate(_painted(identity, size), surface, jaw, identity, expression)
    return Painted(vertices, geometry.normals(vertices, geometry.topology().faces), painted, size)


def texture(head: Painted, cameras: list[Camera], pose: np.ndarray) -> np.ndarray:
    """What the cameras see of each texel on average, uint8 [T, T, 3]: lit, without highlights."""
    index, weights = _lookup(head.size)
    return _lit(head, head.paint, index.reshape(-1, 3), weights.reshape(-1, 3), cameras, pose)


def texture_in(
    layout: layouts.Layout, head: Painted, identity: Identity, expression: Expression, cameras: list[Camera], pose: np.ndarray
) -> np.ndarray:
    """As `texture`, uint8 [T, T, 3], in another chart.

    Args:
      layout: the chart, of a mesh that follows the head.
      head: `face` of the identity and the expression.
      identity, expression: whose.
      cameras: that see it.
      pose: [3, 4], head to world, mm.
    """
    _, _, index, weights = layout.texels(head.size)
    return _lit(head, paint_in(layout, head.size, identity, expression), index, weights, cameras, pose)


def paint_in(layout: layouts.Layout, size: int, identity: Identity, expression: Expression) -> skin.Paint:
    """Unlit colour of `size` x `size` texels, flat, of another chart."""
    surface, jaw, _, _ = layout.texels(size)
    return skin.animate(_painted_in(layout, identity, size), surface, jaw, identity, expression)


def views_of_texels(
    head: Painted, cameras: list[Camera], pose: np.ndarray, layout: layouts.Layout | None = None, paint: skin.Paint | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What each of N cameras sees of each texel, as textures unwrapped from its pictures have it.

    Args:
      head: `face` of the identity and the expression.
      cameras: N of them.
      pose: [3, 4], head to world, mm.
      layout, paint: of another chart; None: the heads' own.

    Returns:
      u8 [N, T, T, 3], with the camera's own gain and offset and at least 1; and whether it sees the texel, bool [N, T, T]: its surface
      faces the camera. What hides behind something else is taken to be seen.
    """
    if layout is None:
        index, weights = (x.reshape(-1, 3) for x in _lookup(head.size))
    else:
        _, _, index, weights = layout.texels(head.size)
    normal = np.einsum("qcl,qc->ql", head.normals[index], weights)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    textures, seen = [], []
    for camera in cameras:
        lit = _lit(head, head.paint if paint is None else paint, index, weights, [camera], pose)
        textures.append(np.clip(lit * camera.gain + camera.offset + 0.5, 1, 255).astype(np.uint8))
        seen.append((normal @ _to_camera(camera, pose) > _LEAST_FACING).reshape(head.size, head.size))
    return np.stack(textures), np.stack(seen)


def _lit(head: Painted, paint: skin.Paint, index: np.ndarray, weights: np.ndarray, cameras: list[Camera], pose: np.ndarray) -> np.ndarray:
    light = np.mean([_light(head.normals, direction) for direction in (_to_camera(c, pose) for c in cameras)], axis=0)
    at_texel = np.einsum("qcl,qc->ql", light[index], weights)
    lit = np.sqrt(_linear(paint.colour) * at_texel) * 255
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8).reshape(head.size, head.size, 3)


def picture(
    head: Painted, camera: Camera, pose: np.ndarray, height: int, lens: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """One camera's picture of a face.

    Args:
      head: the face.
      camera: of the rig.
      pose: [3, 4], head to world, mm.
      height: of the picture; its width follows from the sensor.
      lens: where its lens puts points [V, 2] of the picture, pixels; None: where a pinhole does. Triangles keep straight edges.

    Returns:
      Image uint8 [H, W, 3] and segmentation uint8 [H, W].
    """
    return picture_and_mask(head, camera, pose, height, lens)[:2]


def picture_and_mask(
    head: Painted, camera: Camera, pose: np.ndarray, height: int, lens: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `picture`, and a soft mask uint8 [H, W]: how much of each pixel the head covers, of 255; `pose` [3, 4]."""
    width = SENSOR[1] * height // SENSOR[0]
    s = SUPERSAMPLING
    scale = height / SENSOR[0]
    world = head.vertices @ pose[:, :3].T + pose[:, 3]
    corners = zbuffer.project(world, Cameras(camera.rotation, camera.position, camera.focal * scale, camera.principal * scale))
    if lens is not None:
        corners[:, :2] = lens(corners[:, :2])
    corners[:, :2] = (corners[:, :2] + 0.5) * s - 0.5
    topology = geometry.topology()
    triangle, weights = zbuffer.rasterize(corners, topology.faces, height * s, width * s)
    seen = triangle >= 0
    which, weights = triangle[seen], weights[seen]
    corner = topology.faces[which]
    normal = np.einsum("pcl,pc->pl", head.normals.astype(np.float32)[corner], weights)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    uv = np.einsum("pcl,pc->pl", topology.uvs[topology.face_uvs[which]], weights)
    colour, label, gloss = _sample(head, uv)
    direction = _to_camera(camera, pose).astype(np.float32)
    lit = _linear(colour) * _light(normal, direction) + gloss[:, None] * _highlight(normal, direction)
    shown = _backdrop(camera.backdrop.tobytes(), height, width).repeat(s, 0).repeat(s, 1)
    shown[seen] = np.sqrt(np.clip(lit, 0, 1)) * 255
    mean = sum(shown[i::s, j::s] for i in range(s) for j in range(s)) / s**2
    image = mean * camera.gain.astype(np.float32) + camera.offset.astype(np.float32)
    labels = np.zeros(seen.shape, np.uint8)
    labels[seen] = label
    covered = seen.reshape(height, s, width, s).mean((1, 3)) * 255
    return np.clip(image + 0.5, 0, 255).astype(np.uint8), labels[::s, ::s], np.rint(covered).astype(np.uint8)


@functools.lru_cache(maxsize=2)
def _painted(identity: Identity, size: int) -> skin.Paint:
    return skin.paint(_texels(size)[0], identity)


@functools.lru_cache(maxsize=2)
def _painted_in(layout: layouts.Layout, identity: Identity, size: int) -> skin.Paint:
    return skin.paint(layout.texels(size)[0], identity)


@functools.cache
def _lookup(size: int) -> tuple[np.ndarray, np.ndarray]:
    return mesh.uv_barycentric(geometry.topology(), size)


@functools.cache
def _texels(size: int) -> tuple[geometry.Surface, np.ndarray]:
    """Surface coordinates of all texels, and how far the mesh there follows the jaw."""
    v, u = np.meshgrid(1 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    index, weights = _lookup(size)
    jaw = (geometry.jaw_weight(geometry.vertex_surface())[index] * weights).sum(-1)
    return geometry.surface(u.ravel(), v.ravel()), jaw.ravel()


def _linear(colour: np.ndarray) -> np.ndarray:
    """SRGB 0-255 to light 0-1; a square is near enough to the standard's curve."""
    return np.square(colour * np.float32(1 / 255))


def _to_camera(camera: Camera, pose: np.ndarray) -> np.ndarray:
    """Unit vector from the head to a camera, in head space."""
    away = (camera.position - pose[:, 3]) @ pose[:, :3]
    return away / np.linalg.norm(away)


def _lamp(direction: np.ndarray) -> np.ndarray:
    """The camera's own lamp hangs above it, to its left."""
    left = np.cross(direction, (0.0, 1.0, 0.0))
    lamp = direction + 0.50 * left + np.array([0.0, 0.55, 0.0])
    return (lamp / np.linalg.norm(lamp)).astype(np.float32)


def _light(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Light that arrives at surfaces [..., 3], by colour channel."""
    own = np.clip(normal @ _lamp(direction), 0, None)
    fixed = np.clip(normal @ _FIXED_LAMP, 0, None)
    sky = 0.5 + 0.5 * normal[..., 1]
    return np.stack([own, fixed, sky], axis=-1) @ _LAMPS + _FLOOR


def _highlight(normal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Reflection of the camera's lamp [P, 1]: broad, narrow, and stronger at grazing angles."""
    half = direction + _lamp(direction)
    half = half / np.linalg.norm(half)
    facing = np.clip(normal @ half, 0, None)
    rim = (1 - np.clip(normal @ direction, 0, 1)) ** 4
    return (0.10 * facing**14 + 0.16 * facing**60 + 0.10 * rim * facing)[:, None]


@functools.lru_cache(maxsize=16)
def _backdrop(blobs: bytes, height: int, width: int) -> np.ndarray:
    """Soft patches of colour, f32 [H, W, 3]; `blobs` holds a camera's backdrop."""
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    total, weight = 0.0, 1e-6
    for at_x, at_y, size, *colour in np.frombuffer(blobs).reshape(-1, 6):
        near = np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / size**2)[..., None]
        total, weight = total + near * np.array(colour), weight + near
    return (total / weight).astype(np.float32)


def _sample(head: Painted, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour [P, 3] (bilinear), label [P] and gloss [P] (nearest) of the texture at uv [P, 2]."""
    size = head.size
    place = np.clip(np.stack([uv[:, 0], 1 - uv[:, 1]]) * np.float32(size) - np.float32(0.5), 0, np.float32(size - 1.001))
    column, row = place
    left, top = place.astype(np.int32)
    right, down = (column - left)[:, None], (row - top)[:, None]
    at = top * size + left
    colours = head.paint.colour
    upper = colours[at] * (1 - right) + colours[at + 1] * right
    lower = colours[at + size] * (1 - right) + colours[at + size + 1] * right
    nearest = np.rint(row).astype(np.int32) * size + np.rint(column).astype(np.int32)
    return upper * (1 - down) + lower * down, head.paint.label[nearest], head.paint.gloss[nearest]
