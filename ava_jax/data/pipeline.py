"""From a source of samples to batches: shuffled, prefetched, exactly resumable."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from ava_jax.core.sampling import Grouped, Redrawn, Sampling, Separable, Source, UnreadableData
from ava_jax.core.types import Batch
from ava_jax.data import order
from ava_jax.data.process_iterator import ProcessIterator, none_readable
from ava_jax.data.resumable import NEXT, Resumable

_LOOK_UP = 1024  # positions at once
_WORTH_A_PROCESS = 16  # samples that each process reads at least


def iterator(
    source: Source,
    sampling: Sampling,
    *,
    seed: int,
    threads: int,
    readers: int = 0,
    held: int = 4,
    process_index: int = 0,
    process_count: int = 1,
    like: Mapping[str, Any] | None = None,
) -> "BatchIterator | ProcessIterator":
    """Batches of a source, stacked: name -> array [B, ...].

    The order follows from `seed` and the sampling alone, whatever the number of threads or readers. Samples that the source returns as None
    are passed over and the next in order are taken instead, so that batches stay full. Processes read disjoint samples, an equal part of
    each batch; shuffled, a group's samples of one visit are one process's.

    Args:
      source: of samples.
      sampling: order and batch size, over all processes.
      seed: of the order; each epoch has one of its own.
      threads: that read; 0 reads in the caller's thread.
      readers: processes that read instead, which leave the caller's Python alone; 0, or a source that is not `Separable`: threads.
      held: with readers, batches that the caller refers to at a time without their being copied.
      process_index: of this process among `process_count` that divide the work.
      process_count: see there.
      like: a position that `get_state` gave, to be gone on from: an older version's shuffles as it did.

    Raises:
      ValueError: the source is empty, or the batch cannot be divided evenly.
    """
    local_batch, positions, identity = _order(source, sampling, seed, process_index, process_count, like)
    # A readable sample comes twice within two epochs and what their visits are apart: more failures in a row mean that there is none.
    max_consecutive_failures = 2 * len(source) + sampling.per_visit**2 * sampling.window
    if readers and isinstance(source, Separable):
        how = {"readers": readers, "held": held, "most_failures": max_consecutive_failures}
        return ProcessIterator(source, positions, local_batch, sampling.drop_remainder, identity, **how)
    # Grain reads 500 samples ahead by default: 3 GB of full-size textures.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * local_batch, 2 * threads, 1))
    samples = grain.MapDataset.source(_Ordered(source, positions, max_consecutive_failures)).to_iter_dataset(options)
    return BatchIterator(iter(samples.batch(local_batch, drop_remainder=sampling.drop_remainder)), identity)


def index_iterator(
    source: Source,
    sampling: Sampling,
    *,
    readable: np.ndarray,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    like: Mapping[str, Any] | None = None,
) -> "IndexIterator":
    """Which samples the batches of `iterator` are made of, without reading any: int32 [B].

    Positions are those of `iterator`: each goes on where the other was.

    Args:
      source: of samples; only its length and groups are looked at.
      sampling, seed, process_index, process_count, like: as of `iterator`.
      readable: bool [samples], those that the source does not return as None.

    Raises:
      ValueError: as `iterator`; or no sample is readable.
    """
    local_batch, positions, identity = _order(source, sampling, seed, process_index, process_count, like)
    if not readable.any():
        raise ValueError(none_readable(source))
    return IndexIterator(positions, readable, local_batch, sampling.drop_remainder, identity)


def _order(
    source: Source, sampling: Sampling, seed: int, process_index: int, process_count: int, like: Mapping[str, Any] | None
) -> tuple[int, order.IndexOrder | order.VisitOrder, dict[str, int | str]]:
    """(this process's part of a batch, the order, what it follows from)."""
    local_batch, rest = divmod(sampling.batch_size, process_count)
    if rest or not local_batch:
        raise ValueError(f"pipeline: batch_size must be a multiple of the {process_count} processes; got {sampling.batch_size}.")
    if not 0 <= process_index < process_count <= max(len(source), 1):
        raise ValueError(f"pipeline: process_index must be in 0..{process_count - 1} and each process needs a sample; got {process_index}.")
    if not len(source):
        raise ValueError(f"pipeline: {source!r} has no samples; check the config's captures, cameras and held-out rules.")
    if min(sampling.per_visit, sampling.window) < 1:
        raise ValueError(f"pipeline: per_visit and window must be at least 1; got {sampling.per_visit} and {sampling.window}.")
    identity = {"seed": seed, "samples": len(source), "process_index": process_index, "process_count": process_count}
    processes = {"epochs": sampling.epochs, "process_index": process_index, "process_count": process_count}
    if not sampling.shuffle:
        return local_batch, order.IndexOrder(len(source), **processes), identity | {"order": "by index", "per_visit": 1, "window": 1}
    name = like["order"] if like is not None and like.get("order") in order.NAMES else order.NAME
    visits = {"per_visit": sampling.per_visit, "window": sampling.window}
    groups = source.groups if isinstance(source, Grouped) else [(len(source), 1)]
    return local_batch, order.VisitOrder(groups, seed=seed, name=name, **visits, **processes), identity | {"order": name} | visits


def read_in_order(source: Source, batch_size: int, *, threads: int, readers: int = 0) -> Iterator[tuple[Batch, int]]:
    """All readable samples of a source once, in index order, as batches of one size.

    The last batch is filled up with copies of its last sample, so that nothing compiles anew for it.

    Args:
      source: of the samples.
      batch_size: of every batch.
      threads, readers: as of `iterator`. Where each process would read few, which takes less time than starting them, threads read.

    Returns:
      An iterator over (batch, how many of its samples count).

    Raises:
      ValueError: the source is empty.
    """
    sampling = Sampling(batch_size, shuffle=False, epochs=1, drop_remainder=False)
    readers = readers if len(source) >= _WORTH_A_PROCESS * readers else 0
    for batch in iterator(source, sampling, seed=0, threads=threads, readers=readers):
        count = len(next(iter(batch.values())))
        index = np.minimum(np.arange(batch_size), count - 1)
        yield {name: np.asarray(values)[index] for name, values in batch.items()}, count


class BatchIterator(Resumable, Iterator[Batch]):
    """Iterates over batches; see `iterator`."""

    def __init__(self, batches: grain.DatasetIterator, identity: dict[str, int | str]) -> None:
        super().__init__(identity)
        self._batches = batches

    def __next__(self) -> Batch:
        return next(self._batches)

    def _position(self) -> dict[str, int]:
        return self._batches.get_state()

    def _go_to(self, position: Mapping[str, int]) -> None:
        self._batches.set_state(position)


class IndexIterator(Resumable, Iterator[np.ndarray]):
    """Iterates over the indices of batches' samples, int32 [B]; see `index_iterator`."""

    def __init__(
        self,
        positions: order.IndexOrder | order.VisitOrder,
        readable: np.ndarray,
        batch_size: int,
        drop_remainder: bool,
        identity: dict[str, int | str],
    ) -> None:
        """Of the samples that are `readable`, bool [samples], `batch_size` at a time."""
        super().__init__(identity)
        self._order, self._readable, self._batch_size, self._drop_remainder = positions, readable, batch_size, drop_remainder
        self._go_to({NEXT: 0})

    def __next__(self) -> np.ndarray:
        while len(self._indices) - self._used < self._batch_size and self._looked_up < len(self._order):
            self._look_up()
        taken = slice(self._used, min(self._used + self._batch_size, len(self._indices)))
        count = taken.stop - taken.start
        if not count or (self._drop_remainder and count < self._batch_size):
            raise StopIteration
        self._used = taken.stop
        self._next = int(self._after[taken.stop - 1]) if count == self._batch_size else len(self._order)  # it was looked for to the end
        return self._indices[taken]

    def _look_up(self) -> None:
        """Appends the indices of some more positions to those not used yet."""
        stop = min(self._looked_up + max(_LOOK_UP, self._batch_size), len(self._order))
        indices = self._order.indices(self._looked_up, stop)
        drawn = (indices >= 0) & self._readable[indices]
        after = np.arange(self._looked_up + 1, stop + 1)[drawn]
        self._indices = np.concatenate([self._indices[self._used :], indices[drawn].astype(np.int32)])
        self._after = np.concatenate([self._after[self._used :], after])
        self._looked_up, self._used = stop, 0

    def _position(self) -> dict[str, int]:
        return {NEXT: self._next}

    def _go_to(self, position: Mapping[str, int]) -> None:
        self._next = self._looked_up = position[NEXT]
        self._indices, self._after = np.zeros(0, np.int32), np.zeros(0, np.int64)  # of readable samples; the positions after them
        self._used = 0


class _Ordered(Sequence):
    """A source in an order, which names the sample in its errors and gives up when no sample is left that can be read."""

    def __init__(self, source: Source, positions: Sequence[int | None], max_consecutive_failures: int) -> None:
        self._source, self._positions, self._max_consecutive_failures = source, positions, max_consecutive_failures
        self._failures = 0  # in a row; threads may miscount by a few

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int) -> Batch | None:
        if (index := self._positions[position]) is None:
            return None
        sample = read_sample(self._source, index, position)
        self._failures = 0 if sample is not None else self._failures + 1
        if self._failures > self._max_consecutive_failures:
            raise ValueError(none_readable(self._source))
        return sample


def read_sample(source: Source, index: int, position: int | None = None) -> Batch | None:
    """One sample, as the source gives it: arrays of any shape, or None where it cannot be read.

    Args:
      source: of samples.
      index: of the sample.
      position: in the order, for sources that draw from a sample anew each time; None: the whole sample.

    Raises:
      ValueError: reading failed; the message names the sample.
    """
    try:
        if position is not None and isinstance(source, Redrawn):
            return source.redraw(index, position)
        return source[index]
    except UnreadableData:
        raise
    except Exception as e:
        raise ValueError(f"sample {index} of {source!r}: {e}") from e
