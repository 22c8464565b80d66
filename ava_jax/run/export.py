"""A task's predictions as files: those of a sample appear together once all of them are written."""

import pathlib
import shutil
import tempfile
from collections.abc import Mapping

import jax
import numpy as np

from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import Prediction, Task

_PARTIAL = ".partial-"  # start of the name of the folder that a sample's files are written into


class Exporter:
    """Writes predictions of a task into one folder."""

    def __init__(self, task: Task, assets: Assets, folder: pathlib.Path, *, written: Mapping[str, int] | None = None):
        """Makes the folder, and removes what a writer that was killed left unfinished in it.

        Args:
          task: writes a sample's files.
          assets: the task's.
          folder: that they belong into.
          written: files that are there already, by path in the folder -> the sample that they are of.

        Raises:
          ValueError: the task writes no predictions.
        """
        check(task)
        self._task, self._assets, self._folder = task, assets, folder
        self._samples = dict(written or {})
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{_PARTIAL}*"):
            shutil.rmtree(old)

    def write(self, number: int, prediction: Prediction, sample: Batch) -> list[pathlib.Path]:
        """Writes one sample's files, whole or not at all, in place of older ones of the same names.

        Args:
          number: of the sample in its split.
          prediction: of the sample alone, without the batch axis.
          sample: its arrays, without the batch axis.

        Raises:
          ValueError: the task names a file outside the folder that it was given, or one that belongs to another sample.
          OSError: a file cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=self._folder) as partial:
            made = self._task.export(prediction, sample, self._assets, pathlib.Path(partial))
            names = [self._name(path, pathlib.Path(partial), number) for path in made]
            for name in names:
                target = self._folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (pathlib.Path(partial) / name).replace(target)
                self._samples[name] = number
        return [self._folder / name for name in names]

    def _name(self, path: pathlib.Path, partial: pathlib.Path, number: int) -> str:
        who = f"{type(self._task).__name__}.export"
        if not path.is_relative_to(partial):
            raise ValueError(f"{who} must write into the folder that it is given; it names {path}.")
        name = path.relative_to(partial).as_posix()
        if self._samples.get(name, number) != number:
            raise ValueError(f"{who} must name its files by the sample: samples {self._samples[name]} and {number} both write {name!r}.")
        return name


def check(task: Task) -> None:
    """Whether a task writes predictions.

    Raises:
      ValueError: it does not.
    """
    if type(task).export is Task.export:
        raise ValueError(f"{type(task).__name__} writes no predictions: it has no `export`.")


def one_of(arrays: Prediction, at: int) -> Prediction:
    """Sample `at` of a tree of arrays [B, ...], as NumPy, without the batch axis."""
    return jax.tree.map(lambda values: np.asarray(values)[at], arrays)
