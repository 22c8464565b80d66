"""Examples of a folder of meshes, SPLIT/CLASS/*.ply: made side by side, gone on with where it was stopped, with a report."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from ava_jax.data import files
from ava_jax.data.workers import Workers
from ava_jax.tasks.ldif.data import examples, meshes

REPORT = "prepare.json"
_ENDS = (".ply", ".obj", ".off", ".glb")


class Work(NamedTuple):
    """A mesh to be made an example of.

    Attributes:
      split, kind, name: of the example; kind is its class.
      mesh: the file.
      folder: of the example.
    """

    split: str
    kind: str
    name: str
    mesh: pathlib.Path
    folder: pathlib.Path


class Outcome(NamedTuple):
    """What became of it: `fault` is one line, "" where it was made; `is_open` whether the mesh has holes."""

    fault: str = ""
    is_open: bool = False


def find(root: pathlib.Path, out: pathlib.Path) -> list[Work]:
    """Meshes below a folder, in order.

    Raises:
      ValueError: there is none; or two of a class have one name.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder; it must hold meshes as SPLIT/CLASS/NAME.ply.")
    found = {}
    for path in sorted(path for path in root.glob("*/*/*") if path.suffix.lower() in _ENDS):
        split, kind = path.parts[-3:-1]
        one = Work(split, kind, path.stem, path, out / split / kind / path.stem)
        if one.folder in found:
            raise ValueError(f"{path}: {found[one.folder].mesh.name} beside it gives an example of the same name; rename one of them.")
        found[one.folder] = one
    if not found:
        raise ValueError(f"{root}: holds no meshes as SPLIT/CLASS/NAME.ply (or {', '.join(_ENDS[1:])}).")
    return list(found.values())


def prepare(
    works: Sequence[Work], out: pathlib.Path, *, jobs: int, refuse_open: bool, seed: int, samples: int = examples.SAMPLES
) -> dict[Work, Outcome]:
    """Makes those that are not there yet, and writes the lists of each split and the report.

    Args:
      works: of `find`.
      out: folder of the examples.
      jobs: processes.
      refuse_open: whether meshes with holes are a fault.
      samples: near the surface, and everywhere, of each.
      seed: of the samples; each mesh's are drawn from it and the example's name, in whatever order they are made.

    Raises:
      OSError: the disk is full, or the folder cannot be written.
    """
    left = [work for work in works if not work.folder.is_dir()]
    outcomes = {work: Outcome() for work in works}
    if left:
        with tqdm.tqdm(total=len(works), initial=len(works) - len(left), desc="ldif prepare", unit="mesh") as bar:
            for work, outcome in _all(left, jobs, refuse_open, seed, samples):
                outcomes[work] = outcome
                if outcome.fault:
                    bar.write(outcome.fault, file=sys.stderr)
                bar.update()
    made = [work for work in works if work.folder.is_dir()]
    for split in sorted({work.split for work in works}):
        lines = [f"{work.folder.relative_to(out).as_posix()}/\n" for work in made if work.split == split]
        files.replace(out / f"{split}.txt", "".join(lines))
    rows = [
        {"example": f"{work.split}/{work.kind}/{work.name}", "mesh": str(work.mesh), **outcome._asdict()}
        for work, outcome in outcomes.items()
        if outcome.fault or outcome.is_open
    ]
    files.replace(out / REPORT, json.dumps({"seed": seed, "made": len(made), "faults_and_holes": rows}, indent=1) + "\n")
    return outcomes


def _all(works: Sequence[Work], jobs: int, refuse_open: bool, seed: int, samples: int) -> Iterator[tuple[Work, Outcome]]:
    if min(jobs, len(works)) == 1:
        yield from ((work, _make(work, refuse_open, seed, samples)) for work in works)
        return
    with Workers(min(jobs, len(works)), _one_core) as pool:
        running = {pool.submit(_make, work, refuse_open, seed, samples): work for work in works}
        for future in concurrent.futures.as_completed(running):
            yield running[future], future.result()


def _one_core() -> None:
    """Of several processes each keeps to one core: libraries that take all would wait for each other."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def _make(work: Work, refuse_open: bool, seed: int, samples: int) -> Outcome:
    try:
        mesh = meshes.read(work.mesh)
        if mesh.is_open and refuse_open:
            return Outcome(f"{work.mesh}: it is not watertight; --open=mend takes what is inside by winding numbers.", True)
        name = f"{seed} {work.split}/{work.kind}/{work.name}"
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
        examples.write(examples.make(mesh, rng, samples=samples), work.folder, work.mesh)
    except ValueError as e:
        return Outcome(str(e) if str(work.mesh) in str(e) else f"{work.mesh}: {e}")
    return Outcome(is_open=mesh.is_open)
