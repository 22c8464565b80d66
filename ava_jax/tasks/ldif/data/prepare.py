"""Examples of a folder of meshes, SPLIT/CLASS/*.ply: made side by side, gone on with where it was stopped, with a report."""

import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np
import tqdm

from ava_jax.data import beams, files
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


class Settings(NamedTuple):
    """How examples are made.

    Attributes:
      refuse_open: whether meshes with holes are a fault.
      seed: of the samples; each mesh's are drawn from it and the example's name, in whatever order they are made.
      samples: near the surface, and everywhere, of each.
      coded_normals: see `examples.make`.
      most_faces: a mesh of more is a fault.
    """

    refuse_open: bool = False
    seed: int = 0
    samples: int = examples.SAMPLES
    coded_normals: bool = False
    most_faces: int = meshes.MOST_FACES


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


def one_word(name: str, what: str) -> str:
    """The name, of a split or class.

    Raises:
      ValueError: it cannot be a folder's.
    """
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"{what} must be a name that a folder can have; got {name!r}.")
    return name


def of_files(paths: Sequence[pathlib.Path], out: pathlib.Path, split: str, kind: str) -> list[Work]:
    """Meshes by their paths, all of one split and class.

    Raises:
      ValueError: one is not there, or two have one name.
    """
    works: dict[str, Work] = {}
    for path in paths:
        if not path.is_file() or path.suffix.lower() not in _ENDS:
            raise ValueError(f"{path}: there is no such mesh; files end in {', '.join(_ENDS)}.")
        if path.stem in works:
            raise ValueError(f"{path}: {works[path.stem].mesh} gives an example of the same name; rename one of them.")
        works[path.stem] = Work(split, kind, path.stem, path.absolute(), out / split / kind / path.stem)
    return list(works.values())


def prepare(
    works: Sequence[Work], out: pathlib.Path, settings: Settings, *, jobs: int = 1, runner: str = "", options: Sequence[str] = ()
) -> dict[Work, Outcome]:
    """Makes those that are not there yet, and writes the lists of each split and the report.

    Args:
      works: of `find`.
      out: folder of the examples.
      settings: how they are made.
      jobs: processes.
      runner: of Apache Beam, which makes them instead of `jobs` processes; its workers see both folders by the same paths.
      options: of Beam's pipeline.

    Raises:
      ValueError: Beam is not installed, or knows no such runner.
      OSError: the disk is full, or the folder cannot be written.
    """
    left = [work for work in works if not work.folder.is_dir()]
    before = _holes_before(out / REPORT)
    outcomes = {work: Outcome(is_open=f"{work.split}/{work.kind}/{work.name}" in before) for work in works}
    if left:
        make = functools.partial(_make, settings=settings)
        found = _by_beam(left, out, make, runner, options) if runner else _by_processes(left, jobs, make)
        with tqdm.tqdm(total=len(works), initial=len(works) - len(left), desc="ldif prepare", unit="mesh") as bar:
            for work, outcome in found:
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
    report = {"seed": settings.seed, "made": len(made), "faults_and_holes": rows}
    files.replace(out / REPORT, json.dumps(report, indent=1) + "\n")
    return outcomes


def _holes_before(report: pathlib.Path) -> set[str]:
    """Examples with holes that an earlier call has made, by its report."""
    if not report.is_file():
        return set()
    try:
        return {row["example"] for row in json.loads(report.read_text())["faults_and_holes"] if row["is_open"] and not row["fault"]}
    except (ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{report}: no report of ava ldif prepare ({str(e)[:80]}); remove it, or choose another --out.") from e


def _by_processes(works: Sequence[Work], jobs: int, make: Callable[[Work], Outcome]) -> Iterator[tuple[Work, Outcome]]:
    if min(jobs, len(works)) == 1:
        yield from ((work, make(work)) for work in works)
        return
    left = list(works)
    while left:
        with Workers(min(jobs, len(left)), _one_core) as pool:
            running = {pool.submit(make, work): work for work in left}
            for future in concurrent.futures.as_completed(running):
                if not isinstance(future.exception(), BrokenProcessPool):
                    left.remove(running[future])
                    yield running[future], future.result()
        # A process was killed, and its pool with it, by one of the first that are left: each of these gets a process of its own.
        for work in left[: jobs + 1]:
            yield work, _alone(work, make)
        left = left[jobs + 1 :]


def _alone(work: Work, make: Callable[[Work], Outcome]) -> Outcome:
    with Workers(1, _one_core) as pool:
        future = pool.submit(make, work)
        if isinstance(future.exception(), BrokenProcessPool):
            return Outcome(f"{work.mesh}: the process that prepared it was killed; it may have been short of memory.")
        return future.result()


def _by_beam(
    works: Sequence[Work], out: pathlib.Path, make: Callable[[Work], Outcome], runner: str, options: Sequence[str]
) -> list[tuple[Work, Outcome]]:
    """The same as a pipeline, whose workers write what became of each mesh into files beside the examples."""
    beam = beams.module()
    notes = pathlib.Path(tempfile.mkdtemp(prefix=".outcomes-", dir=out))
    try:
        with beams.pipeline(runner, options) as p:
            spread = p | beam.Create(list(enumerate(works)), reshuffle=False) | beam.Reshuffle()
            _ = spread | beam.Map(_noted, make) | beam.io.WriteToText(str(notes / "part"))
        lines = [json.loads(line) for path in sorted(notes.iterdir()) for line in path.read_text().splitlines()]
    finally:
        shutil.rmtree(notes, ignore_errors=True)
    return [(works[at], Outcome(fault, is_open)) for at, fault, is_open in sorted(lines)]


def _noted(item: tuple[int, Work], make: Callable[[Work], Outcome]) -> str:
    return json.dumps([item[0], *make(item[1])])


def _one_core() -> None:
    """Of several processes each keeps to one core: libraries that take all would wait for each other."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()


def _make(work: Work, settings: Settings) -> Outcome:
    try:
        mesh = meshes.read(work.mesh, settings.most_faces)
        if mesh.is_open and settings.refuse_open:
            return Outcome(f"{work.mesh}: it is not watertight; --open=mend takes what is inside by winding numbers.", True)
        name = f"{settings.seed} {work.split}/{work.kind}/{work.name}"
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
        made = examples.make(mesh, rng, samples=settings.samples, coded_normals=settings.coded_normals)
        examples.write(made, work.folder, work.mesh)
    except ValueError as e:
        return Outcome(str(e) if str(work.mesh) in str(e) else f"{work.mesh}: {e}")
    return Outcome(is_open=mesh.is_open)
