"""What a task gives the data pipeline: samples by number, and how to draw them."""

import dataclasses
from typing import Protocol

from ava_jax.core.types import Batch


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a split is read.

    Attributes:
      batch_size: samples a step, over all devices of all processes.
      shuffle: a new order every epoch, repeatable from (seed, epoch); otherwise index order.
      epochs: passes over the split; None repeats for ever.
      drop_remainder: whether the last, smaller batch of a finite split is dropped.
    """

    batch_size: int
    shuffle: bool = True
    epochs: int | None = None
    drop_remainder: bool = True


class Source(Protocol):
    """Stateless random access to samples; safe to call from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch | None:
        """One sample (arrays without the batch axis), or None where it cannot be read: counted, and the next takes its place."""

    @property
    def counts(self) -> dict[str, int]:
        """`listed`: its length; and of the samples asked for so far, how many were passed over, by reason."""
