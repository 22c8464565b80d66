"""Calibrations held against photographs: whether a mesh, coloured by its texture, has the colours of the images that it falls on.

A rig that looks at the world's origin shows the head in its images under wrong rotations too, only from other sides. The colours tell:
under the right ones hair falls on hair and lips on lips. A few cameras of a capture are enough, as a convention is of them all.
"""

from collections.abc import Collection, Sequence

import numpy as np

from ava_jax.captures import projection, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.projection import Reference
from ava_jax.core.mesh import Topology, first_uv_of_vertex
from ava_jax.data import images
from ava_jax.data.archive import Archives

_CAMERAS = 6  # of a capture that are looked at
_HEIGHT, _TEXELS = 256, 256  # pixels of an image, texels of a texture: enough for what a vertex shows
_BETTER = 0.08  # by which another reading's correlation must be higher; sound captures: 0.78 to 0.94, the next reading 0.12 or more below
_MOST_CAPTURES = 4  # the first ones: 0.2 s each
_FEWEST = 100  # vertices that a camera must see
_FACING = 0.3  # cosine of the angle between a surface and the way to the camera, under which it is not looked at


def doubts(archives: Archives, captures: Sequence[Capture], topology: Topology, cameras: Collection[str], *, threads: int = 8) -> list[str]:
    """Looks at the first captures; a line for each that its colours speak against.

    Args:
      archives: the captures' zips.
      captures: all of a run.
      topology: of their meshes.
      cameras: ids of those whose images may be looked at.
      threads: that read zips' directories.

    Raises:
      ValueError: none of the images that were looked at can be read; or as `projection.reference`.
    """
    lines, unreadable = [], []
    for capture in captures[:_MOST_CAPTURES]:
        found = projection.reference(archives, capture, threads=threads)
        try:
            lines += filter(None, [doubt(archives, capture, found, topology, cameras)])
        except reading.Unreadable as e:
            unreadable.append(str(e))
    if unreadable and len(unreadable) == len(captures[:_MOST_CAPTURES]):
        raise ValueError(f"{unreadable[0]}. No other image or texture that was looked at can be read either.")
    return lines + unreadable


def doubt(archives: Archives, capture: Capture, found: Reference, topology: Topology, cameras: Collection[str]) -> str:
    """A line on the reading of a calibration's numbers under which colours fit far better than as they stand; "" where there is none.

    Args:
      archives: the capture's zips.
      capture: whose calibration.
      found: a frame's mesh.
      topology: of the mesh.
      cameras: ids of those whose images may be looked at.

    Raises:
      ValueError: a zip is missing or not whole.
      Unreadable: the texture cannot be decoded, or none of the images that are there.
    """
    vertices = np.unique(topology.faces)
    known = np.flatnonzero(np.isin(capture.cameras, list(cameras)))
    if not len(known):
        return ""
    chosen = known[np.unique(np.linspace(0, len(known) - 1, _CAMERAS).round().astype(int))]
    texture = reading.decoded(archives, capture.texture, found.frame, lambda data: images.decode(data, (_TEXELS, _TEXELS)))
    photographs = _photographs(archives, capture, chosen.tolist(), found.frame)
    if not photographs:
        return ""
    uvs = first_uv_of_vertex(topology, len(found.points))[vertices]
    colours = _colours(texture, uvs)
    normals = _normals(found.points, topology.faces)[vertices]
    seen = {"": (found.points, capture.rotation, capture.translation)}
    seen |= {words: (points, rotation, translation) for words, points, rotation, translation in projection.readings(found, capture)}
    scores: dict[str, float] = {}
    upside_down = [
        _fit(points[vertices], normals, _colours(texture[::-1], uvs), capture, c, rotation[c], translation[c], photographs[c])
        for points, rotation, translation in [seen[""]]
        for c in photographs
    ]
    for words, (points, rotation, translation) in seen.items():
        if words and projection.inside(points[vertices], capture, rotation[chosen], translation[chosen], chosen)[0].mean() < 0.9:
            continue
        each = [_fit(points[vertices], normals, colours, capture, c, rotation[c], translation[c], photographs[c]) for c in photographs]
        scores[words] = float(np.mean(each))
    best = max(scores, key=scores.get)
    turned = float(np.mean(upside_down))
    if turned >= scores[best] + _BETTER:
        return (
            f"{capture.texture}: the texture fits the images upside down (correlation {turned:.2f}, as it is {scores['']:.2f}): rows must "
            "run from v = 1 down. Turn the textures over, or write 1 - v in the topology's UVs."
        )
    if scores[best] < scores[""] + _BETTER:
        return ""
    return (
        f"{capture.calibration}: the face falls inside the images, but its colours are elsewhere (correlation {scores['']:.2f}); "
        f"they fit with {best} ({scores[best]:.2f}): is that meant? ava train --check draws it."
    )


def _colours(texture: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """Of a texture [T, T, 3], rows from v = 1 down, at uvs [P, 2]: f64 [P, 3]."""
    column, row = (uvs * [1, -1] + [0, 1]).T * _TEXELS
    return texture[np.clip(row, 0, _TEXELS - 1).astype(int), np.clip(column, 0, _TEXELS - 1).astype(int)].astype(np.float64)


def _photographs(archives: Archives, capture: Capture, cameras: Sequence[int], frame: int) -> dict[int, np.ndarray]:
    """Images of a frame by camera, u8 [H, W, 3], of those cameras that have one.

    Raises:
      Unreadable: none of them can be decoded.
    """
    size = capture.image_size(max(1, capture.sensor[0] // _HEIGHT))
    found: dict[int, np.ndarray] = {}
    faults: list[reading.Unreadable] = []
    for camera in cameras:
        path = capture.image(capture.cameras[camera])
        if not archives.has(path, frame):
            continue
        try:
            found[camera] = reading.decoded(archives, path, frame, lambda data: images.decode(data, size, whole=capture.sensor))
        except reading.Unreadable as e:
            faults.append(e)
    if faults and not found:
        raise faults[0]
    return found


def _normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of vertices, f64 [V, 3], outwards; 0 where a vertex is in no face."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for i in range(3):
        np.add.at(normals, faces[:, i], across)
    outwards = np.sign(np.einsum("vi,vi->", normals, points - points[np.unique(faces)].mean(0)))
    return outwards * normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def _fit(
    points: np.ndarray,
    normals: np.ndarray,
    colours: np.ndarray,
    capture: Capture,
    camera: int,
    rotation: np.ndarray,
    translation: np.ndarray,
    photograph: np.ndarray,
) -> float:
    """Correlation of the colours of vertices that face a camera with those that it sees there; 0 where these are too few."""
    height, width = photograph.shape[:2]
    local = points @ rotation.T + translation
    to_camera = -rotation.T @ translation - points
    facing = np.einsum("vi,vi->v", normals, to_camera) > _FACING * np.linalg.norm(to_camera, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixel = local[:, :2] / local[:, 2:] * capture.focal[camera] + capture.principal[camera]
        column, row = np.nan_to_num((pixel + 0.5) * [width / capture.sensor[1], height / capture.sensor[0]], nan=-1.0).T
    visible = facing & (local[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    if visible.sum() < _FEWEST:
        return 0.0
    shown = photograph[row[visible].astype(int), column[visible].astype(int)].astype(np.float64)
    a, b = colours[visible] - colours[visible].mean(0), shown - shown.mean(0)
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-12))
