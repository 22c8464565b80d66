"""UV charts held against what a model makes of them: a primitive sits on each cell of the chart, and reads one surface there.

A model trains on any chart, and says nothing when half of a head has no primitives (mirrored halves on the same texels), when most
of them sit on the scalp, or when a mesh sticks out of the volume. All of that can be seen in the topology and one mesh, in a second.
"""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from ava_jax.core import zbuffer
from ava_jax.core.mesh import Topology, uv_barycentric

FACE_RADIUS = 90.0  # mm around the tip of the nose: eyes, mouth, chin and most of the forehead and the cheeks
FEW_ON_FACE = 0.15  # of the primitives; the registered chart has 0.22, the procedural heads' 0.27, a stand-in with eyeballs 0.24
MOST_OUTSIDE = 0.01  # of the faces with a corner outside of 0..1: a stray one is told, more are refused
MOST_OVERLAP = 0.1  # of the covered texels: the registered chart has 1e-5
_TOLD_OVERLAP = 0.002
_TOLD_TURNED = 0.005  # of the chart's area
_TOLD_EMPTY = 0.4  # of the cells
_TOLD_OUT = 0.001  # of the vertices
LEAP = 5.0  # times the median distance of a primitive to the next: at necks it is 3.5
_SIDE = 1024  # texels of a side that coverage is looked at with
_EDGE = 1e-4  # by which UVs may leave 0..1, as files round them
_INSIDE = 1e-5  # weights above which a texel's centre is within a triangle, and not on an edge that it has in common with another
_NOSE_BELT, _NOSE_LEVELS = 0.08, (0.35, 0.9)  # of a head's width to each side of its middle, and of its height, where its nose is


@dataclasses.dataclass(frozen=True)
class Chart:
    """What a chart does with the primitives of a model.

    Attributes:
      vertices, uvs, faces: how many the topology has.
      loose: vertices in no face.
      islands: of the chart.
      outside: fraction of the faces that have a corner outside of 0..1.
      covered: fraction of the texels in a triangle.
      overlap: fraction of the covered texels that are in several.
      turned: fraction of the chart's area that is mirrored against the rest.
      touching: fraction of the covered texels that are next to one of another island: no texel of gutter between them.
      cells: primitives, all.
      on_face, on_rest, empty: fractions of them whose middle shows the face, the rest of the head, nothing.
      across: fraction of them whose next one, right or below, shows another part of the head: it is LEAP times as far as the median.
      face_mm, rest_mm: sides of the squares that a primitive stands for, mm, on the face and on the rest; NaN where there is none.
      out_of_volume: fraction of the vertices in faces that lie outside of the volume, which is not rendered.
    """

    vertices: int
    uvs: int
    faces: int
    loose: int
    islands: int
    outside: float
    covered: float
    overlap: float
    turned: float
    touching: float
    cells: int
    on_face: float
    on_rest: float
    empty: float
    across: float
    face_mm: float
    rest_mm: float
    out_of_volume: float

    def line(self) -> str:
        """What there is, in a line."""
        return (
            f"{self.vertices} vertices ({self.loose} in no face), {self.uvs} UVs, {self.islands} island{'s' * (self.islands != 1)}; of "
            f"{self.cells} primitives {self.on_face:.0%} on the face ({self.face_mm:.1f} mm each), {self.on_rest:.0%} on the rest "
            f"({self.rest_mm:.1f} mm), {self.empty:.0%} on no surface; {self.across:.1%} beside another part of the head"
        )

    def doubts(self) -> list[str]:
        """What is probably not meant, a line each."""
        found = []
        if self.on_face < FEW_ON_FACE:
            found.append(
                f"{self.on_face:.0%} of the primitives are on the face, {self.on_rest:.0%} on the rest and {self.empty:.0%} on no surface: "
                "enlarge the face on the UV chart, or the model spends itself on the scalp."
            )
        elif self.empty > _TOLD_EMPTY:
            found.append(f"{self.empty:.0%} of the primitives are on no surface: let the islands fill the UV chart.")
        if self.outside > 0:
            found.append(f"{self.outside:.2%} of the faces have UVs outside of 0..1, where there is no texture.")
        if self.overlap > _TOLD_OVERLAP:
            found.append(f"islands overlap on {self.overlap:.1%} of the UV chart: of faces on the same texels the first alone is modelled.")
        if self.turned > _TOLD_TURNED:
            found.append(
                f"{self.turned:.1%} of the UV chart is mirrored: primitives there look inwards, and start empty where they should be dense."
            )
        if self.touching > 0 and self.islands > 1:
            found.append(f"islands touch on {self.touching:.2%} of the UV chart: leave a texel between them, or colours run across.")
        if self.out_of_volume > _TOLD_OUT:
            found.append(
                f"{self.out_of_volume:.1%} of the mesh lies outside of the volume, which is config.model.volume_radius to each side of the "
                "head's origin, and is not rendered: cut the mesh below the neck, or set a larger radius."
            )
        return found


def measure(topology: Topology, vertices: np.ndarray, *, per_side: int, volume_radius: float = 256.0) -> Chart:
    """Looks at a chart.

    Args:
      topology: whose.
      vertices: [V, 3], mm, head space: the mean or the neutral mesh of someone.
      per_side: primitives on a side of the chart.
      volume_radius: mm.

    Raises:
      ValueError: no triangle of the chart covers any texel, or the mesh has fewer vertices than the faces name.
    """
    vertices = np.asarray(vertices, np.float64)
    if len(vertices) < topology.vertices_used:
        raise ValueError(f"measure: the faces name {topology.vertices_used} vertices; got a mesh of {len(vertices)}.")
    used, island = np.unique(topology.faces), _islands(topology)
    texel_of, which, overlap = _coverage(topology)
    area = _uv_areas(topology)
    edges, both = _differences(np.where(which >= 0, island[np.maximum(which, 0)], -1))
    cell = _cells(topology, vertices, which, per_side)
    out = np.abs(vertices[used]).max(1) > volume_radius
    main = np.sign(area.sum()) or 1.0
    return Chart(
        vertices=len(vertices),
        uvs=len(topology.uvs),
        faces=len(topology.faces),
        loose=len(vertices) - len(used),
        islands=len(np.unique(island)),
        outside=float(_outside(topology).mean()),
        covered=texel_of / _SIDE**2,
        overlap=overlap / max(texel_of, 1),
        turned=float(np.abs(area[np.sign(area) == -main]).sum() / max(np.abs(area).sum(), 1e-12)),
        touching=edges / max(both, 1),
        cells=per_side**2,
        out_of_volume=float(out.mean()),
        **cell,
    )


def require(topology: Topology, name: str) -> None:
    """Refuses a chart that a model cannot be trained on in earnest.

    Args:
      topology: whose.
      name: what the message calls it, as a path.

    Raises:
      ValueError: over MOST_OUTSIDE of its faces have UVs outside of 0..1, or over MOST_OVERLAP of it is covered several times.
    """
    outside = float(_outside(topology).mean())
    if outside > MOST_OUTSIDE:
        low, high = topology.uvs[np.unique(topology.face_uvs)][:, [0, 1]].min(), topology.uvs[np.unique(topology.face_uvs)].max()
        raise ValueError(
            f"{name}: UVs must lie in 0..1; {outside:.0%} of the faces have others ({low:.3g} to {high:.3g}): move the islands of all "
            "tiles (UDIMs) into one, or scale pixels to 0..1."
        )
    covered, _, overlap = _coverage(topology)
    if covered and overlap > MOST_OVERLAP * covered:
        raise ValueError(
            f"{name}: islands of the UV chart overlap on {overlap / covered:.0%} of it, as mirrored halves do; a texel must show one point "
            "of the surface: pack the islands apart, and unwrap the textures anew."
        )


def shown(topology: Topology, vertices: np.ndarray, size: int) -> np.ndarray:
    """What each texel of a size x size texture shows of a mesh [V, 3], mm, head space: 0 nothing, 1 the head, 2 its face; u8 [S, S]."""
    _, which, _ = _coverage(topology, size)
    index, weights = uv_barycentric(topology, size)
    at = np.einsum("ijc,ijcl->ijl", weights, np.asarray(vertices, np.float64)[index])
    near = np.linalg.norm(at - nose_tip(np.asarray(vertices)[np.unique(topology.faces)]), axis=-1) < FACE_RADIUS
    return np.where(which < 0, 0, np.where(near, 2, 1)).astype(np.uint8)


def _islands(topology: Topology) -> np.ndarray:
    """Of faces [M], the number of the island; islands are joined by UVs that faces have in common."""
    corners, count = topology.face_uvs, len(topology.uvs)
    ends = np.concatenate([corners[:, :2], corners[:, 1:]])
    joined = sparse.coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return csgraph.connected_components(joined, directed=False)[1][corners[:, 0]]


def _outside(topology: Topology) -> np.ndarray:
    """Which faces [M] have a corner outside of 0..1."""
    uvs = topology.uvs[topology.face_uvs]
    return ((uvs < -_EDGE) | (uvs > 1 + _EDGE)).any((1, 2))


def _coverage(topology: Topology, size: int = _SIDE) -> tuple[int, np.ndarray, int]:
    """Covered texels; the first face of each, [S, S], -1: none; texels within several faces."""
    corners = topology.uvs.astype(np.float64)[topology.face_uvs] * size
    corners[..., 1] = size - corners[..., 1]
    face, texel, weights = zbuffer.cover(corners - 0.5, size, size)
    which = np.full(size * size, -1)
    which[texel[::-1]] = face[::-1]
    within = np.bincount(texel[(weights > _INSIDE).all(1)], minlength=size * size)
    return int((which >= 0).sum()), which.reshape(size, size), int((within > 1).sum())


def _uv_areas(topology: Topology) -> np.ndarray:
    """Signed, of the faces on the chart [M]."""
    uvs = topology.uvs[topology.face_uvs].astype(np.float64)
    ab, ac = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    return 0.5 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])


def _differences(label: np.ndarray) -> tuple[int, int]:
    """Texels of a map [S, S] that are next to one of another island, and those in any."""
    beside = np.zeros(label.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        other = (label[a] != label[b]) & (label[a] >= 0) & (label[b] >= 0)
        beside[a] |= other
        beside[b] |= other
    return int(beside.sum()), int((label >= 0).sum())


def _cells(topology: Topology, vertices: np.ndarray, which: np.ndarray, per_side: int) -> dict[str, float]:
    """Fields of `Chart` on the primitives; `which` as from `_coverage`."""
    step = len(which) // per_side
    middle = which[step // 2 :: step, step // 2 :: step][:per_side, :per_side]
    there = middle >= 0
    index, weights = (x[step // 2 :: step, step // 2 :: step][:per_side, :per_side] for x in uv_barycentric(topology, len(which)))
    at = np.einsum("ijc,ijcl->ijl", weights, vertices[index])
    nose = nose_tip(vertices[np.unique(topology.faces)])
    face = there & (np.linalg.norm(at - nose, axis=-1) < FACE_RADIUS)
    right, below = np.zeros(there.shape), np.zeros(there.shape)
    right[:, :-1], below[:-1] = (np.linalg.norm(np.diff(at, axis=axis), axis=-1) for axis in (1, 0))
    farther = np.maximum(right, below)
    corners = vertices[topology.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    near = np.linalg.norm(corners.mean(1) - nose, axis=-1) < FACE_RADIUS
    rest = there & ~face
    return {
        "on_face": float(face.mean()),
        "on_rest": float(rest.mean()),
        "empty": float((~there).mean()),
        "across": float((farther > LEAP * np.median(farther)).mean()),
        "face_mm": float(np.sqrt(area[near].sum() / face.sum())) if face.any() else float("nan"),
        "rest_mm": float(np.sqrt(area[~near].sum() / rest.sum())) if rest.any() else float("nan"),
    }


def nose_tip(points: np.ndarray) -> np.ndarray:
    """The foremost point [3] around the middle of a head [P, 3], y up and z to the front; its x is the middle."""
    low, size = points.min(0), np.ptp(points, axis=0)
    middle = low[0] + size[0] / 2
    height = (points[:, 1] - low[1]) / max(size[1], 1e-9)
    near = (np.abs(points[:, 0] - middle) < _NOSE_BELT * size[0]) & (height > _NOSE_LEVELS[0]) & (height < _NOSE_LEVELS[1])
    chosen = points[near] if near.any() else points
    return np.array([middle, *chosen[chosen[:, 2].argmax(), 1:]])
