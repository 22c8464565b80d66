"""From a source of samples to batches: shuffled, prefetched, exactly resumable."""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Batch


def iterator(
    source: Source, sampling: Sampling, *, seed: int, threads: int, process_index: int = 0, process_count: int = 1
) -> "BatchIterator":
    """Batches of a source, stacked: name -> array [B, ...].

    The order follows from `seed` alone, whatever the number of threads. Samples that the source returns as None are passed over
    and the next in order take their places, so that batches stay full. Processes read disjoint samples, an equal share of each batch.

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
    dataset = grain.MapDataset.source(_Readable(source)).seed(seed)
    if sampling.shuffle:
        dataset = dataset.shuffle()
    if sampling.epochs != 1:
        dataset = dataset.repeat(sampling.epochs)
    if process_count > 1:
        dataset = dataset[process_index::process_count]
    # Grain reads 500 samples ahead by default: 3 GB of full-size textures.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * share, 2 * threads, 1))
    batches = dataset.to_iter_dataset(options).batch(share, drop_remainder=sampling.drop_remainder)
    identity = {"seed": seed, "samples": len(source), "process_index": process_index, "process_count": process_count}
    return BatchIterator(iter(batches), identity)


class BatchIterator(Iterator[Batch]):
    """Iterates over batches; `get_state` and `set_state` hold its place, as a dict that JSON can carry.

    A place is good for any number of threads and any batch size, but only for the same samples, seed and processes.
    """

    def __init__(self, batches: grain.DatasetIterator, identity: dict[str, int]) -> None:
        self._batches = batches
        self._identity = identity

    def __next__(self) -> Batch:
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        return {**self._identity, "position": self._batches.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to the place that `get_state` returned.

        Raises:
          ValueError: the state is of another order of samples, where it would mean something else.
        """
        for name, mine in self._identity.items():
            if state.get(name) != mine:
                raise ValueError(f"pipeline: resuming needs the {name} of the saved run, {state.get(name)}; got {mine}.")
        self._batches.set_state(state["position"])


class _Readable:
    """A source that names the sample in its errors, and gives up when it has no readable sample left."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._failures = 0  # in a row; threads may miscount by a few

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray] | None:
        try:
            sample = self._source[index]
        except Exception as e:
            raise ValueError(f"sample {index} of {self._source!r}: {e}") from e
        self._failures = 0 if sample is not None else self._failures + 1
        # A readable sample comes twice within two epochs, so more failures in a row mean that there is none.
        if self._failures > 2 * len(self._source):
            raise ValueError(f"none of the {len(self._source)} samples of {self._source!r} can be read.")
        return sample
