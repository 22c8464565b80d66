"""A mesh for the procedural heads that has nothing in common with their own: for trying what another topology does to a model.

Of the size of a common head model, 5,023 vertices and 5,118 UVs: a skin cut open down the back of the head and laid out as a dome, the
crown at its top; and two eyeballs, apart from the skin, of which the front is seen through holes in it. Each eyeball has two islands of
the chart, front and back.
"""

import functools
from typing import NamedTuple

import numpy as np
from scipy import interpolate

from ava_jax.captures import transfer
from ava_jax.captures.transfer import Binding
from ava_jax.core.mesh import Topology
from ava_jax.synth.heads import geometry
from ava_jax.synth.heads.geometry import EYE

VERTICES, UVS = 5023, 5118
_ROWS = (13, 35, 7)  # of the scalp, the face and the neck
_BOUNDS = (0.012, 0.30, 0.87, 1.0)  # their levels
_AROUND = 20  # vertices of an eyeball's ring
_FRONT, _BACK = 14, 13  # rings, the widest among those in front
_HALF_WIDTH = 0.485  # of the dome
_HOLE, _EYEBALL = (14.0, 7.5), (20.0, 13.0)  # half axes, mm, of the holes in the skin and of what lies under them
_UNDER, _DEEP = 0.8, 14.0  # mm under the skin: an eyeball's front and the deepest of its back
_DISCS = ((0.068, 0.928, 0.058), (0.188, 0.948, 0.045))  # of the left eye's front and back: u, v, radius


class StandIn(NamedTuple):
    """The mesh: its topology, and its vertices tied to the procedural head's."""

    topology: Topology
    binding: Binding


@functools.cache
def mesh() -> StandIn:
    """The mesh; made once."""
    skin_faces, skin_uv_faces, skin_points, skin_uvs = _skin()
    faces, face_uvs, points, uvs, depth = [skin_faces], [skin_uv_faces], [skin_points], [skin_uvs], [np.zeros(len(skin_points))]
    for side in (1, -1):
        eye = _eyeball(side)
        faces.append(eye[0] + sum(map(len, points)))
        face_uvs.append(eye[1] + sum(map(len, uvs)))
        points.append(eye[2])
        uvs.append(eye[3])
        depth.append(eye[4])
    bare, rest = geometry.topology().faces, geometry.vertex_surface()
    bound = transfer.bind(np.concatenate(points), np.stack([rest.x, rest.y, rest.z], axis=-1), bare)
    offset = np.zeros_like(bound.offset)
    offset[:, 2] = -np.concatenate(depth)
    topology = Topology(*(np.concatenate(part).astype(np.int32) for part in (faces, face_uvs)), np.concatenate(uvs).astype(np.float32))
    return StandIn(topology, Binding(bound.corners, bound.weights, offset))


def _skin() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Faces, their UVs' rows, points on the procedural head [V, 3] without its features, and UVs [U, 2]: rings from crown to neck."""
    levels = np.concatenate([np.linspace(*_BOUNDS[i : i + 2], n, endpoint=i == 2) for i, n in enumerate(_ROWS)])
    width = _half_width(levels)
    counts = np.maximum(np.round(88 * width / _HALF_WIDTH), 8).astype(int)
    neck = sum(_ROWS[:2])
    all_rings = VERTICES - 2 * (_AROUND * (_FRONT + _BACK) + 2)
    # The rings of the neck take what is left over.
    excess = all_rings + sum(int(_in_hole(_ring(level, n)[:n]).sum()) for level, n in zip(levels, counts)) - 1 - counts.sum()
    counts[neck:] += np.diff(np.linspace(0, excess, _ROWS[2] + 1).round().astype(int))
    points, uvs, vertex_of = [geometry.at(np.zeros(1), np.zeros(1))], [np.array([[0.5, _v(0.0)]])], [np.zeros(1, int)]
    turns = [np.zeros(1)]
    for level, half, n in zip(levels, width, counts):
        turn = np.linspace(-1, 1, n + 1)
        vertex_of.append(sum(map(len, points)) + np.append(np.arange(n), 0))  # the last UV is of the first vertex: the seam
        points.append(_ring(level, n)[:n])
        uvs.append(np.stack([0.5 + half * turn, np.full(n + 1, _v(level))], axis=-1))
        turns.append(turn)
    starts = np.cumsum([0, *map(len, uvs)])
    corners = np.concatenate([_strip(turns[i], turns[i + 1], starts[i], starts[i + 1]) for i in range(len(turns) - 1)])
    vertex_of, points, uvs = np.concatenate(vertex_of), np.concatenate(points), np.concatenate(uvs)
    gone = _in_hole(points)
    corners = corners[~gone[vertex_of[corners]].any(1)]
    kept, kept_uvs = np.cumsum(~gone) - 1, np.cumsum(~gone[vertex_of]) - 1
    return kept[vertex_of[corners]], kept_uvs[corners], points[~gone], uvs[~gone[vertex_of]]


def _eyeball(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `_skin`, and how deep each vertex [V] lies, mm."""
    circle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    radius = np.concatenate([np.linspace(0, 1, _FRONT + 1), np.linspace(1, 0, _BACK + 2)[1:]])  # poles with them
    back = np.arange(len(radius)) > _FRONT
    each = np.where((radius > 0), _AROUND, 1)
    radii, angle = np.repeat(radius, each), np.concatenate([circle if n > 1 else np.zeros(1) for n in each])
    depth = _UNDER + np.where(np.repeat(back, each), _DEEP * np.sqrt(1 - radii**2), 0.0)
    x, y = side * EYE[0] + _EYEBALL[0] * radii * np.cos(angle), EYE[1] + _EYEBALL[1] * radii * np.sin(angle)
    points = np.stack([x, y, _front()(x, y)], axis=-1)
    start = np.cumsum([0, *each])
    rings = [np.append(a + np.arange(n), a) if n > 1 else np.array([a]) for a, n in zip(start, each)]
    strips = [_strip(np.linspace(0, 1, len(p)), np.linspace(0, 1, len(q)), 0, len(p)) for p, q in zip(rings, rings[1:])]
    faces = np.concatenate([np.concatenate([p, q])[strip] for p, q, strip in zip(rings, rings[1:], strips)])
    flat = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radii[:, None]
    edge = slice(start[_FRONT], start[_FRONT + 1])
    of_back = np.repeat(back, each)
    (fu, fv, fr), (bu, bv, br) = _DISCS
    # The back is seen from within: mirrored, so that no triangle of the chart is turned over.
    uvs = np.where(of_back[:, None], np.array([bu, bv]) + br * flat * [-1, 1], np.array([fu, fv]) + fr * flat)
    uvs = np.concatenate([uvs, np.array([bu, bv]) + br * flat[edge] * [-1, 1]])
    of_back_face = of_back[faces].any(1, keepdims=True) & (faces >= edge.start) & (faces < edge.stop)
    face_uvs = np.where(of_back_face, faces - edge.start + len(points), faces)
    if side > 0:  # the subject's left, at the right of a front view
        uvs[:, 0] += 1 - 2 * np.where(np.append(of_back, np.ones(_AROUND, bool)), bu, fu)
    if _turned_over(uvs, face_uvs):
        faces, face_uvs = faces[:, ::-1], face_uvs[:, ::-1]
    return faces, face_uvs, points, uvs, depth


def _ring(level: float, count: int) -> np.ndarray:
    """Points [count + 1, 3] around the head, denser in front; the last is the first."""
    turn = np.linspace(-1, 1, count + 1)
    return geometry.at(np.pi * (0.6 * turn + 0.4 * turn**3), np.full(count + 1, level))


def _half_width(level: np.ndarray) -> np.ndarray:
    """Of the dome at levels [R]."""
    return _HALF_WIDTH * np.sin(np.minimum(level / 0.42, 1) * np.pi / 2) * (1 - 0.12 * geometry.smoothstep((level - 0.84) / 0.1))


def _v(level: float) -> float:
    return 0.985 - 0.97 * level


def _in_hole(points: np.ndarray) -> np.ndarray:
    """Which points [P, 3] lie where an eye is seen."""
    x, y = (np.abs(points[:, 0]) - EYE[0]) / _HOLE[0], (points[:, 1] - EYE[1]) / _HOLE[1]
    return (x**2 + y**2 < 1) & (points[:, 2] > 20)


@functools.cache
def _front() -> interpolate.LinearNDInterpolator:
    """Depth of the face at x, y."""
    s = geometry.vertex_surface()
    front = s.z > 10
    return interpolate.LinearNDInterpolator(np.stack([s.x, s.y], axis=-1)[front], s.z[front])


def _strip(upper: np.ndarray, lower: np.ndarray, upper_start: int, lower_start: int) -> np.ndarray:
    """Triangles [F, 3] between two rows of points, each in order along the row."""
    i = j = 0
    faces = []
    while i < len(upper) - 1 or j < len(lower) - 1:
        advance_lower = i == len(upper) - 1 or (j < len(lower) - 1 and lower[j + 1] <= upper[i + 1])
        if advance_lower:
            faces.append((upper_start + i, lower_start + j, lower_start + j + 1))
            j += 1
        else:
            faces.append((upper_start + i, lower_start + j, upper_start + i + 1))
            i += 1
    return np.array(faces)


def _turned_over(uvs: np.ndarray, face_uvs: np.ndarray) -> bool:
    a, b, c = (uvs[face_uvs[:, i]] for i in range(3))
    ab, ac = b - a, c - a
    return bool((ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]).sum() < 0)
