"""Scores of reconstructed surfaces: of the mesh that an example was made of, in that mesh's own place and unit."""

import importlib.util
import pathlib

import numpy as np
from ml_collections import ConfigDict

from ava_jax.ops.implicit import DecoderWeights, Elements
from ava_jax.tasks.base import Score
from ava_jax.tasks.ldif.apps import surface as surface_of
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.apps.surface import Surface
from ava_jax.tasks.ldif.data import examples, meshes, source
from ava_jax.tasks.ldif.data.meshes import Mesh
from ava_jax.tasks.ldif.evaluation import surfaces

RESOLUTION = 256  # published
IOU = Score("iou", True, "%", digits=1, what="of the uniform samples")
SCORES = (
    Score("f_score", True, "%", digits=1, what="points within a squared distance of 1e-4, of either surface"),
    Score("f_score_2tau", True, "%", digits=1, what="points within a squared distance of 2e-4"),
    Score("chamfer", False, digits=3, what="1000 x mean squared distance, both directions added"),
    Score("normal_consistency", True, digits=3, what="mean cosine between nearest normals, without sign"),
)
EVERY = (IOU, *SCORES)
_TINY = 1e-5


class SurfaceScores:
    """Surfaces of an evaluation's predictions."""

    def __init__(self, config: ConfigDict, decoder: DecoderWeights | None) -> None:
        """Of a run.

        Args:
          config: the whole experiment's; `eval.resolution` is of the grid.
          decoder: the trained one, of LDIF.

        Raises:
          ValueError: what meshes are made and compared with is not installed.
        """
        require()
        self._config, self._decoder = config, decoder
        self._examples = source.every(config)
        self._surfaces: dict[int, Surface] = {}  # of the last batch
        self.resolution = config.eval.get("resolution", RESOLUTION)
        self.without = 0  # examples whose mesh is not there
        self.spheres = 0  # predictions without a surface
        self.sides: list[float] = []  # the longest of each true mesh

    def score(self, elements: Elements, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Scores of a batch.

        Args:
          elements: NumPy, [B, N, ...].
          numbers: int [B], examples by their place in `source.every`.

        Returns:
          name of SCORES -> f64 [B]; NaN where an example's mesh is not there.

        Raises:
          ValueError: a mesh, or the matrix beside it, cannot be read.
        """
        self._surfaces = {}
        found: dict[int, tuple[float, ...]] = {}
        for at, number in enumerate(int(number) for number in numbers):  # a last batch is filled up with copies
            if number not in found:
                found[number] = self._one(Elements(*(part[at] for part in elements)), number)
        rows = np.array([found[int(number)] for number in numbers])
        return {score.name: rows[:, at] for at, score in enumerate(SCORES)}

    def surface(self, number: int) -> Surface | None:
        """Of an example of the batch that was scored last, in its mesh's place and unit."""
        return self._surfaces.get(number)

    def lines(self) -> tuple[str, ...]:
        """What a protocol says of them."""
        at = f"surfaces: a grid of {self.resolution} points per side over +-0.75, {surfaces.SAMPLES:,} points of each mesh, its own unit"
        long = [f"true meshes: longest side {np.median(self.sides):.3g} in the median"] if self.sides else []
        gone = [f"{self.without} examples without their original mesh have no surface scores"] if self.without else []
        round_ = [f"{self.spheres} predictions have no surface: a sphere is scored instead, as published"] if self.spheres else []
        return (at, *long, *gone, *round_)

    def _one(self, elements: Elements, number: int) -> tuple[float, ...]:
        folder = self._examples[number].folder
        to_original = np.linalg.inv(matrix_of(folder))
        found = surface_of.extract(shape_of(self._config, elements, self._decoder), self.resolution)
        self.spheres += not found.crosses
        vertices = found.vertices @ to_original[:3, :3].T + to_original[:3, 3]
        self._surfaces[number] = found._replace(vertices=vertices.astype(np.float32))
        path = mesh_of(folder)
        if path is None:
            self.without += 1
            return (np.nan,) * len(SCORES)
        true = meshes.read(path)
        self.sides.append(float(np.ptp(true.vertices, axis=0).max()))
        return tuple(surfaces.of_meshes((vertices, found.faces), (true.vertices, true.faces)))


def iou(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Intersection over union, percent, of what is inside, bool [..., P]: 100 n / (u + 1e-5)."""
    return 100 * (found & true).sum(-1) / ((found | true).sum(-1) + _TINY)


def reach(times: int) -> float:
    """How far apart points may be that an F-score counts as the same, of `times` TAU."""
    return float(np.sqrt(times * surfaces.TAU))


def of_meshes(found: Mesh, true: Mesh, *, unit: bool = False) -> tuple[dict[str, float], float]:
    """Scores of a mesh against the true one.

    Args:
      found, true: in one place and unit.
      unit: the truth's longest side is made 1.

    Returns:
      name of EVERY -> value; and how long the truth's longest side is, then.

    Raises:
      ValueError: a mesh has no area.
    """
    normalization = meshes.normalization(true)
    points = np.random.default_rng(0).uniform(-meshes.HALF_SIDE, meshes.HALF_SIDE, (surfaces.SAMPLES, 3))
    inside = [meshes.signed_distances(meshes.moved(mesh, normalization), points) < 0 for mesh in (found, true)]
    side = float(np.ptp(true.vertices, axis=0).max())
    scale = 1 / side if unit else 1.0
    near = surfaces.of_meshes(*((mesh.vertices * scale, mesh.faces) for mesh in (found, true)))
    values = (float(iou(*inside)), *near)
    return {score.name: value for score, value in zip(EVERY, values)}, side * scale


def require() -> None:
    """Raises ValueError where the packages are not installed that surfaces are made and compared with."""
    if missing := [name for name in ("skimage", "trimesh", "pykdtree") if importlib.util.find_spec(name) is None]:
        raise ValueError(f"comparing surfaces needs {' and '.join(missing)}: pip install 'ava-jax[ldif]'.")


def shape_of(config: ConfigDict, elements: Elements, decoder: DecoderWeights | None) -> Shape:
    """The shape of a prediction: of LDIF with the published cut of Gaussians."""
    return Shape(elements, config.model.symmetric, decoder, rotated=config.model.rotated, cut=decoder is not None)


def matrix_of(folder: pathlib.Path) -> np.ndarray:
    """Original to normalised, f64 [4, 4], of an example.

    Raises:
      ValueError: the file is not there, or is no such matrix.
    """
    path = folder / examples.MATRIX
    try:
        matrix = np.loadtxt(path)
    except (OSError, ValueError) as e:
        raise ValueError(f"{path}: no matrix of 4 x 4 numbers ({str(e)[:80]}).") from e
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-30:
        raise ValueError(f"{path}: no matrix of 4 x 4 numbers that can be inverted.")
    return matrix


def mesh_of(folder: pathlib.Path) -> pathlib.Path | None:
    """The mesh that an example was made of; None where it is not there any more."""
    return next((path for path in sorted(folder.glob("mesh_orig.*")) if path.is_file()), None)
