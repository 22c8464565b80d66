"""Threads that work for all clients of a live page, in turn."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar


class Session:
    """What one client wants, and how far that is.

    Attributes:
      closed: whether it is gone; what is at hand for it is dropped then.
      served: when it was last worked for, seconds of `time.perf_counter`.
    """

    def __init__(self) -> None:
        """Of a client that was never served."""
        self.closed, self.served = False, 0.0

    def drop(self) -> None:
        """Lets go of what was to be done, as it is closed."""


S = TypeVar("S", bound=Session)


class Workers(Generic[S]):
    """Threads that each repeat a step for the clients that there are, until they are stopped or one fails.

    Attributes:
      failure: what a thread raised; None where none did.
    """

    def __init__(self, *steps: Callable[[], None]) -> None:
        """Starts nothing yet. A step does one piece of work, or waits in `_changed` for a reason to look again."""
        self._changed = threading.Condition()
        self._sessions: list[S] = []
        self._stopped = False
        self.failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._repeat, args=(step,), daemon=True, name=step.__name__) for step in steps]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends them, after what each is at."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()

    def add(self, session: S) -> None:
        """Works for this client from now on."""
        with self._changed:
            self._sessions.append(session)
            self._changed.notify_all()

    def remove(self, session: S) -> None:
        """A client that is gone."""
        with self._changed:
            session.closed = True
            session.drop()
            if session in self._sessions:
                self._sessions.remove(session)
            self._changed.notify_all()

    def notify(self) -> None:
        """A client wants something else."""
        with self._changed:
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Ends the threads; the main thread looks for the error and raises it."""
        with self._changed:
            self.failure, self._stopped = self.failure or error, True
            self._changed.notify_all()

    def _repeat(self, step: Callable[[], None]) -> None:
        def repeat() -> None:
            while not self._stopped:
                step()

        self._guarded(repeat)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as e:
            self.fail(e)
