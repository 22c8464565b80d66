"""Weights of the loss terms (`config.loss_weights`): numbers, or schedules over the steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.train.config import nearest

Weight = (
    float | Sequence[tuple[int, float]]
)  # a number; or (step, value), ...: linear between, constant before the first and after the last


def check(weights: Mapping[str, Weight], terms: Sequence[str]) -> None:
    """Whether the config weighs what the task's loss gives.

    Args:
      weights: `config.loss_weights`.
      terms: `Task.loss_terms`.

    Raises:
      ValueError: other terms are named; a weight is neither a number nor a schedule; or all are 0.
    """
    if set(weights) != set(terms):
        hint = "".join(nearest(name, terms) for name in weights if name not in terms)
        raise ValueError(f"config.loss_weights must name the task's loss terms, {sorted(terms)}; got {sorted(weights)}.{hint}")
    for name, weight in weights.items():
        if not _is_number(weight) and not _is_schedule(weight):
            raise ValueError(
                f"config.loss_weights.{name} must be a number or a schedule of rising steps, as in ((0, 1.0), (1000, 0.1)); got {weight!r}."
            )
    if not computed(weights):
        raise ValueError(f"config.loss_weights must weigh a term; all of {', '.join(weights)} are 0.")


def computed(weights: Mapping[str, Weight]) -> tuple[str, ...]:
    """Terms that are computed: all but those whose weight is 0 at every step."""
    return tuple(name for name, weight in weights.items() if not (_is_number(weight) and weight == 0))


def at(weights: Mapping[str, Weight], step: jax.Array) -> dict[str, float | jax.Array]:
    """The weights of a step, int [], of those terms that are computed: numbers as they are, schedules' as f32 []."""
    return {name: weights[name] if _is_number(weights[name]) else _interpolated(weights[name], step) for name in computed(weights)}


def heaviest(weights: Mapping[str, Weight]) -> str:
    """The term of the largest weight; of a schedule, the largest it reaches."""
    return max(computed(weights), key=lambda name: weights[name] if _is_number(weights[name]) else max(v for _, v in weights[name]))


def _interpolated(schedule: Sequence[tuple[int, float]], step: jax.Array) -> jax.Array:
    steps, values = np.asarray(schedule, np.float32).T
    return jnp.interp(jnp.asarray(step, jnp.float32), steps, values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_schedule(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not value:
        return False
    if not all(isinstance(point, tuple | list) and len(point) == 2 and all(map(_is_number, point)) for point in value):
        return False
    steps = [step for step, _ in value]
    return steps[0] >= 0 and all(a < b for a, b in zip(steps, steps[1:]))
