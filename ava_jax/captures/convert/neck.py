"""A neck grown from the lowest border of a mesh: rings of triangles, with UVs where the chart is free.

Tracked meshes end below the chin, photographs do not: primitives on a neck keep a model from painting it onto the background.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from ava_jax.core import mesh
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Array

_RING_MM = 15.0  # between rings
_WELD_MM = 1e-3  # vertices nearer than this are one: a seam of the chart is no border
_FEWEST = 8  # edges of a loop
_GRID = 256  # cells along the chart that are free or not
_GUTTER = 2  # cells around what is not
_LEAST = 5  # cells of height, below which room is made by making the chart lower
_ROOM = 0.1  # of the chart's height that is made then
_SMOOTHED = 12  # times that a ring's vertices take half of their neighbours' mean
_DOWN = np.array([0.0, -1.0, 0.0])


@dataclasses.dataclass(frozen=True)
class Neck:
    """A topology with a neck, and how meshes come by it.

    Attributes:
      topology: the mesh's, then the neck's triangles; UVs of the mesh first.
      border: int [E], the loop's vertices in order.
      offsets: f64 [R, E, 3], mm in head axes, from the border's vertices to those of each ring.
      room: where its UVs are, in words.
    """

    topology: Topology
    border: np.ndarray
    offsets: np.ndarray
    room: str

    @property
    def edges(self) -> int:
        """Of the border."""
        return len(self.border)

    @property
    def added(self) -> int:
        """Vertices."""
        return self.offsets.shape[0] * self.offsets.shape[1]

    def extend(self, vertices: Array) -> np.ndarray:
        """A mesh f64 [V + R E, 3] of a mesh [V, 3], mm, head axes; the neck moves with the border."""
        vertices = np.asarray(vertices, np.float64)
        return np.concatenate([vertices, (vertices[self.border] + self.offsets).reshape(-1, 3)])


def grow(topology: Topology, neutral: Array, length: float) -> Neck:
    """Grows a neck.

    Args:
      topology: of the mesh.
      neutral: [V, 3], mm, head axes: y up.
      length: mm.

    Raises:
      ValueError: the mesh has no border.
    """
    neutral = np.asarray(neutral, np.float64)
    loops = border_loops(topology, neutral)
    if not loops:
        raise ValueError(f"--neck: the mesh has no border of {_FEWEST} edges or more to grow a neck from: it is closed.")
    loop = min(loops, key=lambda found: neutral[found][:, 1].mean())
    rings = max(2, round(length / _RING_MM))
    offsets = _offsets(topology, neutral, loop, rings, length)
    around = float(np.linalg.norm(np.roll(neutral[loop], -1, axis=0) - neutral[loop], axis=1).sum())
    old, strip, room = _room(topology, length / around, rings, len(loop))
    faces, face_uvs = _faces(loop, rings, len(neutral), len(old))
    grown = Topology(
        np.concatenate([topology.faces, faces]).astype(np.int32),
        np.concatenate([topology.face_uvs, face_uvs]).astype(np.int32),
        np.concatenate([old, strip]).astype(np.float32),
    )
    return Neck(grown, loop, offsets, room)


def border_loops(topology: Topology, vertices: Array) -> list[np.ndarray]:
    """Closed loops of the edges that one triangle alone has, int [E] each, vertices in the order in which that triangle has them.

    Args:
      topology: of the mesh.
      vertices: [V, 3], mm: those in one place are one.
    """
    vertices = np.asarray(vertices, np.float64)
    _, first, welded = np.unique(np.rint(vertices / _WELD_MM).astype(np.int64), axis=0, return_index=True, return_inverse=True)
    faces = first[welded.ravel()][topology.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    there = set(map(tuple, edges.tolist()))
    after: dict[int, list[int]] = {}
    for a, b in there:
        if (b, a) not in there:
            after.setdefault(a, []).append(b)
    loops = []
    for start in sorted(after):
        path = [start]
        while after.get(path[-1]):
            path.append(after[path[-1]].pop())
        if len(path) > _FEWEST and path[-1] == start:
            loops.append(np.array(path[:-1]))
    return loops


def _offsets(topology: Topology, neutral: np.ndarray, loop: np.ndarray, rings: int, length: float) -> np.ndarray:
    """From the border to each ring: on along the surface at first, downwards in the end."""
    near = np.isin(topology.faces, loop).any(1)
    inner = np.setdiff1d(topology.faces[near], loop)
    # The surface's way out at each border vertex: away from the nearest inner vertices.
    apart = np.linalg.norm(neutral[loop][:, None] - neutral[inner], axis=-1)
    closest = np.argsort(apart, axis=1)[:, :3]
    way = neutral[loop] - neutral[inner[closest]].mean(1)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9)
    way = ndimage.uniform_filter1d(way, max(3, len(loop) // 8), axis=0, mode="wrap")
    steps = []
    for ring in range(rings):
        t = (ring + 0.5) / rings
        direction = (1 - t) * way + t * _DOWN
        steps.append(direction / np.linalg.norm(direction, axis=1, keepdims=True) * (length / rings))
    # Borders are jagged: each ring is smoother than the one before.
    position, found = neutral[loop], []
    for step in steps:
        position = position + step
        for _ in range(_SMOOTHED):
            position = (np.roll(position, 1, axis=0) + 2 * position + np.roll(position, -1, axis=0)) / 4
        found.append(position - neutral[loop])
    return np.stack(found)


def _faces(loop: np.ndarray, rings: int, vertices: int, uvs: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of the rings, wound as the mesh's, and their UVs."""
    count = len(loop)
    rows = np.concatenate([loop[None], vertices + np.arange(rings * count).reshape(rings, count)])
    grid = uvs + np.arange((rings + 1) * (count + 1)).reshape(rings + 1, count + 1)
    closed = np.concatenate([rows, rows[:, :1]], axis=1)

    def triangles(index: np.ndarray) -> np.ndarray:
        a, b, a_, b_ = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        return np.stack([np.stack([b, a, a_], -1), np.stack([b, a_, b_], -1)], axis=-2).reshape(-1, 3)

    return triangles(closed), triangles(grid)


def _room(topology: Topology, slim: float, rings: int, edges: int) -> tuple[np.ndarray, np.ndarray, str]:
    """UVs of the mesh, those of the strip [(R + 1) (E + 1), 2], and where they are; `slim`: the strip's height over its length."""
    uvs = topology.uvs.astype(np.float64)
    triangle, _ = mesh.uv_triangles(topology, _GRID)
    taken = ndimage.binary_dilation(triangle >= 0, iterations=_GUTTER)
    top, left, height, width = _largest_strip(~taken, slim)
    turned = height > width
    rows, columns = np.meshgrid(np.arange(rings + 1) / rings, np.arange(edges + 1) / edges, indexing="ij")
    if min(height, width) >= _LEAST:
        span = np.array([width, height]) / _GRID
        words = f"UVs in a free part of the chart, {width} x {height} of {_GRID} x {_GRID}"
        corner = np.array([left, _GRID - top - height]) / _GRID
    else:
        uvs[:, 1] = _ROOM + (1 - _ROOM) * uvs[:, 1]
        margin = _GUTTER / _GRID
        corner, span, turned = np.array([margin, margin]), np.array([1 - 2 * margin, _ROOM - 3 * margin]), False
        words = f"the chart has no free part: it was made {_ROOM:.0%} lower"
    long, short = (span[1], span[0]) if turned else (span[0], span[1])
    long, short = min(long, short / slim), min(short, long * slim)  # no more stretched than the surface
    across, down = corner[0], corner[1] + span[1]
    strip = (across + rows * short, down - columns * long) if turned else (across + columns * long, down - rows * short)
    return uvs, np.stack(strip, axis=-1).reshape(-1, 2), words


def _largest_strip(free: np.ndarray, slim: float) -> tuple[int, int, int, int]:
    """Top, left, height, width of the free rectangle that holds the largest strip of that form, upright or lying."""
    best, found = 0.0, (0, 0, 0, 0)
    heights = np.zeros(free.shape[1] + 1, int)
    for row, line in enumerate(free):
        heights[:-1] = np.where(line, heights[:-1] + 1, 0)
        stack: list[tuple[int, int]] = []  # columns where rectangles begin, and their heights, rising
        for column, height in enumerate(heights.tolist()):
            begin = column
            while stack and stack[-1][1] >= height:
                begin, tall = stack.pop()
                wide = column - begin
                size = max(min(wide * slim, tall), min(tall * slim, wide))
                if size > best:
                    best, found = size, (row - tall + 1, begin, tall, wide)
            stack.append((begin, height))
    return found
