"""Shapes that a trained network makes of examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ava_jax.core import names as naming
from ava_jax.ops import implicit
from ava_jax.tasks.base import TRAIN, Compile
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data.source import ExampleSource, Listed

_READ = ("depth", "points")  # of a sample, what the network looks at


class Made(NamedTuple):
    """A shape that a network made, and the example that it saw."""

    example: Listed
    shape: Shape


class Shapes:
    """The examples of a split as shapes, each made when it is asked for."""

    def __init__(self, task: Any, assets: Any, model: Any, compile_model: Compile, split: str | None) -> None:
        """Reads the split's list.

        Args:
          task, assets, model: a restored run's.
          compile_model: of the model.
          split: one of the data's; None: the first that is not trained on, or else the training's.

        Raises:
          ValueError: there is no such split.
        """
        split = split or next(iter(task.eval_splits(assets)), TRAIN)
        self.split = split
        self._source: ExampleSource = task.source(split, assets)
        self._config = task.config.model
        self._elements = compile_model(lambda model, batch: model.elements(batch, jax.random.key(0), train=False))
        self._decoder = None
        if self._config.features:
            weights = compile_model(lambda model, unused: (model.decoder.weights(), unused))(np.zeros(1, np.float32))[0]
            self._decoder = jax.device_get(weights)

    @property
    def names(self) -> list[str]:
        """CLASS/NAME of all, in the order of the list."""
        return [f"{one.kind}/{one.name}" for one in self._source.examples]

    def choose(self, given: Sequence[str], most: int) -> list[int]:
        """Positions of examples by name or class; of none, the first ones of each class, `most` in all.

        Raises:
          ValueError: there is none of that name.
        """
        names, kinds = self.names, [one.kind for one in self._source.examples]
        found: list[int] = []
        for one in given:
            naming.pick("--examples", one, [*names, *set(kinds)])
            found += [i for i, name in enumerate(names) if one in (name, kinds[i])]
        if given:
            return list(dict.fromkeys(found))
        rank = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]
        return sorted(sorted(range(len(names)), key=lambda i: (rank[i], i))[:most])

    def sample(self, at: int) -> dict[str, Any]:
        """The example's arrays.

        Raises:
          ValueError: a file is missing or damaged.
        """
        return self._source[at]

    def make(self, at: int) -> Made:
        """What the network makes of an example; raises as `sample`."""
        sample = self.sample(at)
        batch = {name: sample[name][None] for name in _READ if name in sample}
        found = jax.device_get(self._elements(batch))
        elements = implicit.Elements(*(np.asarray(part)[0] for part in found))
        return Made(self._source.examples[at], Shape(elements, self._config.symmetric, self._decoder, rotated=self._config.rotated))
