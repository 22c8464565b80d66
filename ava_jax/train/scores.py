"""What a task's scores and baselines give, held against what the task declares."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ava_jax.core.names import nearest
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.base import Prediction, Score, Task


def named(task: Task, name: str) -> Score:
    """The score of `task` that `config.train.best_score` names.

    Args:
      task: declares its scores.
      name: one of theirs; the minus that older configs have in front, where less is better, is dropped.

    Raises:
      ValueError: the task has none of this name.
    """
    known = {score.name: score for score in task.scores}
    plain = name.removeprefix("-")
    if plain not in known:
        raise ValueError(f"config.train.best_score must be a score of the task, {', '.join(known)}; got {name!r}.{nearest(plain, known)}")
    return known[plain]


def of_prediction(task: Task, prediction: Prediction, batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
    """Every score of a batch, in the declared order: name -> f64 [B].

    Raises:
      ValueError: `task.score` gives other names than `task.scores` declares, or not a value per sample.
    """
    who = f"{type(task).__name__}.score"
    found = checked(who, task, task.score(prediction, batch, assets), samples_in(batch))
    if missing := [score.name for score in task.scores if score.name not in found]:
        raise ValueError(f"{who} must give all that {type(task).__name__}.scores declares; it lacks {', '.join(missing)} (NaN is allowed).")
    return {score.name: found[score.name] for score in task.scores}


def checked(who: str, task: Task, values: Mapping[str, Array], samples: int) -> dict[str, np.ndarray]:
    """Scores by name as f64 [B], B = `samples`; they may be a part of what `task` declares.

    Args:
      who: gives them, for errors.
      task: declares their names.
      values: name -> [B].
      samples: B.

    Raises:
      ValueError: a name is not declared, or its values are not [B].
    """
    declared: Collection[str] = [score.name for score in task.scores]
    found = {}
    for name, array in values.items():
        if name not in declared:
            raise ValueError(f"{who} gave {name!r}, which {type(task).__name__}.scores does not declare.{nearest(name, declared)}")
        found[name] = np.asarray(array, np.float64)
        if found[name].shape != (samples,):
            raise ValueError(f"{who} must give a value of {name!r} per sample, [{samples}]; got {list(found[name].shape)}.")
    return found


def samples_in(batch: Mapping[str, Any]) -> int:
    """B, of arrays [B, ...] by name."""
    return len(next(iter(batch.values())))
