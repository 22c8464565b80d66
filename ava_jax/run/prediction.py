"""What a trained model makes of the samples of a split, written to files; no targets are needed.

The folder's `predictions.jsonl` says what is there: first what was predicted from what, then a line per sample with its files. Where it
fits, samples that it lists are not predicted again, so that the same call goes on where one was stopped.
"""

import json
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import tqdm
from flax import nnx

from ava_jax.core.sampling import Source, thin
from ava_jax.core.types import Assets, Batch
from ava_jax.data import pipeline
from ava_jax.data.subset import Subset
from ava_jax.metrics import table
from ava_jax.run.export import Exporter, check, one_of
from ava_jax.tasks.base import Compile, Prediction, Task
from ava_jax.train import config as configs
from ava_jax.train.lock import Lock

INDEX = "predictions.jsonl"
PREDICTS = "writes predictions"  # of whoever holds the lock of a folder
_NUMBER = "sample number"  # where a sample of a batch stands in its split
# Keys of a config that a prediction does not depend on, once the model is trained.
_WITHOUT_EFFECT = ("train.", "optimizer.", "loss_weights.", "data.read_threads", "eval.batch_size")


def batches(
    source: Source, batch_size: int, predict: Callable[[Batch], Prediction], *, threads: int, readers: int = 0
) -> Iterator[tuple[Prediction, Batch, int]]:
    """Predictions of all readable samples of a source, in order.

    The next batch is sent to the device before one is handed out, so that host and device work at the same time.

    Args:
      source: of the samples.
      batch_size: of every batch; the last is filled up with copies of its last sample.
      predict: of a batch; compiled.
      threads, readers: that read, as of `pipeline.read_in_order`.

    Returns:
      An iterator over (prediction, batch, how many of its samples count).
    """
    waiting = None
    for batch, count in pipeline.read_in_order(source, batch_size, threads=threads, readers=readers):
        prediction = predict(batch)
        if waiting is not None:
            yield waiting
        waiting = prediction, batch, count
    if waiting is not None:
        yield waiting


def predict(
    task: Task,
    assets: Assets,
    compile_model: Compile,
    split: str,
    folder: pathlib.Path,
    *,
    threads: int,
    max_samples: int = 0,
) -> list[pathlib.Path]:
    """Predicts every readable sample of a split and writes it, with a progress bar.

    Args:
      task: predicts and exports.
      assets: the task's.
      compile_model: of the trained model.
      split: any that the task has; of most, `tasks.base.PREDICT` is the one without targets.
      folder: made where it is not there. What it holds already of the same predictions is kept.
      threads: that read samples.
      max_samples: at most so many, evenly spaced; 0: all.

    Returns:
      The files of all samples, of those written before too, in the order of the samples.

    Raises:
      ValueError: there is no such split, or no sample of it can be read; the task writes no predictions; or the folder holds predictions
        of another model, split or config.
      OSError: a file cannot be written.
    """
    check(task)
    source = task.source(split, assets)
    folder.mkdir(parents=True, exist_ok=True)
    with Lock(folder, doing=PREDICTS, instead="--out") as lock:
        lock.take()
        return _predict(task, assets, compile_model, source, split, folder, threads=threads, max_samples=max_samples)


def _predict(
    task: Task,
    assets: Assets,
    compile_model: Compile,
    source: Source,
    split: str,
    folder: pathlib.Path,
    *,
    threads: int,
    max_samples: int,
) -> list[pathlib.Path]:
    numbers = thin(len(source), max_samples).tolist()
    about = {"split": split, "samples": len(source), "model": _fingerprint(compile_model), "config": _config(task)}
    index = _Index(folder / INDEX, about)
    exporter = Exporter(task, assets, folder, written={name: number for number, names in index.files.items() for name in names})
    left = [number for number in numbers if number not in index.files]
    many = table.plural(task.sample_name)
    if len(left) < len(numbers):
        print(f"{folder}: {len(numbers) - len(left)} of {len(numbers)} {many} were written before and are kept")
    with index, tqdm.tqdm(total=len(numbers), initial=len(numbers) - len(left), desc=split, unit=task.sample_name) as bar:
        _write(task, Subset(_Numbered(source), left), compile_model, exporter, index, bar, split=split, threads=threads)
    there = [number for number in numbers if number in index.files]
    if not there:
        raise ValueError(f"predict: none of the {len(numbers)} samples of the split {split!r} can be read.")
    if len(there) < len(numbers):
        print(f"{split}: {len(numbers) - len(there)} of {len(numbers)} {many} could not be read")
    return [folder / name for number in there for name in index.files[number]]


def _write(task, source: Subset, compile_model: Compile, exporter: Exporter, index: "_Index", bar, *, split: str, threads: int) -> None:
    if not len(source):
        return
    compiled = compile_model(task.predict)

    def predict(batch: Batch) -> Prediction:
        return compiled({name: values for name, values in batch.items() if name != _NUMBER})

    for prediction, batch, count in batches(source, task.sampling(split).batch_size, predict, threads=threads):
        host, numbers = jax.device_get(prediction), batch.pop(_NUMBER)
        if bar.n == bar.initial:
            bar.unpause()  # what came before was compiling, which says nothing of the time left
        for at in range(count):
            number = int(numbers[at])
            index.add(number, exporter.write(number, one_of(host, at), one_of(batch, at)))
            bar.update()


class _Numbered:
    """A source whose samples say where they stand in it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return repr(self._source)

    def __getitem__(self, index: int) -> Batch | None:
        sample = self._source[index]
        return None if sample is None else {**sample, _NUMBER: np.int64(index)}

    @property
    def counts(self) -> dict[str, int]:
        return self._source.counts


class _Index:
    """Which samples a folder holds, with their files. A context manager, in which samples can be added."""

    def __init__(self, path: pathlib.Path, about: dict[str, Any]) -> None:
        """Reads it, where it is there.

        Raises:
          ValueError: it is of other predictions than `about` says; the message names what differs.
        """
        self.files: dict[int, list[str]] = {}  # by the sample's number; paths in the folder
        self._path, self._about = path, json.loads(json.dumps(about))
        saved, *entries = _lines(path) or [self._about]
        if saved != self._about:
            before, now = _flat(saved), _flat(self._about)
            different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            raise ValueError(
                f"{path.parent} holds predictions of something else: {', '.join(different)} differ. Take another folder, or remove it."
            )
        for entry in entries:
            if all((path.parent / name).is_file() for name in entry["files"]):
                self.files[entry["sample"]] = entry["files"]

    def __enter__(self) -> "_Index":
        partial = self._path.with_name(f".{self._path.name}")
        entries = [{"sample": number, "files": names} for number, names in self.files.items()]
        partial.write_text("".join(json.dumps(line) + "\n" for line in (self._about, *entries)))
        partial.replace(self._path)
        self._file = open(self._path, "a")
        return self

    def __exit__(self, *exc) -> None:
        self._file.close()

    def add(self, number: int, files: list[pathlib.Path]) -> None:
        """Notes a sample whose files are there."""
        self.files[number] = [path.relative_to(self._path.parent).as_posix() for path in files]
        self._file.write(json.dumps({"sample": number, "files": self.files[number]}) + "\n")
        self._file.flush()


def _lines(path: pathlib.Path) -> list[Any]:
    """The lines of an index, without one that was cut off; none where it is not there."""
    if not path.is_file():
        return []
    *whole, _ = path.read_text().split("\n")
    return [json.loads(line) for line in whole]


def _flat(about: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in about.items() if name != "config"}, **about["config"]}


def _config(task: Task) -> dict[str, Any]:
    """What of the task's config a prediction depends on, by dotted name."""
    leaves = configs.flatten(configs.from_json(configs.to_json(task.config)))
    return {f"config.{name}": value for name, value in leaves.items() if not name.startswith(_WITHOUT_EFFECT)}


def _fingerprint(compile_model: Compile) -> str:
    """Of all values of the model: another checkpoint has another."""
    leaves = jax.tree.leaves(compile_model(lambda model: nnx.state(model))())
    checksum = 0
    for leaf in leaves:
        checksum = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8), checksum)
    return f"{checksum:08x}"
