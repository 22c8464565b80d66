"""The skin of a body: a closed mesh around its cones, and the weights that bind it to the skeleton.

The skin is the zero level of a smooth union of the cones, meshed by surface nets (Gibson, 1998): a vertex in every cell of a grid that the
surface passes through, and a quad across every edge that it crosses.
"""

import dataclasses
import functools

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ava_jax.tasks.mesh_fit.synth.body import Cone, Skeleton, cones, skeleton

LEAST_VERTICES = 1000  # of fewer, cells would be as wide as an arm
_BLEND = 0.012  # m: how far around a crease the union of two cones is rounded
_BINDING = 0.016  # m: over how far the weights of one bone fade into those of the next
_AREA = 1.9  # m^2, about; the grid's spacing follows from it
_THICKNESS = 0.75  # cells: the least radius that no grid misses
_SMOOTHING = 0.04  # m: edges narrower than this are rounded
_CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]  # of a cell


@dataclasses.dataclass(frozen=True)
class Body:
    """A skin around a skeleton, at rest.

    Attributes:
      skeleton: see there.
      vertices: f64 [V, 3], m.
      faces: int32 [M, 3], outward by the right hand.
      weights: f64 [V, J], of linear blend skinning; rows sum to 1.
      softness: f64 [V], in 0..1, of the flesh under the skin.
    """

    skeleton: Skeleton
    vertices: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    softness: np.ndarray


@functools.cache
def _chains() -> tuple[tuple[int, ...], ...]:
    """Cones that meet end to end, by number: their union is not rounded, which would thicken every joint."""
    names = [cone.chain for cone in cones()]
    return tuple(tuple(i for i, name in enumerate(names) if name == chain) for chain in dict.fromkeys(names))


def distances(points: np.ndarray, spacing: float = 0.0) -> np.ndarray:
    """Signed distances to each cone, about; negative inside.

    Args:
      points: [P, 3], m.
      spacing: of a grid that shall see every cone: thinner ones count as so thick.

    Returns:
      f64 [P, C].
    """
    return np.stack([_distance(points, cone, spacing) for cone in cones()], axis=1)


def _distance(points: np.ndarray, cone: Cone, spacing: float) -> np.ndarray:
    """Of points [P, 3] to one cone, [P]: a round cone whose radius changes linearly along its axis."""
    start, end = np.array(cone.start), np.array(cone.end)
    axis = end - start
    along = np.clip((points - start) @ axis / max(axis @ axis, 1e-12), 0.0, 1.0)
    offset = points - start - along[:, None] * axis
    offset[:, 2] /= cone.flat
    radii = np.maximum(cone.radii, _THICKNESS * spacing) if cone.soft else np.array(cone.radii)
    return np.sqrt(np.einsum("pi,pi->p", offset, offset)) - (radii[0] + along * (radii[1] - radii[0]))


def level(points: np.ndarray, spacing: float = 0.0) -> np.ndarray:
    """The smooth union of all chains at points [P, 3]: f64 [P], m, zero on the skin, negative inside."""
    every = distances(points, spacing)
    nearest = np.stack([every[:, chain].min(1) for chain in _chains()], axis=1)
    least = nearest.min(1)
    return least - _BLEND * np.log(np.exp(-(nearest - least[:, None]) / _BLEND).sum(1))


def build(vertices: int) -> Body:
    """The body with about so many vertices.

    Raises:
      ValueError: there are too few for a body's thinnest parts.
    """
    if vertices < LEAST_VERTICES:
        raise ValueError(f"mesh_fit synthesize: a body needs {LEAST_VERTICES} vertices or more; got {vertices}.")
    spacing = float(np.sqrt(1.5 * _AREA / vertices))
    for _ in range(2):  # the number of cells that the skin passes through is nearly quadratic in their number per metre
        points, _ = _mesh(spacing)
        spacing *= float(np.sqrt(len(points) / vertices))
    points, faces = _along_the_skin(*_mesh(spacing))
    points = _relax(points, faces, spacing)
    far = distances(points, spacing)
    influence = np.exp(-(far - far.min(1, keepdims=True)) / _BINDING)
    influence /= influence.sum(1, keepdims=True)
    names = skeleton().names
    weights = np.zeros((len(points), len(names)))
    for column, cone in enumerate(cones()):
        weights[:, names.index(cone.joint)] += influence[:, column]
    softness = influence @ np.array([cone.soft for cone in cones()])
    return Body(skeleton(), points, faces, weights, softness)


def _mesh(spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Surface nets of the skin: points f64 [V, 3] and triangles int32 [M, 3]."""
    ends = np.array([end for cone in cones() for end in (cone.start, cone.end)])
    margin = 0.13 + 2 * spacing
    low = ends.min(0) - margin
    shape = np.ceil((ends.max(0) + margin - low) / spacing).astype(int) + 1
    inside = _one_sheet_per_cell(_field(low, shape, spacing))
    crossed = _cells(inside) % 255 > 0
    number = np.full(shape - 1, -1, np.int32)
    number[crossed] = np.arange(crossed.sum())
    points = low + spacing * (np.argwhere(crossed) + 0.5)
    quads = []
    for axis in range(3):
        quads.append(_quads(inside, number, axis))
    quads = np.concatenate(quads)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return _largest(points, faces)


def _field(low: np.ndarray, shape: np.ndarray, spacing: float) -> np.ndarray:
    """Where on a grid from the corner `low` the body is: bool [X, Y, Z]."""
    total = np.zeros(shape)
    for chain in _chains():
        mine = [cones()[i] for i in chain]
        reach = max(max(*cone.radii, _THICKNESS * spacing) * max(1.0, cone.flat) for cone in mine) + 9 * _BLEND
        ends = np.array([end for cone in mine for end in (cone.start, cone.end)])
        first = np.maximum(np.floor((ends.min(0) - reach - low) / spacing).astype(int), 0)
        last = np.minimum(np.ceil((ends.max(0) + reach - low) / spacing).astype(int) + 1, shape)
        axes = [low[i] + spacing * np.arange(first[i], last[i]) for i in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        near = np.min([_distance(points.reshape(-1, 3), cone, spacing) for cone in mine], axis=0)
        total[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] += np.exp(-near / _BLEND).reshape(points.shape[:3])
    return total > 1.0


def _cells(inside: np.ndarray) -> np.ndarray:
    """Which of a cell's eight corners are inside, a bit each, of all cells of a grid [X, Y, Z]: uint8 [X - 1, Y - 1, Z - 1]."""
    bits = np.zeros(np.array(inside.shape) - 1, np.uint8)
    for bit, corner in enumerate(_CORNERS):
        bits |= inside[tuple(slice(c, c + n - 1) for c, n in zip(corner, inside.shape, strict=True))].astype(np.uint8) << bit
    return bits


@functools.cache
def _torn() -> np.ndarray:
    """Which sets of a cell's corners that, or whose complement, do not hang together: two sheets of skin would meet there. [256]."""

    def hangs_together(bits: int) -> bool:
        members = {corner for bit, corner in enumerate(_CORNERS) if bits >> bit & 1}
        reached, ahead = set(), list(members)[:1]
        while ahead:
            corner = ahead.pop()
            reached.add(corner)
            ahead += [m for m in members - reached if sum(abs(a - b) for a, b in zip(m, corner, strict=True)) == 1]
        return reached == members

    return np.array([not (hangs_together(bits) and hangs_together(255 - bits)) for bits in range(256)])


def _one_sheet_per_cell(inside: np.ndarray) -> np.ndarray:
    """The body, bool [X, Y, Z], with all corners filled of every cell that two sheets of skin would pass through."""
    inside = inside.copy()
    while len(torn := np.argwhere(_torn()[_cells(inside)])):
        for corner in _CORNERS:
            inside[tuple((torn + corner).T)] = True
    return inside


def _quads(inside: np.ndarray, number: np.ndarray, axis: int) -> np.ndarray:
    """Cells around each edge of the grid along an axis that the skin crosses, int32 [Q, 4], outward."""
    inside, number = np.moveaxis(inside, axis, 0), np.moveaxis(number, axis, 0)
    # After moveaxis the two other axes keep their order, which is a left-handed frame for y: its quads turn around.
    change = inside[:-1, 1:-1, 1:-1].astype(np.int8) - inside[1:, 1:-1, 1:-1]
    i, j, k = np.nonzero(change)
    quads = np.stack([number[i, j, k], number[i, j + 1, k], number[i, j + 1, k + 1], number[i, j, k + 1]], axis=1)
    turn = (change[i, j, k] > 0) == (axis == 1)
    quads[turn] = quads[turn, ::-1]
    return quads


def _largest(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected part with the most vertices."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(points),) * 2)
    _, label = csgraph.connected_components(graph, directed=False)
    keep = label == np.bincount(label).argmax()
    renumbered = np.cumsum(keep) - 1
    return points[keep], renumbered[faces[keep[faces[:, 0]]]].astype(np.int32)


def _along_the_skin(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices in an order in which nearly all are neighbours of the one before, as those of modelled bodies are in strips."""
    neighbours: list[set[int]] = [set() for _ in points]
    for a, b, c in faces.tolist():
        neighbours[a].update((b, c))
        neighbours[b].update((a, c))
        neighbours[c].update((a, b))
    order: list[int] = []
    ahead = [int(points[:, 1].argmax())]
    seen = [False] * len(points)
    while ahead:
        vertex = ahead.pop()
        if seen[vertex]:
            continue
        seen[vertex] = True
        order.append(vertex)
        # The one with the fewest free neighbours comes next (it is on the stack's top): the walk stays at the edge of what it has seen.
        free = [n for n in neighbours[vertex] if not seen[n]]
        ahead += sorted(free, key=lambda n: (-sum(not seen[m] for m in neighbours[n]), n))
    rank = np.empty(len(points), np.int64)
    rank[order] = np.arange(len(order))
    return points[order], rank[faces].astype(np.int32)


def _relax(points: np.ndarray, faces: np.ndarray, spacing: float) -> np.ndarray:
    """Brings points [V, 3] onto the skin, evenly spread."""
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = sparse.csr_matrix((np.ones(len(both)), both.T), shape=(len(points),) * 2)
    average = sparse.diags(1.0 / np.asarray(graph.sum(1)).ravel()) @ graph
    for _ in range(4):
        points = _project(0.4 * points + 0.6 * (average @ points), spacing)
    for _ in range(
        max(1, round((_SMOOTHING / spacing) ** 2))
    ):  # there and back (Taubin, 1995): rounds edges of a cell or two, shrinks nothing
        points = points + 0.5 * (average @ points - points)
        points = points - 0.53 * (average @ points - points)
    return points


def _project(points: np.ndarray, spacing: float) -> np.ndarray:
    """One step of Newton's method along the gradient to the zero level, at most half a cell long."""
    step = 1e-5
    here = level(points, spacing)
    gradient = np.stack([(level(points + step * axis, spacing) - here) / step for axis in np.eye(3)], 1)
    move = -(here / np.maximum((gradient**2).sum(1), 1e-2))[:, None] * gradient
    length = np.linalg.norm(move, axis=1, keepdims=True)
    return points + move * np.minimum(1.0, 0.5 * spacing / np.maximum(length, 1e-12))
