"""What a task gives the data pipeline: samples by number, and how to draw them."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ava_jax.core.types import Batch


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a split is read.

    Attributes:
      batch_size: samples a step, over all devices of all processes.
      shuffle: a new order every epoch, repeatable from (seed, epoch); otherwise index order.
      epochs: passes over the split; None repeats for ever.
      drop_remainder: whether the last, smaller batch of a finite split is dropped.
      per_visit: where a source is `Grouped`, how many samples of a group are drawn near each other in a shuffled order; 1 draws every
        sample by itself.
      window: how many other visits begin between two samples of a visit.
    """

    batch_size: int
    shuffle: bool = True
    epochs: int | None = None
    drop_remainder: bool = True
    per_visit: int = 1
    window: int = 1


class Source(Protocol):
    """Stateless random access to samples; safe to call from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch | None:
        """One sample (arrays without the batch axis), or None where it cannot be read: counted, and the next takes its place.

        Raises:
          UnreadableData: so many cannot be read that something must be wrong.
        """

    @property
    def counts(self) -> dict[str, int]:
        """`listed`: its length; and how many samples were passed over, by reason."""


@runtime_checkable
class Grouped(Protocol):
    """A source whose samples share work in groups, as all views of a frame share its texture and mesh."""

    @property
    def groups(self) -> Sequence[tuple[int, int]]:
        """Runs of groups of one size, in index order: (how many groups, samples of each); a group's samples are neighbours."""


class UnreadableData(ValueError):
    """The data as a whole are at fault, no single sample."""
