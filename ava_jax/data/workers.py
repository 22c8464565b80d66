"""Processes that work together, and end with the command: Ctrl-C is the command's to answer, not theirs."""

import concurrent.futures
import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from ava_jax.core.interrupts import deferred


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers(concurrent.futures.ProcessPoolExecutor):
    """A pool of processes. Use as a context manager: one that is left by an exception ends them at once.

    They are spawned, not forked: JAX, which commands import, has threads that a fork would break.
    """

    def __init__(self, jobs: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()):
        """Starts none yet.

        Args:
          jobs: processes at most.
          initializer: is called in each when it begins, with `initargs`.
        """
        self._others = set(multiprocessing.active_children())
        super().__init__(jobs, multiprocessing.get_context("spawn"), initializer, initargs)

    def submit(self, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        """As of any executor; a process that it starts inherits the mask, and never sees SIGINT."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with deferred():
                return super().submit(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        """Waits for what was submitted, or drops it."""
        if kind is not None:
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self.shutdown(wait=True, cancel_futures=kind is not None)
