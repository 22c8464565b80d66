"""The Task base class: everything that training, evaluation and the commands know of a task.

A config names its task as `module:Class`; `load_task` builds it. A new task is one folder and one config and touches nothing else. It
lists its commands in its folder's `__init__.py` (`tasks.command`). A task imports from {captures, synth, viz, data, nn, ops, losses,
metrics} -> core; never from another task, `train`, `run` or `bin`.

Way of a sample: `prepare` -> `source` -> batch -> `loss` (training), or `predict` (on the device) -> `score`, `export` (on the host) ->
`summarize`.
"""

import abc
import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import ml_collections
import numpy as np
import optax
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Array, Assets, Batch

# One term of a loss: values [B, ...] and a mask that broadcasts against them, or None for all ones.
# The loop weighs (config.loss_weights) and averages: sum(values * mask) / sum(mask), over the batch of all devices.
LossTerm = tuple[Array, Array | None]

Prediction = Any  # a tree of arrays [B, ...]; each task documents its own
Row = dict[str, Any]  # of a table: what a sample is, and its scores
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]  # `fn(model, *args)` to a compiled function of `args`

# Ends a name in what `Task.describe` gives: of somebody, say, whom training did not see.
NOT_SEEN = " (not seen in training)"

TRAIN, PREDICT = "train", "predict"  # splits: what is learned from; what is predicted, for which no targets are needed


@dataclasses.dataclass(frozen=True)
class Score:
    """What a score means to a reader; tables, best and worst samples, the best checkpoint and the gain over a baseline follow from it.

    Attributes:
      name: of its column.
      higher_is_better: the direction.
      unit: as in "dB" or "mm"; "" has none.
      digits: after the point.
      scientific: shown as 6.19e-05.
      ratio: what a baseline is beaten by is told as "times", not as a difference.
      main: it stands in the tables that a terminal shows; one that is not is in the files, and in the table of its `row`.
      row, column: where it stands in a split's second table, as in ("face", "psnr"); "": it does not.
      what: its definition in a line, for the protocol.
    """

    name: str
    higher_is_better: bool
    unit: str = ""
    digits: int = 2
    scientific: bool = False
    ratio: bool = False
    main: bool = True
    row: str = ""
    column: str = ""
    what: str = ""

    def format(self, value: float, *, signed: bool = False) -> str:
        """The value as tables show it, without its unit; a dash for NaN."""
        if np.isnan(value):
            return "-"
        return f"{value:{'+' if signed else ''}.{self.digits}{'e' if self.scientific else 'f'}}"


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn alike.

    Attributes:
      name: in logs, as in "learning_rate/texels".
      transform: gradients to updates of the group's parameters. Called with `loss=`, the weighted sum, where it takes extra arguments. Its
        learning rate is logged where `optax.inject_hyperparams` keeps it.
      paths: regular expressions; a parameter belongs to the first group of which one matches the start of its path, as in
        "decoder/.*/bias". Every parameter must belong to one.
      elementwise: whether an update depends on nothing but the same value's gradients, as Adam's does. The step may then keep small
        arrays together in one vector, which costs fewer kernels. A transform that looks at an array's shape, norm or path: False.
    """

    name: str
    transform: optax.GradientTransformation
    paths: tuple[str, ...] = ("",)
    elementwise: bool = True


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How a task learns.

    Attributes:
      groups: one or more.
      clip_norm: gradients of all groups together are scaled to this global norm at most; None: they are not.
    """

    groups: tuple[ParameterGroup, ...]
    clip_norm: float | None = None


class Example(NamedTuple):
    """A sample worth looking at.

    Attributes:
      label: "best" or "worst", with the score that says so.
      row: its row of the report.
      sample: its arrays, without the batch axis.
    """

    label: str
    row: Row
    sample: Batch


class AtHand(NamedTuple):
    """Data that a trained model is given, which need not be those that it was trained with.

    Attributes:
      names: who or what they are of, as in names of people.
      notes: lines for the user on what of them the model has not seen in training, and what it makes of that.
    """

    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Protocol(NamedTuple):
    """What an evaluation scored, and how.

    Attributes:
      lines: short ones that head tables and files.
      details: the same and more, for JSON.
    """

    lines: tuple[str, ...] = ()
    details: Mapping[str, Any] = {}


class RestoredRun(NamedTuple):
    """A trained model of another run. `step` is the checkpoint's."""

    config: ml_collections.ConfigDict
    assets: Assets
    task: "Task"
    model: nnx.Module
    step: int


class Task(abc.ABC):
    """What a task is to the rest of the package. The first part must be given; all else has a default.

    Attributes:
      loss_terms: names of the terms that `loss` can give; `config.loss_weights` names the same.
      scores: what `score` gives, in the order of tables. Best and worst samples are told by the first one that a sample has.
      group_by: columns of `describe` that means are also taken by, as in ("identity", "camera").
      cluster_by: columns of `describe`; samples that agree in all are one observation for confidence intervals. (): each is its own.
      mean_by: a column of `group_by`; the mean of its groups' means is reported beside the mean of all. "": it is not.
      sample_name: what a sample is called in tables and progress bars, as in "image".
      lists: dotted names of the config's lists, each with the kind of its elements, str or int. They may be written in any way that
        `core.lists` reads; the task finds tuples.
      paths: dotted names of the config's paths. A run stores them absolute.
      per_name: kind of the assets' names -> regular expressions, held against the start of a path, of the variables that have a row for
        each name along their first axis: a run with other names of that kind takes the rows of those that both have.
      eval_options: flags of `ava eval` that the task understands beside those that all do. What they say it finds in `config.eval`, by
        their names; one that was not given is missing there.
      bound_arrays: names of the assets' arrays that weights are bound to; starting from a run of others is told.
    """

    loss_terms: ClassVar[tuple[str, ...]]
    scores: ClassVar[tuple[Score, ...]] = ()
    group_by: ClassVar[tuple[str, ...]] = ()
    cluster_by: ClassVar[tuple[str, ...]] = ()
    mean_by: ClassVar[str] = ""
    sample_name: ClassVar[str] = "sample"
    lists: ClassVar[Mapping[str, type]] = {}
    paths: ClassVar[tuple[str, ...]] = ("data.root",)
    per_name: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    eval_options: ClassVar[tuple[str, ...]] = ()
    bound_arrays: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ml_collections.ConfigDict, *, restore: Callable[..., RestoredRun] | None = None):
        """Reads nothing yet.

        Args:
          config: the whole experiment's.
          restore: `restore(workdir, step=None)` gives the trained model of another run, for tasks that build on one.
        """
        self.config = config
        self.restore = restore

    # What every task gives.

    @abc.abstractmethod
    def prepare(self) -> Assets:
        """Reads what must be known of the data before training: statistics, topology, names."""

    @abc.abstractmethod
    def source(self, split: str, assets: Assets) -> Source:
        """Samples of a split. Every task has TRAIN; `eval_splits` lists those that are scored; PREDICT is optional.

        Raises:
          ValueError: there is no such split; the message names those there are.
        """

    @abc.abstractmethod
    def sampling(self, split: str) -> Sampling:
        """Order and batch size in which a split is read."""

    @abc.abstractmethod
    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> nnx.Module:
        """A fresh model: `nnx.Param`, `core.variables.Running` and `core.variables.Constant` variables only."""

    @abc.abstractmethod
    def loss(self, model: nnx.Module, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]) -> dict[str, LossTerm]:
        """Unreduced terms by name, values [B, ...] each: those that `terms` names, a part of `loss_terms`. Others cost nothing.

        Traced under `shard_map` over `core.parallel.BATCH_AXIS`: `batch` is one device's part. `key` is the step's and the same on every
        device: draw with `core.parallel.by_sample`, and a run is the same on any number of devices. May move `Running` variables, to the
        same value on every device.
        """

    @abc.abstractmethod
    def optimizer(self, steps: int, steps_per_epoch: int) -> Optimizer | optax.GradientTransformation:
        """How the parameters learn; a transformation alone gets the plain tree of all parameters."""

    @abc.abstractmethod
    def predict(self, model: nnx.Module, batch: Batch) -> Prediction:
        """What the model makes of a batch that may lack targets. Traced and compiled once; `score` and `export` take it."""

    # What a task may give.

    def eval_splits(self, assets: Assets) -> Sequence[str]:
        """Splits that hold any sample to be scored; () where nothing is held out of training.

        Training validates on the first whose name does not begin with "test": the best checkpoint is not chosen by the test.
        """
        del assets
        return ()

    def predictor(self, compile_model: Compile) -> Callable[[Batch], Prediction]:
        """What an evaluation calls for each batch: `predict`, compiled. May compute on the device what else `score` needs."""
        return compile_model(self.predict)

    def protocol(self, rows: Mapping[str, Sequence[Row]], assets: Assets) -> "Protocol":
        """What was evaluated and how, so that the numbers can be repeated, of the rows of each split."""
        del rows, assets
        return Protocol()

    def check_data(self, assets: Assets) -> AtHand:
        """Holds the data that the config names against those that the model was trained with, before they are evaluated or predicted.

        Raises:
          ValueError: they do not fit the model: another topology, say.
        """
        del assets
        return AtHand()

    def describe(self, batch: Batch, assets: Assets) -> list[Row]:
        """What each sample of a batch is, for tables: [{"identity": ..., "camera": ..., "frame": ...}]."""
        del assets
        return [{} for _ in range(len(next(iter(batch.values()))))]

    def score(self, prediction: Prediction, batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Scores of a prediction, on the host, any library: name -> [B], as `scores` declares; NaN where one is not defined.

        Of the prediction, `np.asarray` brings what is needed from the device.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores.")

    def baselines(self, assets: Assets) -> Mapping[str, Callable[[Batch], dict[str, np.ndarray]]]:
        """Answers for which no learning is needed: name -> scores of a batch, named as in `scores`, [B] each.

        The gain is taken over the first, in the first score that it gives.
        """
        del assets
        return {}

    def export(self, prediction: Prediction, sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes one sample's prediction into a folder that exists, and names the files. Arrays are NumPy, without the batch axis."""
        raise NotImplementedError(f"{type(self).__name__} writes no predictions.")

    def summarize(self, rows: Mapping[str, Sequence[Row]], assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes what the task wants beside the common tables (split -> rows) into a folder that exists, and names it."""
        del rows, assets, folder
        return []

    def write_artefacts(self, compile_model: Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Writes what an evaluation shows of the model, pictures say, into a folder that exists, and names it."""
        del compile_model, assets, folder
        return []

    def write_examples(self, compile_model: Compile, best: Sequence[Example], worst: Sequence[Example], path: pathlib.Path) -> bool:
        """Draws samples beside what the model makes of them into a JPEG at `path`; False where the task cannot."""
        del compile_model, best, worst, path
        return False

    def draw_sample(self, prediction: Prediction, sample: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """One sample as pictures, caption -> u8 [H, W, 3] of one size: the truth, then what the model makes of it; {}: the task cannot.

        Arrays are NumPy, without the batch axis. The view must not depend on the prediction: runs are laid side by side.
        """
        del prediction, sample, assets
        return {}

    def pictures(self, model: nnx.Module, batch: Batch) -> dict[str, Array]:
        """Progress pictures of a training batch: whatever `draw_pictures` takes, any shape. Traced and compiled once."""
        del model, batch
        return {}

    def draw_pictures(self, pictures: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """What `pictures` gave, laid out and captioned on the host: name -> u8 [H, W, 3]."""
        del batch, assets
        return {name: np.asarray(picture) for name, picture in pictures.items()}

    def draw_check(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Draws what `ava train --check` shows of the data, before anything else is tried, into a folder, and names it.

        It is of most use where the data are wrong. The folder is made where there is something to write.
        """
        del folder
        return []

    def write_references(self, assets: Assets, folder: pathlib.Path) -> None:
        """Writes what of the data a trained model is of use with into the run's folder, unless it is there already."""
        del assets, folder

    def library(self, compile_model: Compile, assets: Assets, folder: pathlib.Path, step: int) -> Any:
        """The trained model as an object for programs (`ava_jax.load`). `folder` is the run's, `step` the checkpoint's."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to be called from Python.")

    @classmethod
    def migrate(cls, config: ml_collections.ConfigDict) -> None:
        """Brings a config that an older version saved up to date, in place."""
        del config

    @classmethod
    def synthesize(cls, folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
        """Writes data made from nothing into a folder, and returns the config's values that read them, by dotted name.

        Args:
          folder: is made where it is not there.
          small: as little as tests need.
        """
        raise NotImplementedError(f"{cls.__name__} makes no data.")

    @classmethod
    def test_config(cls, config: ml_collections.ConfigDict) -> None:
        """Shrinks a config of this task, in place, to as little work as it can do, for tests on data of `synthesize(small=True)`."""
        raise NotImplementedError(f"{cls.__name__} has no test form.")


def task_class(config: ml_collections.ConfigDict) -> type[Task]:
    """The class that `config.task` names as `module:Class`.

    Raises:
      ValueError: the name has no colon, or names no module, class or task.
    """
    module, colon, name = config.task.partition(":")
    if not colon:
        raise ValueError(f"config.task must be 'module:Class', as in 'ava_jax.tasks.ava256.task:Ava256'; got {config.task!r}.")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as e:
        if e.name and module.startswith(e.name):
            raise ValueError(f"config.task = {config.task!r}: there is no module {e.name!r}.") from e
        raise
    except AttributeError as e:
        if not hasattr(importlib.import_module(module), name):
            raise ValueError(f"config.task = {config.task!r}: {module} has no class {name!r}.") from e
        raise
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ValueError(f"config.task = {config.task!r}: {name} is no `tasks.base.Task`.")
    return found


def load_task(config: ml_collections.ConfigDict, *, restore: Callable[..., RestoredRun] | None = None) -> Task:
    """Builds the task that `config.task` names; see `task_class` and `Task`."""
    return task_class(config)(config, restore=restore)
