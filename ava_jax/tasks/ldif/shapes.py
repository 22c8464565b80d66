"""Procedural watertight shapes of six classes, put together from closed parts by manifold3d, and examples of them.

Shapes stand with y up and x to the front. Most are symmetric in z, as the published networks' symmetric elements are.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tqdm

from ava_jax.data import files
from ava_jax.data.workers import Workers, cores
from ava_jax.tasks.ldif.data import examples, meshes, prepare
from ava_jax.tasks.ldif.procedural import furniture, parts, vehicles, vessels

_PARTS = {
    "chair": furniture.chair,
    "table": furniture.table,
    "lamp": vessels.lamp,
    "vase": vessels.vase,
    "plane": vehicles.plane,
    "car": vehicles.car,
}
CLASSES = tuple(_PARTS)
_TRIES = 20


def shape(kind: str, rng: np.random.Generator) -> Any:
    """A mesh of trimesh, watertight, of one piece, y up, x to the front, about one long. `kind` is one of CLASSES.

    Normalised, it lies within the box of +-0.7 that samples are drawn from.
    """
    import trimesh

    for _ in range(_TRIES):  # arms may miss a round seat, say: another one is drawn then
        solid = parts.joined(_PARTS[kind](rng))
        mesh = solid.rotate([0.0, 90.0, 0.0]).simplify(1e-4).to_mesh()
        found = trimesh.Trimesh(mesh.vert_properties[:, :3], mesh.tri_verts, process=False)
        if len(solid.decompose()) == 1 and _fits(found):
            break
    return found


def _fits(mesh: Any) -> bool:
    own = meshes.Mesh(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces), False)
    return bool(np.abs(meshes.moved(own, meshes.normalization(own)).vertices).max() < meshes.HALF_SIDE)


def write(folder: pathlib.Path, counts: dict[str, int], *, classes: Sequence[str] = CLASSES, seed: int = 0, jobs: int = 1) -> None:
    """Writes meshes as SPLIT/CLASS/NAME.ply; those that are there stay. No two shapes are alike, in whatever split.

    Args:
      folder: is made where it is not there.
      counts: split -> shapes of each class.
      classes: of CLASSES.
      seed: of the shapes.
      jobs: processes.
    """
    left = []
    for kind in classes:
        number = 0
        for split, count in counts.items():
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                path = folder / split / kind / f"{kind}_{number:05d}.ply"
                if not path.exists():
                    left.append((path, kind, (seed, CLASSES.index(kind), number)))
                number += 1
    with tqdm.tqdm(total=len(left), desc="shapes", unit="shape", delay=1) as bar:
        if jobs == 1 or len(left) < 50:  # a process takes as long to begin
            for one in left:
                _write(*one)
                bar.update()
            return
        with Workers(min(jobs, len(left))) as pool:
            for _ in pool.map(_write, *zip(*left), chunksize=20):
                bar.update()


def _write(path: pathlib.Path, kind: str, seed: tuple[int, ...]) -> None:
    with files.writing(path, durable=False) as file:
        file.write(shape(kind, np.random.default_rng(seed)).export(file_type="ply"))


def write_default(folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
    """Meshes and examples for a first run or, small, for tests; the config's values that read them, by dotted name."""
    counts = {"train": 2, "val": 1, "test": 1} if small else {"train": 40, "val": 2, "test": 5}
    write(folder / "meshes", counts, classes=CLASSES[1:3] if small else CLASSES)
    works = prepare.find(folder / "meshes", folder / "examples")
    (folder / "examples").mkdir(exist_ok=True)
    samples = 500 if small else examples.SAMPLES
    prepare.prepare(works, folder / "examples", jobs=1 if small else cores(), refuse_open=False, seed=0, samples=samples)
    return {"data.root": str(folder / "examples")}
