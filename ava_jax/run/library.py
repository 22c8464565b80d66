"""Trained models for programs of one's own."""

import pathlib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from ava_jax.core.types import Assets
from ava_jax.run.inference import Inference
from ava_jax.train import checkpoint


@runtime_checkable
class HasLibrary(Protocol):
    """A task whose trained model can be used from Python."""

    def library(self, compile_model: Callable[..., Any], assets: Assets, folder: pathlib.Path, step: int) -> Any:
        """An object with the model's functions on arrays.

        Args:
          compile_model: makes a compiled function of `args` from `fn(model, *args)`.
          folder: the run's.
          step: of the checkpoint.
        """


def load(workdir: str | pathlib.Path, step: int | str | None = None) -> Any:
    """A trained model, ready to be called from Python. Needs the run's folder alone, no captures.

    Args:
      workdir: the run's folder, as given to ava-train.
      step: which checkpoint; None takes the latest, "best" that of the highest score in validation.

    Returns:
      What the run's task makes of it: for ava256, a `tasks.ava256.apps.avatar.Avatar`.

    Raises:
      FileNotFoundError: there is no checkpoint, or none of that step.
      ValueError: the run's task has nothing to be called.
    """
    restored = checkpoint.restore_model(workdir, step)
    if not isinstance(restored.task, HasLibrary):
        raise ValueError(f"load: {restored.config.task}, the task of the run in {workdir}, has no `library` method.")
    return restored.task.library(Inference(restored.model).compile, restored.assets, pathlib.Path(workdir), restored.step)
