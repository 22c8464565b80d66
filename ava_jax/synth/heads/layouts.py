"""Procedural heads in another topology: the same surfaces, other vertices and another UV chart.

Each vertex is tied to a point of the procedural head's mesh, which the pictures show, and goes with it; each texel of the other chart
shows the surface point that it lies on.
"""

import functools
import pathlib

import numpy as np

from ava_jax.captures import transfer
from ava_jax.captures.transfer import Binding
from ava_jax.core.mesh import Topology, uv_barycentric
from ava_jax.data import mesh_files, obj_files
from ava_jax.synth.heads import geometry, standin
from ava_jax.synth.heads.geometry import Expression, Identity, Surface

STAND_IN = "other"  # instead of a path: the mesh of `standin`
_SNAP = 6.0  # mm from the procedural head within which a vertex that found it lies on it
_FACE = 85.0  # mm below the tip of the nose down to which a template keeps its proportions; its neck is fitted to the head's
_MIDDLE = 0.08  # of a head's width to each side, where the tip of the nose is looked for


class Layout:
    """A mesh that follows the procedural head, and its chart. There are few, which stay: what is cached of them is no leak."""

    def __init__(self, topology: Topology, binding: Binding):
        """`binding` ties each of the V vertices to the procedural head's mesh."""
        self.topology, self.binding = topology, binding

    def vertices(self, head: np.ndarray) -> np.ndarray:
        """Vertices f64 [V, 3], mm, on the procedural head's [P, 3]."""
        return self.binding.follow(head)

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def texels(self, size: int) -> tuple[Surface, np.ndarray, np.ndarray, np.ndarray]:
        """What the texels of a size x size texture show, flat.

        Returns:
          Their places on the generic head; how far the mesh there follows the jaw [Q]; the procedural head's vertices around them,
          int32 [Q, 3], and these one's weights, f64 [Q, 3].
        """
        index, weights = (x.reshape(-1, 3) for x in uv_barycentric(self.topology, size))
        s, own = geometry.vertex_surface(), geometry.topology()
        bare = np.stack([s.x, s.y, s.z], axis=-1)
        # Without its features the head has no folds, in which the nearest point could be of another part.
        points = np.einsum("qc,qcl->ql", weights, self.binding.on_surface(bare)[index])
        triangle, inside = transfer.nearest(points, bare, own.faces)
        spot = np.einsum("qc,qcl->ql", inside, own.uvs[own.face_uvs[triangle]].astype(np.float64))
        # Between vertices of both lips a triangle stretches when they part: as of the procedural head, the mesh says where.
        follows = self.binding.on_surface(geometry.jaw_weight(s)[:, None])[:, 0]
        return geometry.surface(*spot.T), (follows[index] * weights).sum(-1), own.faces[triangle], inside


@functools.lru_cache(maxsize=2)
def load(topology: str, template: str) -> Layout:
    """The layout of a mesh.

    Args:
      topology: path of an OBJ of a head with UVs, its y up and z to the front; or STAND_IN.
      template: path of a mesh with the OBJ's vertices (OBJ, PLY, or f32 numbers in rows of three: .bin); "" = the OBJ's own.

    Raises:
      ValueError: a file cannot be read, or they do not fit together.
    """
    if topology == STAND_IN:
        return Layout(*standin.mesh())
    path = pathlib.Path(topology).expanduser()
    vertices = _vertices(pathlib.Path(template).expanduser() if template else path)
    chart = mesh_files.read_topology(path, len(vertices))
    return Layout(chart, tied(chart, vertices))


def tied(topology: Topology, template: np.ndarray) -> Binding:
    """Ties a template's vertices [V, 3], of any unit, y up and z to the front, to the procedural head.

    The template is laid over the head by its crown, the tip of its nose and its lower end, then fitted. What lies inside of it, as the
    inside of a mouth, stays inside.
    """
    head, faces = generic_head(), geometry.topology().faces
    used = np.unique(topology.faces)
    start = np.asarray(template, np.float64).copy()
    start[used] = _laid_over(start[used], head)
    fitted, targeted = transfer.fit(start, topology.faces, head, faces)
    bound = transfer.bind(fitted, head, faces)
    off = np.linalg.norm(bound.offset, axis=1)
    offset = np.where((targeted & (off < _SNAP))[:, None], 0.0, bound.offset)
    loose = np.ones(len(start), bool)
    loose[used] = False
    offset[loose] = 0  # in no face: anywhere on the head
    return Binding(bound.corners, bound.weights, offset)


@functools.cache
def generic_head() -> np.ndarray:
    """The procedural head of nobody, at rest, f64 [P, 3], mm."""
    nobody = Identity(seed=0, shape=dict.fromkeys(geometry.SHAPE, 0.0), look={})
    return geometry.shape(nobody, Expression(), np.zeros(len(geometry.topology().uvs)))


def _laid_over(points: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Points of a template [Q, 3], moved so that crown, nose and lower end are those of `head` [P, 3]."""
    tip, goal = _nose(points), _nose(head)
    scale = (head[:, 1].max() - goal[1]) / max(points[:, 1].max() - tip[1], 1e-9)
    moved = (points - tip) * scale + goal
    end, low, chin = head[:, 1].min(), moved[:, 1].min(), goal[1] - _FACE
    below = moved[:, 1] < chin
    if low < end:
        moved[below, 1] = chin + (moved[below, 1] - chin) * (end - chin) / (low - chin)
    return moved


def _nose(points: np.ndarray) -> np.ndarray:
    """The foremost of the points [Q, 3] near the middle, [3]; its x is the middle."""
    middle = (points[:, 0].min() + points[:, 0].max()) / 2
    near = np.abs(points[:, 0] - middle) < _MIDDLE * np.ptp(points[:, 0])
    upper = points[:, 1] > points[:, 1].min() + 0.4 * np.ptp(points[:, 1])  # not the chest
    chosen = points[near & upper] if (near & upper).any() else points
    return np.array([middle, *chosen[chosen[:, 2].argmax(), 1:]])


def _vertices(path: pathlib.Path) -> np.ndarray:
    try:
        if path.suffix.lower() == ".obj":
            return obj_files.read(path).vertices.astype(np.float64)
        data = path.read_bytes()
    except OSError as e:
        raise ValueError(f"mesh {path}: cannot be read ({e}).") from e
    if path.suffix.lower() == ".bin":
        if len(data) % 12 or not len(data):
            raise ValueError(f"mesh {path}: must hold float32 numbers in rows of three; it has {len(data)} bytes.")
        vertices = np.frombuffer(data, "<f4").reshape(-1, 3)
    else:
        try:
            vertices = mesh_files.read_vertices(data)
        except ValueError as e:
            raise ValueError(f"mesh {path}: {e}.") from e
    if not np.isfinite(vertices).all():
        raise ValueError(f"mesh {path}: must have finite vertices.")
    return vertices.astype(np.float64)
