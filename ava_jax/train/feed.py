"""Batches read ahead and put on the devices while a step runs."""

import collections
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from ava_jax.core.types import Batch


class ResumableIterator(Protocol):
    """What `data.pipeline.iterator` gives."""

    def __next__(self) -> Batch: ...

    def get_state(self) -> Any:
        """Where it is; JSON can carry it."""


class Fed(NamedTuple):
    """A batch on the devices, the iterator's position after it, and the batch as it was read, to say what it was of."""

    batch: Batch
    position: Any
    host: Batch


class Feed:
    """Takes batches from an iterator in a thread of its own. Use as a context manager: leaving ends the thread.

    Each batch comes with the iterator's position after it, so that a checkpoint can be taken although others were read ahead.
    """

    def __init__(self, iterator: ResumableIterator, place: Callable[[Batch], Batch], *, ahead: int = 2):
        """Starts reading.

        Args:
          iterator: gives batches on the host.
          place: puts a batch on the devices.
          ahead: batches to hold ready.
        """
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._spent: collections.deque = collections.deque()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(iterator, place), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *exc) -> None:
        self._closing.set()
        self._thread.join()

    def _work(self, iterator: ResumableIterator, place: Callable[[Batch], Batch]) -> None:
        while not self._closing.is_set():
            self._spent.clear()
            try:
                host = next(iterator)
                item = Fed(place(host), iterator.get_state(), host)
            except BaseException as e:  # handed to the reader, StopIteration included
                item = e
            while not self._closing.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def release(self, spent: Any) -> None:
        """Frees what the caller keeps no reference to any more, in the feed's thread, before the next batch is read.

        Giving a batch's tens of megabytes back to the system takes milliseconds while other threads read into new ones.
        """
        self._spent.append(spent)

    def ready(self) -> bool:
        """Whether a batch is there to be taken at once."""
        return not self._queue.empty()

    def take(self) -> Fed | None:
        """The next batch; None after the last.

        Raises:
          Whatever the iterator raised.
        """
        item = self._queue.get()
        if isinstance(item, StopIteration):
            return None
        if isinstance(item, BaseException):
            raise item
        return item
