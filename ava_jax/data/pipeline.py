"""From a source of samples to batches: shuffled, prefetched, exactly resumable."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from ava_jax.core.sampling import Grouped, Sampling, Source, UnreadableData
from ava_jax.core.types import Batch
from ava_jax.data import order


def iterator(
    source: Source, sampling: Sampling, *, seed: int, threads: int, process_index: int = 0, process_count: int = 1
) -> "BatchIterator":
    """Batches of a source, stacked: name -> array [B, ...].

    The order follows from `seed` and the sampling alone, whatever the number of threads. Samples that the source returns as None are
    passed over and the next in order take their places, so that batches stay full. Processes read disjoint samples, an equal share of
    each batch; shuffled, a group's samples of one visit are one process's.

    Args:
      seed: of the order; each epoch has one of its own.
      threads: readers; 0 reads in the caller's thread.
      process_index: of this process among `process_count` that share the work.

    Raises:
      ValueError: the source is empty, or the batch cannot be shared evenly.
    """
    share, rest = divmod(sampling.batch_size, process_count)
    if rest or not share:
        raise ValueError(f"pipeline: batch_size must be a multiple of the {process_count} processes; got {sampling.batch_size}.")
    if not 0 <= process_index < process_count <= max(len(source), 1):
        raise ValueError(f"pipeline: process_index must be in 0..{process_count - 1} and each process needs a sample; got {process_index}.")
    if not len(source):
        raise ValueError(f"pipeline: {source!r} has no samples; check the config's captures, cameras and held-out rules.")
    if min(sampling.per_visit, sampling.window) < 1:
        raise ValueError(f"pipeline: per_visit and window must be at least 1; got {sampling.per_visit} and {sampling.window}.")
    identity = {"seed": seed, "samples": len(source), "process_index": process_index, "process_count": process_count}
    if sampling.shuffle:
        identity |= {"order": order.NAME, "per_visit": sampling.per_visit, "window": sampling.window}
        places = _shuffled(source, sampling, seed, process_index, process_count)
    else:
        identity |= {"order": "by index", "per_visit": 1, "window": 1}
        epochs = sys.maxsize // len(source) - 1 if sampling.epochs is None else sampling.epochs
        places = range(process_index, len(source) * epochs, process_count)
    # Grain reads 500 samples ahead by default: 3 GB of full-size textures.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * share, 2 * threads, 1))
    # A readable sample comes twice within two epochs and what their visits are apart: more failures in a row mean that there is none.
    patience = 2 * len(source) + sampling.per_visit**2 * sampling.window
    samples = grain.MapDataset.source(_Ordered(source, places, patience)).to_iter_dataset(options)
    return BatchIterator(iter(samples.batch(share, drop_remainder=sampling.drop_remainder)), identity)


def _shuffled(source: Source, sampling: Sampling, seed: int, process_index: int, process_count: int) -> order.VisitOrder:
    return order.VisitOrder(
        source.groups if isinstance(source, Grouped) else [(len(source), 1)],
        seed=seed,
        per_visit=sampling.per_visit,
        window=sampling.window,
        epochs=sampling.epochs,
        process_index=process_index,
        process_count=process_count,
    )


def read_in_order(source: Source, batch_size: int, *, threads: int) -> Iterator[tuple[Batch, int]]:
    """All readable samples of a source once, in index order, as batches of one size.

    The last batch is filled up with copies of its last sample, so that nothing compiles anew for it.

    Returns:
      An iterator over (batch, how many of its samples count).

    Raises:
      ValueError: the source is empty.
    """
    sampling = Sampling(batch_size, shuffle=False, epochs=1, drop_remainder=False)
    for batch in iterator(source, sampling, seed=0, threads=threads):
        count = len(next(iter(batch.values())))
        index = np.minimum(np.arange(batch_size), count - 1)
        yield {name: np.asarray(values)[index] for name, values in batch.items()}, count


class BatchIterator(Iterator[Batch]):
    """Iterates over batches; `get_state` and `set_state` hold its place, as a dict that JSON can carry.

    A place is good for any number of threads and any batch size, but only for the same samples, seed, order and processes.
    """

    def __init__(self, batches: grain.DatasetIterator, identity: dict[str, int | str]) -> None:
        self._batches = batches
        self._identity = identity

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """Where it is, for `set_state`; JSON can carry it."""
        return {**self._identity, "position": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to the place that `get_state` returned.

        Raises:
          ValueError: the state is of another order of samples, where it would mean something else.
        """
        for name, mine in self._identity.items():
            if state.get(name) != mine:
                saved = state.get(name, "of an earlier version")
                raise ValueError(
                    f"pipeline: resuming needs the {name} of the saved run, {saved}; got {mine}. "
                    "Its place in the data means nothing here: start anew in another --workdir, or go on with what it was started with."
                )
        self._batches.set_state(state["position"])


class _Ordered(Sequence):
    """A source in the order of `places`, which names the sample in its errors and gives up when no sample is left that can be read."""

    def __init__(self, source: Source, places: Sequence[int | None], patience: int) -> None:
        self._source, self._places, self._patience = source, places, patience
        self._failures = 0  # in a row; threads may miscount by a few

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Batch | None:
        if (index := self._places[place]) is None:
            return None
        index %= len(self._source)
        try:
            sample = self._source[index]
        except UnreadableData:
            raise
        except Exception as e:
            raise ValueError(f"sample {index} of {self._source!r}: {e}") from e
        self._failures = 0 if sample is not None else self._failures + 1
        if self._failures > self._patience:
            raise ValueError(f"none of the {len(self._source)} samples of {self._source!r} can be read.")
        return sample
