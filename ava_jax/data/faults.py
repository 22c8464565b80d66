"""Samples that cannot be decoded: counted, named once, and too many of them an error."""

import abc
import threading

from absl import logging

from ava_jax.core.sampling import UnreadableData
from ava_jax.core.types import Batch


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


class FaultySource(abc.ABC):
    """What sources share whose samples may be unreadable: those are passed over, and counted in `_faults`."""

    _faults: Faults

    @abc.abstractmethod
    def read(self, index: int) -> Batch | str | None:
        """A sample; None where a file is missing; where one cannot be decoded, what is wrong."""

    def __getitem__(self, index: int) -> Batch | None:
        """A sample, or None where a file is missing or, counted, cannot be decoded.

        Raises:
          UnreadableData: a larger part of the samples read than allowed cannot be decoded.
        """
        found = self.read(index)
        if found is None:
            return None
        self.note(index, found if isinstance(found, str) else "")
        return None if isinstance(found, str) else found

    def note(self, index: int, fault: str) -> None:
        """Counts a sample that was read; `fault` says what is wrong with one that cannot be decoded.

        Raises:
          UnreadableData: as `source[index]`.
        """
        self._faults.add(index, fault)
