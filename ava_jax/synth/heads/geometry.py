"""Procedural heads: shape. One topology for all; identity and expression move its vertices.

Every surface point has two coordinates: `angle` around the vertical axis (0 = front, +-pi = the seam down the back) and `level` along
the profile from crown (0) to the cut of the neck (1). The UV chart is a square with the crown at the middle of its upper edge: a point's
level is its distance from there in the maximum norm, its angle the place along that square's three sides. So the chart has no pole
where texels would crowd, and the lower half of it is the face.

Millimetres in head space: x to the right as seen from the front, y up, z to the front; the origin lies between the ears.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
from scipy import interpolate

from ava_jax.core.mesh import Topology

CELLS = 88  # squares along a side of the UV grid: 7,921 vertices, 15,488 triangles

# level, front (y, z), side (x, y), back (y, z): an adult's profiles, mm.
_PROFILE = np.array([
    (0.000, 122, -8, 0, 122, 122, -8),
    (0.070, 117, 22, 34, 114, 116, -42),
    (0.140, 101, 56, 57, 96, 99, -70),
    (0.210, 77, 77, 70, 75, 75, -89),
    (0.280, 53, 86, 76, 54, 50, -97),
    (0.330, 38, 88, 77, 39, 34, -98),
    (0.390, 26, 86, 77, 26, 20, -96),
    (0.450, 14, 83, 77, 13, 6, -92),
    (0.500, 3, 83, 76, 1, -6, -87),
    (0.550, -12, 84, 75, -12, -18, -81),
    (0.600, -30, 85, 73, -27, -32, -75),
    (0.640, -40, 86, 71, -38, -42, -70),
    (0.680, -49.5, 86, 69, -48, -52, -67),
    (0.720, -59, 85, 66, -58, -62, -65),
    (0.760, -70, 82, 62, -68, -72, -64),
    (0.800, -84, 79, 57, -79, -83, -64),
    (0.835, -97, 70, 54, -90, -93, -64),
    (0.870, -105, 49, 53, -101, -104, -65),
    (0.910, -119, 39, 54, -115, -118, -66),
    (0.955, -141, 41, 64, -138, -138, -71),
    (1.000, -168, 58, 92, -163, -160, -80),
])  # fmt: skip

MOUTH = -49.5  # y of the line between the lips
MOUTH_HALF_WIDTH = 23.0
EYE = (32.0, 14.0)  # |x|, y of an eye's centre
_HINGE = np.array([0.0, 2.0, -4.0])  # of the jaw


@dataclasses.dataclass(frozen=True)
class Identity:
    """One person, told from others by `seed`; `shape` has a value for each name of `SHAPE`, `look` is described in `synth_skin.look`."""

    seed: int
    shape: dict[str, float] = dataclasses.field(compare=False)
    look: dict[str, Any] = dataclasses.field(compare=False)


class Expression(NamedTuple):
    """What the face does, each about 0 (rest) to 1 (full); brow and gaze go both ways."""

    jaw: float = 0.0
    smile: float = 0.0
    brow: float = 0.0
    blink: float = 0.0
    pucker: float = 0.0
    puff: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


class Surface(NamedTuple):
    """Coordinates of points on the generic head, flat [Q] or as a grid; `x`, `y`, `z` in mm without any bump."""

    angle: np.ndarray
    level: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


# Standard deviations of identity coefficients: a factor where it is below 1, otherwise mm.
SHAPE = {
    "width": 0.05, "height": 0.045, "depth": 0.04, "jaw_width": 0.10, "nose_length": 4.0, "nose_width": 0.20, "nose_height": 4.0,
    "cheekbone": 4.0, "cheek": 6.0, "chin": 6.0, "brow_ridge": 2.0, "forehead": 5.0, "eye_spacing": 2.0, "eye_depth": 1.5, "lips": 1.8,
    "ear": 3.0, "neck": 0.09,
}  # fmt: skip


@functools.cache
def topology() -> Topology:
    """A grid over the unit square; diagonals mirror at the middle, along the chart's own creases."""
    side = CELLS + 1
    v, u = np.meshgrid(np.linspace(1, 0, side), np.linspace(0, 1, side), indexing="ij")
    corner = np.arange(side * side).reshape(side, side)
    a, b, c, d = (x.ravel() for x in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    left = np.tile(np.arange(CELLS) < CELLS // 2, CELLS)[:, None]
    falling = np.stack([a, c, d, a, d, b], axis=1)
    rising = np.stack([a, c, b, b, c, d], axis=1)
    faces = np.where(left, rising, falling).reshape(-1, 3).astype(np.int32)
    uvs = np.stack([u.ravel(), v.ravel()], axis=1).astype(np.float32)
    return Topology(faces=faces, face_uvs=faces.copy(), uvs=uvs)


def surface(u: np.ndarray, v: np.ndarray) -> Surface:
    """The generic head at places of the UV chart, any shape."""
    across, down = 2 * np.asarray(u, np.float64) - 1, 1 - np.asarray(v, np.float64)
    level = np.maximum(np.abs(across), down)
    safe = np.maximum(level, 1e-9)
    on_side = np.abs(across) > down
    turn = np.where(on_side, np.sign(across) * (1 - 0.5 * down / safe), 0.5 * across / safe)  # -1..1, once around
    return _surface(np.pi * (0.60 * turn + 0.40 * turn**3), level)  # more texels for the face


def at(angle: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Points [Q, 3], mm, of the generic head without its features, by the angle around it and the level from crown to neck, [Q] each."""
    s = _surface(angle, level)
    return np.stack([s.x, s.y, s.z], axis=-1)


def _surface(angle: np.ndarray, level: np.ndarray) -> Surface:
    front_y, front_z, side_x, side_y, back_y, back_z = np.moveaxis(_profiles()(level), -1, 0)
    sin, cos = np.sin(angle), np.cos(angle)
    facing = np.where(cos > 0, 1.0, 0.0)
    # Broad at the brow, pointed at the chin, round at the neck.
    corner, centre = np.moveaxis(_sections()(level), -1, 0)
    square = 1 + corner * np.sin(2 * angle) ** 2 * facing
    x = side_x * sin * square
    z = centre + (np.where(cos > 0, front_z, back_z) - centre) * np.abs(cos) * square
    y = side_y + (np.where(cos > 0, front_y, back_y) - side_y) * cos**2
    return Surface(angle, level, x, y, z)


def shape(identity: Identity, expression: Expression, hair: np.ndarray) -> np.ndarray:
    """Vertices of a face.

    Args:
      hair: [V], thickness of the hair, mm, from `synth_skin`.

    Returns:
      f64 [V, 3], mm.
    """
    s = vertex_surface()
    points = np.stack([s.x, s.y, s.z], axis=-1)
    points += _features(s, identity.shape, 1 - smoothstep(hair / 6))
    points += _expression_bumps(s, expression)
    points = _open_jaw(points, s, expression.jaw)
    points = _proportions(points, s, identity.shape)
    outward = np.stack([s.x, np.maximum(s.y - 10, 0) + 0.3 * np.minimum(s.y, 0), s.z + 8], axis=-1)
    outward[..., 1] = np.where(s.y < 0, 0.0, outward[..., 1])
    return points + hair[:, None] * outward / np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-6)


def jaw_weight(s: Surface) -> np.ndarray:
    """How far each point [...] follows the jaw, 0..1: a sharp step between the lips, a soft one over the cheeks, none at the neck."""
    line = MOUTH + np.clip(80 - s.z, 0, None) * 0.55
    softness = 3.2 + 26 * smoothstep((np.abs(s.x) - 9) / 42)
    below = smoothstep((line - s.y) / softness * 0.5 + 0.5)
    front = smoothstep((s.z + 25) / 65)
    return below * front * (1 - smoothstep((s.level - 0.82) / 0.13))


@functools.cache
def vertex_surface() -> Surface:
    """The generic head at the topology's UVs, [U]."""
    return surface(*topology().uvs.T)


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals [V, 3], outward; the seam's two sides share theirs."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(face[:, i], 3), len(vertices)) for i in range(3)], axis=-1)
    grid = total.reshape(CELLS + 1, CELLS + 1, 3)
    edges = grid[0] + grid[0, ::-1], grid[:, 0] + grid[:, -1]
    grid[0], grid[:, 0], grid[:, -1] = edges[0], edges[1], edges[1]
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-9)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between; any shape."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def bump(x: np.ndarray, y: np.ndarray, at: tuple[float, float], size: tuple[float, float]) -> np.ndarray:
    """A Gaussian hill of height 1; any shape."""
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)


@functools.cache
def _profiles() -> interpolate.BSpline:
    return interpolate.make_interp_spline(_PROFILE[:, 0], _PROFILE[:, 1:], axis=0)


@functools.cache
def _sections() -> interpolate.PchipInterpolator:
    """Level -> how far the horizontal section bulges at 45 degrees, and z of its middle."""
    table = np.array([(0, 0, -8), (0.2, 0.03, -7), (0.4, 0.07, -6), (0.6, 0.035, -7), (0.8, -0.06, -8), (0.9, 0, -11), (1, 0, -14)])
    return interpolate.PchipInterpolator(table[:, 0], table[:, 1:], axis=0)


def _features(s: Surface, c: dict[str, float], bare: np.ndarray) -> np.ndarray:
    """Nose, eyes, mouth, chin, cheeks and ears as displacements [V, 3]; ears show where the head is `bare` of hair."""
    front = smoothstep((s.z - 15) / 30)
    ax = np.abs(s.x)
    out = np.zeros((*s.x.shape, 3))
    length = 1 + c["nose_length"] / 40
    tip = 16 - 38 * length
    along = np.clip((16 - s.y) / (16 - tip), 0, None)
    ridge = np.where(along < 1, along**1.2 * (22 + c["nose_height"]) + 4 * bump(s.y, 0, (10, 0), (9, 1)), 0)
    ridge = np.where(along >= 1, (22 + c["nose_height"]) * np.exp(-(((along - 1) * (16 - tip) / 9) ** 2)), ridge)
    width = (7.5 + 3.5 * np.clip(along, 0, 1)) * (1 + c["nose_width"])
    z = ridge * np.exp(-((s.x / width) ** 2))
    z += 8 * bump(ax, s.y, (11 * (1 + c["nose_width"]), tip - 3), (5.5, 6.5))
    z -= (7 + c["eye_depth"]) * bump(ax, s.y, (EYE[0] - 2, EYE[1]), (17, 10))
    z += 5 * bump(ax, s.y, EYE, (11, 8))
    z += (4 + c["brow_ridge"]) * bump(ax, s.y, (27, 33), (20, 7))
    z += (3 + c["cheekbone"]) * bump(ax, s.y, (50, -8), (18, 14))
    z += c["forehead"] * bump(s.x, s.y, (0, 65), (50, 28))
    z += (4 + c["lips"]) * bump(s.x, s.y, (0, -44.5), (19, 5)) + (4.5 + c["lips"]) * bump(s.x, s.y, (0, -55.5), (16, 5.5))
    z -= 3.5 * bump(s.x, s.y, (0, MOUTH), (24, 2.4)) + 3 * bump(s.x, s.y, (0, -66), (20, 5))
    z += 2 * np.exp(-((s.y + 38) ** 2) / 40) * (bump(ax, 0, (4, 0), (3, 1)) - bump(s.x, 0, (0, 0), (2.5, 1)))
    z += (5 + c["chin"]) * bump(s.x, s.y, (0, -83), (17, 12))
    out[..., 2] = z * front
    side = np.sign(s.x) * smoothstep((ax - 20) / 30)
    out[..., 0] += side * (c["cheek"] + 1) * bump(s.y, s.z, (-38, 45), (26, 34)) * (s.z > -30)
    ear = _ear(s) * bare
    out[..., 0] += np.sign(s.x) * ear * (19 + c["ear"])
    out[..., 2] -= ear * 8
    return out


def _ear(s: Surface) -> np.ndarray:
    """A shell that stands off towards its rim, hollow in the middle; 0..1."""
    y, z = (s.y - 4) / 31, (s.z + 12 + 0.12 * (s.y - 4)) / 17
    radius = np.sqrt(y**2 + (z * (1 + 0.35 * np.clip(-y, 0, 1))) ** 2)
    shell = smoothstep((1.15 - radius) / 0.5) * np.clip(0.72 - 0.45 * z, 0.1, 1)
    hollow = 0.5 * np.exp(-((radius / 0.5) ** 2))
    return np.where(np.abs(s.x) > 40, shell * (1 - hollow), 0)


def _expression_bumps(s: Surface, e: Expression) -> np.ndarray:
    """Displacements [V, 3] of all but the jaw."""
    front = smoothstep((s.z - 15) / 30)
    ax, sign = np.abs(s.x), np.sign(s.x)
    corner = bump(ax, s.y, (MOUTH_HALF_WIDTH, MOUTH), (15, 14)) * front
    out = np.zeros((*s.x.shape, 3))
    out[..., 0] += e.smile * 9 * corner * sign
    out[..., 1] += e.smile * 12 * corner
    out[..., 2] -= e.smile * 5 * corner
    cheek = bump(ax, s.y, (42, -20), (17, 13)) * front
    out[..., 2] += e.smile * 5 * cheek
    out[..., 1] += e.smile * 3 * cheek
    brow = bump(ax, s.y, (26, 36), (24, 13)) * front
    out[..., 1] += e.brow * 6.5 * brow
    out[..., 2] += np.minimum(e.brow, 0) * -2.5 * bump(s.x, s.y, (0, 30), (12, 9)) * front
    mouth = bump(s.x, s.y, (0, MOUTH), (26, 17)) * front
    out[..., 0] -= e.pucker * 0.42 * s.x * mouth
    out[..., 2] += e.pucker * 10 * bump(s.x, s.y, (0, MOUTH), (17, 13)) * front
    puff = bump(ax, s.y, (44, -42), (20, 20)) * smoothstep((s.z + 5) / 40)
    out[..., 0] += e.puff * 11 * puff * sign
    out[..., 2] += e.puff * 9 * puff
    out[..., 2] += e.blink * 1.5 * bump(ax, s.y, (EYE[0], EYE[1] + 2), (12, 6)) * front
    return out


def _open_jaw(points: np.ndarray, s: Surface, amount: float) -> np.ndarray:
    """Turns the lower face about the hinge, 17 degrees at most; the inside of the mouth sinks in between the lips."""
    weight = jaw_weight(s)
    turn = amount * np.deg2rad(17) * weight
    y, z = points[..., 1] - _HINGE[1], points[..., 2] - _HINGE[2]
    cos, sin = np.cos(turn), np.sin(turn)
    moved = points.copy()
    moved[..., 1] = _HINGE[1] + cos * y - sin * z
    moved[..., 2] = _HINGE[2] + sin * y + cos * z
    inside = 4 * weight * (1 - weight) * smoothstep((MOUTH_HALF_WIDTH + 2 - np.abs(s.x)) / 8) * (np.abs(s.y - MOUTH) < 15)
    moved[..., 2] -= 16 * amount * inside
    narrow = weight * bump(s.x, s.y, (0, MOUTH), (40, 30))
    moved[..., 0] *= 1 - 0.10 * amount * narrow
    return moved


def _proportions(points: np.ndarray, s: Surface, c: dict[str, float]) -> np.ndarray:
    jaw = smoothstep((s.level - 0.5) / 0.25) * (1 - smoothstep((s.level - 0.85) / 0.1))
    neck = smoothstep((s.level - 0.84) / 0.1)
    points = points * np.array([1 + c["width"], 1 + c["height"], 1 + c["depth"]])
    points[..., 0] *= (1 + c["jaw_width"] * jaw) * (1 + c["neck"] * neck)
    spread = bump(np.abs(s.x), s.y, EYE, (18, 14)) * (s.z > 20)
    points[..., 0] += np.sign(s.x) * c["eye_spacing"] * spread
    return points
