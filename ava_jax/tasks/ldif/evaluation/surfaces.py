"""How near two surfaces are: F-scores, Chamfer distance, normal consistency, of points drawn from both.

As the published evaluation has them (Genova et al., Local Deep Implicit Functions for 3D Shape, 2020, and its code): 100,000 points of each
surface, distances squared and in the unit of the meshes as they are given.
"""

from typing import NamedTuple

import numpy as np

SAMPLES = 100_000  # of each surface
TAU = 1e-4  # squared distance within which a point counts as found; the second F-score takes twice that
_TINY = 1e-9
_SEEDS = (0, 1)  # of the truth's samples and the other's


class Points(NamedTuple):
    """Points of a surface: places and unit normals of the faces that they lie on, f64 [P, 3] each."""

    places: np.ndarray
    normals: np.ndarray


class Nearness(NamedTuple):
    """How near a surface is to the true one.

    Attributes:
      f_score, f_score_2: percent; harmonic mean of how many points of each surface have one of the other within a squared distance of TAU,
        and of 2 TAU.
      chamfer: 1000 times the mean squared distance to the nearest point, both directions added.
      normal_consistency: 0..1; mean cosine between the normals of nearest points, without sign, mean of both directions.
    """

    f_score: float
    f_score_2: float
    chamfer: float
    normal_consistency: float


def sample(vertices: np.ndarray, faces: np.ndarray, count: int = SAMPLES, *, seed: int) -> Points:
    """Points of a surface, uniform by area.

    Args:
      vertices: [V, 3].
      faces: int [F, 3].
      count: of points.
      seed: of the draw.

    Raises:
      ValueError: the faces have no area.
    """
    corners = np.asarray(vertices, np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    twice = np.linalg.norm(normals, axis=1)
    ends = np.cumsum(twice)
    if not (len(ends) and np.isfinite(ends[-1]) and ends[-1] > 0):
        raise ValueError("a surface without area, or with numbers that are not finite, cannot be compared.")
    rng = np.random.default_rng(seed)
    # Sorted, so that neighbours in memory are neighbours in space: trees are built and asked faster.
    which = np.searchsorted(ends, np.sort(rng.random(count)) * ends[-1], side="right").clip(max=len(ends) - 1)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    a, b, c = np.moveaxis(corners[which], 1, 0)
    return Points(a + u * (b - a) + v * (c - a), normals[which] / twice[which, None])


def of_meshes(found: tuple[np.ndarray, np.ndarray], true: tuple[np.ndarray, np.ndarray], count: int = SAMPLES) -> Nearness:
    """How near a mesh is to the true one; each is (vertices [V, 3], faces [F, 3]). Raises as `sample`."""
    return of_points(sample(*found, count, seed=_SEEDS[1]), sample(*true, count, seed=_SEEDS[0]))


def of_points(found: Points, true: Points) -> Nearness:
    """How near points of a surface are to those of the true one, [P, 3] and [Q, 3]."""
    from pykdtree.kdtree import KDTree  # exact; several times as fast as SciPy's

    # The tree is of float32: the truth goes to the origin and to a size of 1 first, wherever its file has it.
    low, high = true.places.min(0), true.places.max(0)
    scale = float((high - low).max())
    places = [((points.places - (low + high) / 2) / scale).astype(np.float32) for points in (found, true)]
    squared, cosines = [], []
    for own, other in ((0, 1), (1, 0)):
        distance, nearest = KDTree(places[other]).query(places[own], sqr_dists=True)
        squared.append(distance.astype(np.float64) * scale**2)
        cosines.append(np.abs(((found, true)[own].normals * (found, true)[other].normals[nearest]).sum(1)).mean())
    scores = [_harmonic(*(100 * float((part <= tau).mean()) for part in squared)) for tau in (TAU, 2 * TAU)]
    return Nearness(*scores, 1000 * float(squared[0].mean() + squared[1].mean()), float(np.mean(cosines)))


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b + _TINY)
