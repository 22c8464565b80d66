"""Samples that cannot be decoded: counted, named once, and too many of them an error."""

import threading

from absl import logging

from ava_jax.core.sampling import UnreadableData


class Faults:
    """Counts what cannot be decoded, names each once, and gives up when it is too much."""

    _ENOUGH = 200  # samples read before a fraction of them means anything

    def __init__(self, most: float) -> None:
        """`most`: fraction of the samples read that may fail; `samples` are the indices of those that did."""
        self.samples: set[int] = set()
        self._most = most
        self._read = self._failed = 0
        self._first: list[str] = []
        self._lock = threading.Lock()

    def add(self, index: int, fault: str) -> None:
        """Counts a sample that was read; `fault` is "" for one that could be decoded."""
        with self._lock:
            self._read += 1
            if not fault:
                return
            self._failed += 1
            if index not in self.samples:  # once, not every epoch
                self.samples.add(index)
                self._first = (self._first + [fault])[:3]
                logging.warning("Passed over: %s", fault)
            if self._read >= self._ENOUGH and self._failed > self._most * self._read:
                raise UnreadableData(
                    f"data: {self._failed} of the {self._read} samples read cannot be decoded, more than the share of {self._most:g} that "
                    f"config.data.max_unreadable allows; the first: {'; '.join(self._first)}."
                )
