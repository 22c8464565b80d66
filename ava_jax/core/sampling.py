"""What a task gives the data pipeline: samples by number, and how to draw them; and how a few are taken of many."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ava_jax.core.types import Batch


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a split is read.

    Attributes:
      batch_size: samples per step, over all devices of all processes.
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
class Redrawn(Protocol):
    """A source that has more of a sample than a step needs, and gives another part of it each time."""

    def redraw(self, index: int, position: int) -> Batch | None:
        """As `source[index]`, a part that follows from the position in the order: a run that is gone on with sees the same."""


@runtime_checkable
class Grouped(Protocol):
    """A source whose samples have work in common in groups, as all views of a frame have its texture and mesh."""

    @property
    def groups(self) -> Sequence[tuple[int, int]]:
        """Runs of groups of one size, in index order: (how many groups, samples of each); a group's samples are neighbours."""


@runtime_checkable
class Separable(Protocol):
    """A source that several processes can read for one: what `source[i]` does in parts, reading apart from counting."""

    def part(self, count: int) -> "Separable":
        """The same source for one of `count` readers, to be pickled: each has its part of the memory that may be used."""

    def has(self, index: int) -> bool:
        """Whether a sample's files are there."""

    def read(self, index: int) -> Batch | str | None:
        """A sample; None where a file is missing; where one cannot be decoded, what is wrong. Counts nothing."""

    def note(self, index: int, fault: str) -> None:
        """Counts a sample that was read; `fault` is "" for one that could be decoded.

        Raises:
          UnreadableData: so many could not that something must be wrong.
        """


def thin(count: int, most: int, *, jitter: bool = False) -> np.ndarray:
    """Indices of at most `most` of `count` samples, spread evenly over all.

    Args:
      most: 0 takes all.
      jitter: takes a sample anywhere in each of `most` equal stretches, always the same one, instead of the first, the last and those
        evenly between. Even steps keep time with what repeats in the order: where the views of a frame are neighbours, a step of about
        as many shows each person from few cameras. A video needs even steps, a mean over samples is better without.

    Returns:
      int64 [min(count, most)], rising; [count] where `most` is 0.
    """
    if not 0 < most < count:
        return np.arange(count)
    if jitter:
        ends = np.arange(most + 1, dtype=np.int64) * count // most  # whole numbers: no sample is in two stretches
        return ends[:-1] + (np.random.default_rng(0).random(most) * np.diff(ends)).astype(np.int64)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


class UnreadableData(ValueError):
    """The data as a whole are at fault, no single sample."""
