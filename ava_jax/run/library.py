"""Trained models for programs of one's own."""

import pathlib
from typing import Any

from ava_jax.run.inference import Inference
from ava_jax.tasks.base import Task
from ava_jax.train import checkpoint


def load(workdir: str | pathlib.Path, step: int | str | None = None) -> Any:
    """A trained model, ready to be called from Python. Needs the run's folder alone, no captures.

    Args:
      workdir: the run's folder, as given to ava-train.
      step: which checkpoint; None takes the latest, "best" that of the best score in validation.

    Returns:
      What the run's task makes of it: for ava256, a `tasks.ava256.apps.avatar.Avatar`.

    Raises:
      FileNotFoundError: there is no checkpoint, or none of that step.
      ValueError: the run's task has nothing to be called.
    """
    restored = checkpoint.restore_model(workdir, step)
    if type(restored.task).library is Task.library:
        raise ValueError(f"load: {restored.config.task}, the task of the run in {workdir}, has nothing to be called from Python.")
    return restored.task.library(Inference(restored.model).compile, restored.assets, pathlib.Path(workdir), restored.step)
