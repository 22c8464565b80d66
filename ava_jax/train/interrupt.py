"""Stopping on a signal."""

import signal
import threading
from typing import Any


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one acts as it always does. A context manager."""

    def __init__(self) -> None:
        self.requested = ""  # the signal's name
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc) -> None:
        self._restore()

    def _request(self, number: int, frame: Any) -> None:
        self.requested = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
