"""What is learned from a mesh: a coarse grid, samples near the surface and everywhere, depth images, surface points."""

import pathlib
import shutil
from typing import NamedTuple

import numpy as np
from PIL import Image

from ava_jax.tasks.ldif.data import example_files, meshes, views
from ava_jax.tasks.ldif.data.example_files import Grid
from ava_jax.tasks.ldif.data.meshes import HALF_SIDE, Mesh

SAMPLES = 100_000
_NEAR = 0.04  # the farthest that samples near the surface lie from it
_MORE = 1.1  # so many pairs are made for each that stays
_AWAY = 1e-6  # from the surface, where a ray starts that looks for the next hit
GRID, NEAR, UNIFORM, DEPTH, POINTS, MATRIX, IMAGE = (
    "coarse_grid.grd", "nss_points.sdf", "bounding_box_samples.sdf", "depth_and_normals.npz", "surface_samples_from_dodeca.pts",
    "orig_to_gaps.txt", "image.png",
)  # fmt: skip


class Example(NamedTuple):
    """A shape to learn from, in the published place and size.

    Attributes:
      matrix: f64 [4, 4], original to normalised.
      grid: signed distances, 32 nodes per side.
      near: f32 [P, 4], places near the surface, and 1 outside, -1 inside.
      uniform: f32 [P, 4], places in the box, and signed distances.
      views: twenty depth images.
      points: f32 [P, 6], of the surface, with normals.
      image: u8 [137, 137, 3], the first view as clay on white.
    """

    matrix: np.ndarray
    grid: Grid
    near: np.ndarray
    uniform: np.ndarray
    views: views.Views
    points: np.ndarray
    image: np.ndarray


def make(mesh: Mesh, rng: np.random.Generator, *, samples: int = SAMPLES, coded_normals: bool = False) -> Example:
    """An example of a mesh, which is normalised first.

    Args:
      mesh: any size, anywhere.
      rng: draws.
      samples: near the surface, and everywhere; and points of the surface.
      coded_normals: normals as the published reader has them, which leaves their files' coding in place; see `views.coded`.

    Raises:
      ValueError: no camera sees it, or it encloses nothing.
    """
    matrix = meshes.normalization(mesh)
    mesh = meshes.outward(meshes.moved(mesh, matrix))
    seen = views.draw(mesh)
    everywhere = rng.uniform(-HALF_SIDE, HALF_SIDE, (samples, 3))
    uniform = np.concatenate([everywhere, meshes.signed_distances(mesh, everywhere)[:, None]], axis=1).astype(np.float32)
    grid = meshes.distance_grid(mesh)
    if not (uniform[:, 3] < 0).any() and not (grid.values < 0).any():
        raise ValueError(f"it encloses nothing: none of {samples:,} random places of the box around it lies inside.")
    image = views.picture(seen)
    if coded_normals:
        seen = views.coded(seen)
    points = views.surface_points(seen, samples, rng)
    return Example(matrix, grid, near_surface(mesh, samples, rng), uniform, seen, points, image)


def near_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs of places on either side of the surface, f32 [count, 4] with 1 (outside) or -1, in random order.

    A pair lies t before and behind a random point along its normal; t = min(0.04, to the next surface on either side) u^2, u uniform. Of an
    open mesh, whose normals need not look out, signs are those of winding numbers.

    Args:
      mesh: faces look outwards.
      count: even, as samples come in pairs.
      rng: draws.
    """
    import trimesh

    surface = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    pairs = int(np.ceil(_MORE * count / 2))
    places, faces = trimesh.sample.sample_surface(surface, pairs, seed=int(rng.integers(1 << 31)))
    weights = trimesh.triangles.points_to_barycentric(surface.triangles[faces], places)
    normals = (surface.vertex_normals[surface.faces[faces]] * weights[..., None]).sum(1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    free = np.minimum(_free(surface, places, normals), _free(surface, places, -normals))
    step = (np.minimum(_NEAR, free) * np.square(rng.uniform(size=pairs)))[:, None]
    both = np.concatenate([places + step * normals, places - step * normals])
    if mesh.is_open:
        sign = np.where(meshes.signed_distances(mesh, both) > 0, 1.0, -1.0)
    else:
        sign = np.repeat([1.0, -1.0], pairs)
    chosen = rng.permutation(2 * pairs)[:count]
    return np.concatenate([both, sign[:, None]], axis=1)[chosen].astype(np.float32)


def _free(surface, places: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """How far the next surface is from places on the surface [P, 3] along directions [P, 3]: [P]; infinite where there is none."""
    starts = places + _AWAY * directions
    found, rays, _ = surface.ray.intersects_location(starts, directions, multiple_hits=False)
    free = np.full(len(places), np.inf)
    free[rays] = np.linalg.norm(found - starts[rays], axis=1)
    return free


def write(example: Example, folder: pathlib.Path, original: pathlib.Path) -> None:
    """Writes an example into a new folder under the published names, with a link to the mesh that it is of.

    Raises:
      OSError: it cannot be written; nothing is left then.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        example_files.write_grid(partial / GRID, example.grid)
        for name, rows in ((NEAR, example.near), (UNIFORM, example.uniform), (POINTS, example.points)):
            example_files.write_rows(partial / name, rows)
        both = np.concatenate([example.views.depth[..., None], example.views.normals], axis=-1)
        np.savez_compressed(partial / DEPTH, both)
        Image.fromarray(example.image).save(partial / IMAGE)
        (partial / MATRIX).write_text("".join(" ".join(f"{number:.9g}" for number in row) + "\n" for row in example.matrix))
        (partial / f"mesh_orig{original.suffix}").symlink_to(original.absolute())
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
