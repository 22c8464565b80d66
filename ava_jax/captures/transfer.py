"""Meshes of one topology carried by another: each point keeps its triangle, its weights there and how far it stands off.

A head that was tracked in a topology of its own gets the vertices of another one so: `fit` lays a mesh of the target topology over the
rig's neutral head once, `bind` ties each of its vertices to a triangle of that head, and `Binding.follow` gives its vertices in every
frame.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import sparse, spatial
from scipy.sparse import linalg

_CANDIDATES = 32  # triangles whose centres are nearest, among which the nearest triangle is: on heads, of even triangles, it always was
_AT_ONCE = 1 << 15  # points whose distances are computed together
STIFFNESS = (300.0, 100.0, 30.0, 10.0, 3.0)  # how much neighbours move alike, against a vertex's own target: 1
_ROUNDS = 4  # nearest points taken anew at each stiffness
_SAME_SIDE = 0.5  # cosine between normals, below which a nearest point is no target: it is of the other lip, or outside of a mouth


@dataclasses.dataclass(frozen=True)
class Binding:
    """Points tied to a mesh.

    Attributes:
      corners: int32 [P, 3], vertices of each point's triangle.
      weights: f64 [P, 3], of the point on the triangle that is nearest.
      offset: f64 [P, 3], mm, from there to the point, along the triangle's first edge, across it, and along its normal.
    """

    corners: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    def on_surface(self, vertices: np.ndarray) -> np.ndarray:
        """The nearest points [P, 3] on a mesh [V, 3]; or of any values [V, C] of its vertices, [P, C]."""
        return np.einsum("pc,pcl->pl", self.weights, vertices[self.corners])

    def follow(self, vertices: np.ndarray) -> np.ndarray:
        """The points f64 [P, 3], mm, on a mesh [V, 3] in any pose or expression."""
        frame = _frames(np.asarray(vertices, np.float64)[self.corners])
        return self.on_surface(np.asarray(vertices, np.float64)) + np.einsum("pij,pj->pi", frame, self.offset)


def bind(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> Binding:
    """Ties points [P, 3] to the mesh of `vertices` [V, 3], in their unit, and `faces` int [M, 3]."""
    points, vertices = np.asarray(points, np.float64), np.asarray(vertices, np.float64)
    triangle, weights = nearest(points, vertices, faces)
    corners = np.asarray(faces, np.int32)[triangle]
    away = points - np.einsum("pc,pcl->pl", weights, vertices[corners])
    return Binding(corners, weights, np.einsum("pij,pi->pj", _frames(vertices[corners]), away))


def nearest(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest point of a mesh to each of `points`.

    Looked for among the triangles whose centres are nearest, which is exact where triangles next to each other are of like size.

    Args:
      points: [P, 3].
      vertices: [V, 3]; faces: int [M, 3].

    Returns:
      Triangle int [P] and its corners' weights f64 [P, 3].

    Raises:
      ValueError: there are no faces, or coordinates are not finite.
    """
    points, triangles = np.asarray(points, np.float64), np.asarray(vertices, np.float64)[faces]
    if not len(triangles) or not np.isfinite(points).all() or not np.isfinite(triangles).all():
        raise ValueError(f"nearest: needs finite points and a mesh with faces; got {len(points)} points and {len(triangles)} faces.")
    tree = spatial.cKDTree(triangles.mean(1))
    count = min(_CANDIDATES, len(triangles))
    which, weights = np.zeros(len(points), np.int64), np.zeros((len(points), 3))
    for start in range(0, len(points), _AT_ONCE):
        part = points[start : start + _AT_ONCE]
        candidates = tree.query(part, k=count)[1].reshape(len(part), count)
        found = _nearest_weights(part[:, None], triangles[candidates])
        reached = np.einsum("pkc,pkcl->pkl", found, triangles[candidates])
        best = np.square(reached - part[:, None]).sum(-1).argmin(1)
        rows = np.arange(len(part))
        which[start : start + len(part)], weights[start : start + len(part)] = candidates[rows, best], found[rows, best]
    return which, weights


def fit(
    template: np.ndarray,
    faces: np.ndarray,
    vertices: np.ndarray,
    onto_faces: np.ndarray,
    *,
    landmarks: tuple[Sequence[int], np.ndarray] | None = None,
    stiffness: Sequence[float] = STIFFNESS,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves a mesh onto another without folds: nearest points as targets, displacements that neighbours have in common, less and less so.

    Vertices without a target, as those inside of a mouth, and those whose nearest point lies on the other mesh's border, as those of a
    longer neck, go with their neighbours.

    Args:
      template: [T, 3], mm, roughly in its position already.
      faces: int [F, 3], of the template.
      vertices: [V, 3], mm, of the mesh to reach; onto_faces: int [M, 3].
      landmarks: vertices of the template, and the points [L, 3] that they must reach.
      stiffness: one after another.

    Returns:
      The template's vertices f64 [T, 3], and which of them have a target, bool [T].
    """
    rest, vertices = np.asarray(template, np.float64), np.asarray(vertices, np.float64)
    moved, targeted = rest.copy(), np.zeros(len(rest), bool)
    smooth = _laplacian(faces, len(rest))
    onto_normals, border = _normals(vertices, onto_faces), _border(onto_faces, len(vertices))
    for level in stiffness:
        for _ in range(_ROUNDS):
            triangle, weights = nearest(moved, vertices, onto_faces)
            corners = onto_faces[triangle]
            target = np.einsum("pc,pcl->pl", weights, vertices[corners])
            there = np.einsum("pc,pcl->pl", weights, onto_normals[corners])
            on_border = (weights * border[corners]).sum(1) > 1 - 1e-6
            targeted = (np.einsum("pi,pi->p", there, _normals(moved, faces)) > _SAME_SIDE) & ~on_border
            strength = targeted.astype(np.float64)
            if landmarks is not None:
                chosen = np.asarray(landmarks[0])
                strength[chosen], target[chosen] = 100.0, landmarks[1]
            # Vertices in no face have neither neighbours nor a target: the small weight keeps them.
            system = sparse.diags(strength + 1e-6) + level * smooth
            moved = rest + linalg.spsolve(system.tocsc(), strength[:, None] * (target - rest))
    return moved, targeted


def _nearest_weights(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Weights [P, K, 3] of the points of triangles [P, K, 3, 3] that are nearest to `points` [P, 1, 3]."""
    a, b, c = (triangles[..., i, :] for i in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d1, d2, d3 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    e1, e2 = (ab * ap).sum(-1), (ac * ap).sum(-1)
    area = np.maximum(d1 * d3 - d2 * d2, 1e-300)
    v, w = (d3 * e1 - d2 * e2) / area, (d1 * e2 - d2 * e1) / area
    inside = np.stack([1 - v - w, v, w], axis=-1)
    outside = (inside < 0).any(-1)
    best = inside
    least = np.where(outside, np.inf, 0.0)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        p, q = triangles[..., first, :], triangles[..., second, :]
        edge = q - p
        along = np.clip(((points - p) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-300), 0, 1)
        distance = np.square(p + along[..., None] * edge - points).sum(-1)
        closer = outside & (distance < least)
        weights = np.zeros_like(inside)
        weights[..., first], weights[..., second] = 1 - along, along
        best, least = np.where(closer[..., None], weights, best), np.where(closer, distance, least)
    return best


def _frames(triangles: np.ndarray) -> np.ndarray:
    """Of triangles [P, 3, 3], [P, 3, 3], columns: along the first edge, across it, and the normal; the world's axes where there is none."""
    along, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    normal = np.cross(along, other)
    sizes = np.linalg.norm(along, axis=1), np.linalg.norm(normal, axis=1)
    sound = (sizes[0] > 1e-9) & (sizes[1] > 1e-9)
    along = along / np.where(sound, sizes[0], 1)[:, None]
    normal = normal / np.where(sound, sizes[1], 1)[:, None]
    return np.where(sound[:, None, None], np.stack([along, np.cross(normal, along), normal], axis=-1), np.eye(3))


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of vertices, by the winding of the faces [V, 3], unit; 0 where a vertex is in no face."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, i], 3), len(vertices)) for i in range(3)], axis=-1)
    return total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)


def _edges(faces: np.ndarray) -> np.ndarray:
    """Both ends of each side of each face, int [3 M, 2], the smaller first."""
    return np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)


def _laplacian(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    """Degree minus neighbours [V, V]."""
    edges = np.unique(_edges(faces), axis=0)
    ends = np.concatenate([edges, edges[:, ::-1]])
    joined = sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return sparse.diags(np.asarray(joined.sum(1)).ravel()) - joined


def _border(faces: np.ndarray, count: int) -> np.ndarray:
    """Which vertices [V] lie on an edge of one face alone: 1.0, else 0.0."""
    edges, times = np.unique(_edges(faces), axis=0, return_counts=True)
    border = np.zeros(count)
    border[edges[times == 1]] = 1.0
    return border
