"""What a task says of its commands, and what they are given. Imports nothing heavy: `ava --help` lists the commands of all tasks.

A task's folder lists them in its `__init__.py`, which imports nothing but this module:

  COMMANDS = (Command("synthesize", "Writes posed bodies with skin that slides.", "ava_jax.tasks.mesh_fit.commands.synthesize"),)

A command's module has absl flags, a docstring, which `--help` shows above them, and `main() -> None`, or `main(context: Context) -> None`
where it needs a trained model or writes a run. ValueError and OSError raised by `main` are shown as one line. jax is imported inside
`main`, so that `--help` stays quick.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from absl import flags

if TYPE_CHECKING:  # these import jax
    import ml_collections
    import numpy as np
    from flax import nnx

    from ava_jax.core.types import Assets
    from ava_jax.tasks.base import Compile, RestoredRun


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a task, started as `ava TASK NAME`.

    Attributes:
      name: as it is typed.
      summary: one line, for `ava --help`.
      module: see above; it is imported when the command runs.
      short: a name without the task's, as in `ava render`; "" has none. No two tasks may give the same.
    """

    name: str
    summary: str
    module: str
    short: str = ""


class Program(NamedTuple):
    """A function of a trained model, exported.

    Attributes:
      content: what `jax.export.deserialize` reads.
      weights: names of the weights that it takes as its first argument, a dict.
      calls: names of the compiled custom calls that it needs; empty where plain JAX runs it.
    """

    content: bytes
    weights: tuple[str, ...]
    calls: tuple[str, ...]


class Programs(Protocol):
    """Exports functions of one model: `run.programs.ModelPrograms`, which says what each part does."""

    weights: "dict[str, np.ndarray]"

    def export(self, fn: Callable[..., Any], args: Sequence[Any], platforms: Sequence[str], calls: Sequence[str] = ()) -> Program:
        """`fn(model, *args)` as a program of its own."""


class Context(Protocol):
    """What a command is given of the rest of the package, which a task may not import."""

    def restore(
        self, workdir: str | pathlib.Path | None, step: int | str | None = None, *, overrides: Mapping[str, Any] | None = None
    ) -> "RestoredRun":
        """A trained model from a run's folder alone.

        Args:
          workdir: the run's folder, the value of `define_workdir`.
          step: which checkpoint, the value of `define_step`: a number, "best" or None, which takes the latest.
          overrides: config values to change before the task is built, by dotted name; those that are None are left as they were saved.

        Raises:
          FileNotFoundError: there is no checkpoint, or none of that step.
          ValueError: no folder is named; `step` is neither a number nor "best"; the checkpoint is damaged, or older than a key that the
            task needs.
        """

    def compile(self, model: "nnx.Module") -> "Compile":
        """Makes a compiled function of `args` from `fn(model, *args)`; what it gives is called once for each function."""

    def programs(self, model: "nnx.Module") -> Programs:
        """Exports functions of a model, which run without this package then."""

    def write_run(
        self, config: "ml_collections.ConfigDict", assets: "Assets", model: "nnx.Module", workdir: str | pathlib.Path | None
    ) -> pathlib.Path:
        """Begins a run with a model that was not trained here: its checkpoint of step 0, which is evaluated like any other.

        `ava train` with the same config and folder goes on from it, with a fresh optimizer, from the start of its data.

        Args:
          config: the whole experiment's; names the task.
          assets: the task's, as `prepare` gives them.
          model: as the task's `model` makes it, with other values.
          workdir: a folder that is new, or holds no run.

        Returns:
          The run's folder.

        Raises:
          ValueError: no folder is named, or it holds a run already.
          OSError: it cannot be written.
        """

    def train(self, config: "ml_collections.ConfigDict", workdir: str | pathlib.Path) -> bool:
        """Trains what a config names, or goes on where it stopped, as `ava train` does.

        Args:
          config: the whole experiment's.
          workdir: the run's folder.

        Returns:
          Whether it came to its end: not where Ctrl-C stopped it, which is said.

        Raises:
          ValueError, OSError: as of `ava train`.
        """


def define_config() -> flags.FlagHolder:
    """The flag `--config=NAME[:variant]` or `--config=FILE.py[:variant]`, with overrides as `--config.a.b=value`."""
    from ml_collections import config_flags

    return config_flags.DEFINE_config_file(
        "config",
        help_string="Experiment: an installed name or a Python file, with a variant, as in NAME:tiny or my/experiment.py:tiny. "
        "Override its values with --config.train.steps=1000.",
    )


def define_workdir() -> flags.FlagHolder[str | None]:
    """The flag `--workdir=RUN` of a command that reads a run."""
    return flags.DEFINE_string("workdir", None, "Folder of the run, as given to ava-train.")


def define_step() -> flags.FlagHolder[str | None]:
    """The flag `--step=NUMBER` or `--step=best`, as `Context.restore` takes it."""
    return flags.DEFINE_string("step", None, "Which checkpoint: a number, or best, that of the best validation; by default the latest.")


def define_data() -> flags.FlagHolder[str | None]:
    """The flag `--data=FOLDER` of a command that reads other data than the run was trained on: overrides `data.root`."""
    return flags.DEFINE_string("data", None, "Folder of the data; by default the one that was trained on.")
