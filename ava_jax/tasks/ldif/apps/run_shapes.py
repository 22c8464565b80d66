"""Shapes that a trained network makes of a split's examples, chosen by name."""

from collections.abc import Sequence
from typing import Any

from ava_jax.core import names as naming
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import TRAIN, Compile
from ava_jax.tasks.ldif.apps.reconstruct import Reconstructor
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data.source import ExampleSource, Listed

_SEEN = ("depth", "points", "image")  # of a sample, what networks look at


class Shapes:
    """The examples of a split as shapes, each made when it is asked for."""

    def __init__(self, task: Any, assets: Assets, compile_model: Compile, split: str | None) -> None:
        """Reads the split's list.

        Args:
          task, assets: a restored run's.
          compile_model: of its model.
          split: one of the data's; None: the first that is not trained on, or else the training's.

        Raises:
          ValueError: there is no such split.
        """
        self.split = split or next(iter(task.eval_splits(assets)), TRAIN)
        self._source: ExampleSource = task.source(self.split, assets)
        self._network = Reconstructor(task.config, compile_model)

    @property
    def examples(self) -> list[Listed]:
        """All, in the order of the list."""
        return self._source.examples

    @property
    def names(self) -> list[str]:
        """CLASS/NAME of all."""
        return [f"{one.kind}/{one.name}" for one in self.examples]

    def choose(self, given: Sequence[str], most: int) -> list[int]:
        """Positions of examples by name or class; of none, the first ones of each class, `most` in all.

        Raises:
          ValueError: there is none of that name.
        """
        names, kinds = self.names, [one.kind for one in self.examples]
        found: list[int] = []
        for one in given:
            naming.pick("--examples", one, [*names, *set(kinds)])
            found += [i for i, name in enumerate(names) if one in (name, kinds[i])]
        if given:
            return list(dict.fromkeys(found))
        rank = [kinds[:i].count(kind) for i, kind in enumerate(kinds)]
        return sorted(sorted(range(len(names)), key=lambda i: (rank[i], i))[:most])

    def sample(self, at: int) -> Batch:
        """The example's arrays.

        Raises:
          ValueError: a file is missing or damaged.
        """
        return self._source[at]

    def make(self, sample: Batch) -> Shape:
        """What the network makes of an example's arrays; of LDIF with the published cut of Gaussians."""
        return self._network.shape({name: sample[name] for name in _SEEN if name in sample}, cut=True)
