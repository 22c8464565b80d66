"""Ctrl-C: whether it led to an error, and how it waits. Imports next to nothing: it is used while all else is still being imported."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Lets a Ctrl-C wait until the block is over. In another thread than the main one nothing changes: Python gives it none.

    Modules in C that are interrupted while they are imported abort, or raise ImportError; an executor that is interrupted while it starts
    a process waits for ever.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:  # None: set by C, and not ours
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def was_interrupted(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt led to `error`.

    Python raises it wherever the interpreter is. Within a call that C makes, of `__hash__` say, C's own SystemError takes its place and
    names it as the cause; an error that comes up while the interrupt unwinds names it as the context.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, KeyboardInterrupt):
            return True
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return False
