"""Work in threads that never keep a process from ending, and whose first error ends all of it."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_PATIENCE = 5.0  # seconds that threads have to end


def each(work: Callable[[T], R], items: Iterable[T], jobs: int, stop: Callable[[], None]) -> Iterator[R]:
    """`work` of each item, as the results come.

    Args:
      work: is called in threads.
      items: are taken one by one.
      jobs: threads at most.
      stop: makes `work` end soon; called when the caller goes away before the end, as by Ctrl-C, or `work` raises.

    Raises:
      BaseException: what `work` raised first.
    """
    todo, lock = iter(items), threading.Lock()
    results: queue.SimpleQueue = queue.SimpleQueue()
    over, end = threading.Event(), object()

    def serve() -> None:
        try:
            while not over.is_set():
                with lock:
                    item = next(todo, end)
                if item is end:
                    break
                results.put((work(item), None))
        except BaseException as e:  # it is raised in the caller's thread
            results.put((None, e))
        results.put(end)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(jobs)]
    finished = False
    try:
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            got = results.get()
            if got is end:
                running -= 1
            elif got[1] is not None:
                raise got[1]
            else:
                yield got[0]
        finished = True
    finally:
        over.set()
        if not finished:
            stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(_PATIENCE)
