"""A trained network at work on meshes and examples: from what it sees of them to shapes, and to files of their surfaces."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Batch
from ava_jax.ops.implicit import Elements
from ava_jax.tasks.base import Compile
from ava_jax.tasks.command import Context
from ava_jax.tasks.ldif.apps import mesh_files, surface
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data import element_files, examples, meshes, occnet_files, source, views
from ava_jax.tasks.ldif.evaluation import scoring


class Work(NamedTuple):
    """Something to make a surface of.

    Attributes:
      given: a mesh's file, or an example's folder.
      target: the mesh's file to be written.
    """

    given: pathlib.Path
    target: pathlib.Path


class Output(NamedTuple):
    """How surfaces are written.

    Attributes:
      resolution: of the grid, points per side.
      cut: as of `apps.shape.Shape`.
      original: in the given mesh's own place and unit; else in the published one.
      elements: the elements (.txt) too, beside each mesh.
    """

    resolution: int = 256
    cut: bool = False
    original: bool = True
    elements: bool = False


class Outcome(NamedTuple):
    """What became of one: `line` says it; `fault` whether nothing was written."""

    line: str
    fault: bool


class Reconstructor:
    """A trained network."""

    def __init__(self, config: ConfigDict, compile_model: Compile) -> None:
        """Of a run.

        Args:
          config: the whole experiment's.
          compile_model: of the trained model.
        """
        self.config = config
        self.decoder = jax.device_get(_decoder(compile_model)) if config.model.features else None
        self._elements = compile_model(lambda model, batch: model.elements(batch, jax.random.key(0), train=False)._asdict())

    def shape(self, sample: Batch, *, cut: bool = False) -> Shape:
        """The shape that the network makes of a sample's `depth` and `points`, without a batch axis."""
        found = self._elements({name: np.asarray(values)[None] for name, values in sample.items()})
        elements = Elements(**{name: np.asarray(part)[0] for name, part in found.items()})
        return Shape(elements, self.config.model.symmetric, self.decoder, rotated=self.config.model.rotated, cut=cut and bool(self.decoder))

    def write(self, work: Work, output: Output) -> Outcome:
        """Writes the surface of one; a mesh or example that cannot be used is the outcome's line.

        Raises:
          OSError: a file cannot be written.
        """
        try:
            sample, matrix = seen(work.given)
        except (ValueError, FileNotFoundError) as e:
            text = str(e)
            return Outcome(text if str(work.given) in text else f"{work.given}: {text}", True)
        shape = self.shape(sample, cut=output.cut)
        found = surface.extract(shape, output.resolution)
        if output.original:
            back = np.linalg.inv(matrix)
            found = found._replace(vertices=(found.vertices @ back[:3, :3].T + back[:3, 3]).astype(np.float32))
        if output.elements:
            work.target.parent.mkdir(parents=True, exist_ok=True)
            element_files.write(work.target.with_suffix(".txt"), shape.elements, shape.symmetric)
        mesh_files.write(work.target, found)
        return Outcome(mesh_files.described(work.target, found), False)

    def write_decoder(self, folder: pathlib.Path) -> pathlib.Path | None:
        """Writes `decoder.occnet`, which elements with features are read with; None of SIF and SIF++."""
        if self.decoder is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        occnet_files.write(folder / "decoder.occnet", self.decoder)
        return folder / "decoder.occnet"


@dataclasses.dataclass(frozen=True)
class Run:
    """Where a trained network is; can be sent to other processes, which open it.

    Attributes:
      context: of the command.
      workdir: the run's folder.
      checkpoint: as `Context.restore` takes it.
    """

    context: Context = dataclasses.field(compare=False)
    workdir: str
    checkpoint: int | str | None = None

    @functools.cached_property
    def _restored(self) -> tuple[Reconstructor, int]:
        run = self.context.restore(self.workdir, self.checkpoint)
        if type(run.task).__name__ != "Ldif":
            raise ValueError(f"{self.workdir}: a run of {run.config.task}; surfaces are made of runs of ldif.")
        return Reconstructor(run.config, self.context.compile(run.model)), run.step

    def open(self) -> Reconstructor:
        """Its network, restored the first time.

        Raises:
          ValueError, FileNotFoundError: as `Context.restore`; or it is another task's.
        """
        return self._restored[0]

    @property
    def step(self) -> int:
        """The checkpoint's."""
        return self._restored[1]

    def __reduce__(self) -> tuple:
        return Run, (self.context, str(pathlib.Path(self.workdir).expanduser().absolute()), self.step)


def _decoder(compile_model: Compile) -> Any:
    # A compiled function takes arguments: one that is not used.
    return compile_model(lambda model, unused: (model.decoder.weights(), unused))(np.zeros(1, np.float32))[0]


def seen(given: pathlib.Path) -> tuple[Batch, np.ndarray]:
    """What the network looks at, and the matrix [4, 4] from the original to the published place and size.

    Args:
      given: a mesh, of which views are drawn now, or an example's folder.

    Raises:
      ValueError: it cannot be used.
      FileNotFoundError: a file of an example is missing.
    """
    if given.is_dir():
        return source.seen(given), scoring.matrix_of(given)
    mesh = meshes.read(given)
    matrix = meshes.normalization(mesh)
    drawn = views.draw(meshes.outward(meshes.moved(mesh, matrix)))
    points = views.surface_points(drawn, source.POINTS, np.random.default_rng(0))
    return {"depth": source.resized(drawn.depth), "points": points}, matrix


def find(given: Mapping[str, list[pathlib.Path]], out: pathlib.Path, suffix: str) -> list[Work]:
    """What is below the given paths, and where the surface of each goes.

    Args:
      given: "meshes": files and folders of meshes; "examples": folders of examples, or folders of such.
      out: folder of the surfaces, in which folders below a given one are kept.
      suffix: of the files, as in ".ply".

    Raises:
      ValueError: a path holds none, or two would be written to one file.
    """
    works: list[Work] = []
    for what, paths in given.items():
        search: Callable[[pathlib.Path], Iterator[pathlib.Path]] = _meshes if what == "meshes" else _examples
        for path in paths:
            found = sorted(search(path))
            if not found:
                kinds = ", ".join(meshes.SUFFIXES) if what == "meshes" else f"folder with {examples.DEPTH}"
                raise ValueError(f"--{what}: {path} holds no {kinds}." if path.exists() else f"--{what}: there is no {path}.")
            for one in found:
                name = one.relative_to(path) if one != path else pathlib.Path(one.name)
                name = name.with_suffix("") if what == "meshes" else name
                works.append(Work(one, out / name.parent / f"{name.name}{suffix}"))
    targets: dict[pathlib.Path, pathlib.Path] = {}
    for work in works:
        if (other := targets.setdefault(work.target, work.given)) != work.given:
            raise ValueError(f"{other} and {work.given} would both be written to {work.target}; extract them into folders of their own.")
        if work.target.exists() and work.given.exists() and work.target.samefile(work.given):
            raise ValueError(f"{work.target}: would be written over the mesh that is read; give another --out.")
    return works


def _meshes(path: pathlib.Path) -> Iterator[pathlib.Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.suffix.lower() in meshes.SUFFIXES)


def _examples(path: pathlib.Path) -> Iterator[pathlib.Path]:
    yield from (file.parent for file in path.rglob(examples.DEPTH))
