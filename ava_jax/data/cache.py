"""Recently used values, within a bound, made once however many threads ask for them."""

import collections
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any


class Cache:
    """Keeps the values last asked for, as long as their costs sum to `limit` at most. Safe from several threads."""

    def __init__(self, limit: int, cost: Callable[[Any], int]) -> None:
        """An empty cache.

        Args:
          limit: of the costs of all values kept.
          cost: of a value, in the limit's unit: bytes, or 1 to count values.
        """
        self.limit = limit
        self.held = 0  # the costs of all values kept
        self._cost = cost
        self._values: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._making: dict[Hashable, Future] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value kept under `key`, or what `make` returns, which is then kept.

        Threads that ask for a key while another makes its value wait for it. What `make` raises is raised in all of them, and not kept.
        Values are shared: callers must not write to them.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            theirs = self._making.get(key)
            if theirs is None:
                mine = self._making[key] = Future()
        if theirs is not None:
            return theirs.result()
        try:
            value = make()
        except BaseException as e:
            with self._lock:
                del self._making[key]
            mine.set_exception(e)
            raise
        with self._lock:
            del self._making[key]
            self._values[key] = value
            self.held += self._cost(value)
            while self.held > self.limit:
                self.held -= self._cost(self._values.popitem(last=False)[1])
        mine.set_result(value)
        return value
