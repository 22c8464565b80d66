"""Batches read ahead and put on the devices while a step runs."""

import collections
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol


class ResumableIterator(Protocol):
    """What `data.pipeline.iterator` and `index_iterator` give."""

    def __next__(self) -> Any: ...

    def get_state(self) -> Any:
        """Where it is; JSON can carry it."""

    def set_state(self, state: Any) -> None:
        """Goes to where it was."""


class DeviceBatch(NamedTuple):
    """What the steps of one call take.

    Attributes:
      arrays: on the devices, as `put_on_devices` gave it.
      read: per step, what the iterator gave: a batch on the host, or the indices of its samples.
      positions: per step, the iterator's position after that.
    """

    arrays: Any
    read: tuple[Any, ...]
    positions: tuple[Any, ...]

    @property
    def steps(self) -> int:
        """How many steps the call takes."""
        return len(self.read)


def _one_step(taken: int) -> int:
    return 1


class Feed:
    """Takes batches from an iterator in a thread of its own. Use as a context manager: leaving ends the thread.

    Each batch comes with the iterator's position after it, so that a checkpoint can be taken although others were read ahead.
    """

    def __init__(
        self,
        iterator: ResumableIterator,
        put_on_devices: Callable[[Sequence[Any]], Any],
        *,
        steps: Callable[[int], int] = _one_step,
        taken: int = 0,
        ahead: int = 2,
    ):
        """Starts reading.

        Args:
          iterator: gives a step's batch at a time.
          put_on_devices: puts the batches of one call's steps on the devices.
          steps: how many steps the call after so many steps takes.
          taken: steps taken so far.
          ahead: calls to hold ready.
        """
        self._iterator, self._put_on_devices, self._steps, self._ahead = iterator, put_on_devices, steps, ahead
        self._spent: collections.deque = collections.deque()
        self._start(taken)

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *exc) -> None:
        self._stop()

    def _start(self, taken: int) -> None:
        self._queue: queue.Queue = queue.Queue(maxsize=self._ahead)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(taken,), daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        self._closing.set()
        self._thread.join()

    def go_to(self, position: Any, taken: int) -> None:
        """Goes on with the batch after an iterator's position, as that of the step after `taken`; what was read ahead is dropped."""
        self._stop()
        self._iterator.set_state(position)
        self._start(taken)

    def _work(self, taken: int) -> None:
        try:
            while not self._closing.is_set():
                self._spent.clear()
                steps = self._steps(taken)
                self._read_call(steps)
                taken += steps
        except BaseException as e:  # the reader's to handle, StopIteration included
            self._hand_over(e)

    def _read_call(self, steps: int) -> None:
        """Hands over what a call of so many steps takes; where the data end or fail before that, what they gave, a step at a time."""
        read, positions = [], []
        try:
            while len(read) < steps:
                read.append(next(self._iterator))
                positions.append(self._iterator.get_state())
        except BaseException:
            for one, position in zip(read, positions):
                self._hand_over(self._on_devices([one], [position]))
            raise
        self._hand_over(self._on_devices(read, positions))

    def _on_devices(self, read: list[Any], positions: list[Any]) -> DeviceBatch:
        return DeviceBatch(self._put_on_devices(read), tuple(read), tuple(positions))

    def _hand_over(self, item: DeviceBatch | BaseException) -> None:
        """Waits until the reader has room for it."""
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def free(self, spent: Any) -> None:
        """Frees what the caller keeps no reference to any more, in the feed's thread, before the next batch is read.

        Giving a batch's tens of megabytes back to the system takes milliseconds while other threads read into new ones.
        """
        self._spent.append(spent)

    def ready(self) -> bool:
        """Whether a batch is there to be taken at once."""
        return not self._queue.empty()

    def take(self) -> DeviceBatch | None:
        """What the next call takes; None after the last.

        Raises:
          Whatever the iterator raised.
        """
        item = self._queue.get()
        if isinstance(item, StopIteration):
            return None
        if isinstance(item, BaseException):
            raise item
        return item
