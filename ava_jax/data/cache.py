"""Recently used arrays, within a bound in bytes."""

import collections
import threading
from collections.abc import Callable, Hashable

import numpy as np


class ArrayCache:
    """Keeps the arrays last asked for, up to `limit` bytes in all. Safe from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._arrays: collections.OrderedDict[Hashable, np.ndarray] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], np.ndarray | None]) -> np.ndarray | None:
        """The array kept under `key`, or what `make` returns, then kept; None is passed on and not kept.

        The arrays are shared: callers must not write to them.
        """
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
                return self._arrays[key]
        array = make()  # outside the lock: threads decode side by side, now and then the same array twice
        if array is None or array.nbytes > self.limit:
            return array
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = array
                self.bytes += array.nbytes
            while self.bytes > self.limit:
                self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return array
