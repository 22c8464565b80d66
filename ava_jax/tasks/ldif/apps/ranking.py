"""Examples by how well a run makes them, beside what needs no learning: the best single sphere."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.ops.implicit import SURFACE
from ava_jax.tasks.ldif.apps import fitting
from ava_jax.tasks.ldif.apps.run_shapes import Shapes
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.evaluation import scoring

_SAMPLES = 16_384  # of an example, that its IoU is of
_AT_ONCE = 2048


class Scored(NamedTuple):
    """An example and what was made of it.

    Attributes:
      name: CLASS/NAME.
      kind: its class.
      folder: the example's.
      shape: that was made.
      iou: percent, of its first uniform samples.
      sphere: percent, of the best single sphere, on the same samples.
    """

    name: str
    kind: str
    folder: pathlib.Path
    shape: Shape
    iou: float
    sphere: float


def score(found: Shapes, at: int) -> Scored:
    """Makes and scores an example; raises as `Shapes.sample`."""
    sample = found.sample(at)
    made, samples = found.make(sample), np.asarray(sample["uniform"])[:_SAMPLES]
    values = np.concatenate([np.asarray(made.values(part)) for part in np.split(samples[:, :3], range(_AT_ONCE, len(samples), _AT_ONCE))])
    iou = float(scoring.iou(values < SURFACE, samples[:, 3] < 0))
    one = found.examples[at]
    return Scored(found.names[at], one.kind, one.folder, made, iou, fitting.best_sphere(samples))


def score_all(found: Shapes) -> list[Scored]:
    """All examples, the best first."""
    import tqdm

    every = [score(found, at) for at in tqdm.tqdm(range(len(found.examples)), desc=found.split, unit="shape", leave=False)]
    return sorted(every, key=lambda one: -one.iou)


def best_median_worst(ranked: Sequence[Scored]) -> list[tuple[Scored, str]]:
    """Of shapes, the best first, with a label each; fewer where there are fewer."""
    places = (
        {0: "best: ", len(ranked) // 2: "median: ", len(ranked) - 1: "worst: "}
        if len(ranked) > 2
        else dict.fromkeys(range(len(ranked)), "")
    )
    return [(ranked[at], label) for at, label in places.items()]


def medians(ranked: Sequence[Scored]) -> list[tuple[Scored, str]]:
    """The median of each class."""
    kinds = sorted({one.kind for one in ranked})
    groups = [[one for one in ranked if one.kind == kind] for kind in kinds]
    return [(group[len(group) // 2], "") for group in groups]
