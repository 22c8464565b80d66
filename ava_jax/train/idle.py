"""How long the devices had nothing to do: from the end of a call to when the next was dispatched."""

import queue
import threading
import time

import jax


class IdleClock:
    """Watches calls end, in a thread of its own: the loop is elsewhere then, and would learn too late when it was."""

    def __init__(self) -> None:
        """Nothing was dispatched yet; what comes before the first call does not count."""
        self.seconds = 0.0  # idle, since `clear`
        self._counts_from = self._ended = time.perf_counter()
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def clear(self) -> None:
        """Starts anew."""
        self.seconds = 0.0
        self.restart()

    def restart(self) -> None:
        """The time up to now was meant to be idle, or was spent on something else."""
        self._counts_from = time.perf_counter()

    def dispatched(self, output: jax.Array) -> None:
        """A call was dispatched just now; `output`, of any shape, is there when it ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        self._calls.put((time.perf_counter(), output))

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        while (call := self._calls.get()) is not None:
            began, output = call
            self.seconds += max(0.0, began - max(self._ended, self._counts_from))
            try:
                jax.block_until_ready(output)
            except Exception:  # of the call itself: the loop meets it where it looks at the call's metrics
                return
            del call, output
            self._ended = time.perf_counter()
