"""Bytes per second and time left, on stderr."""

import sys
import threading

import tqdm

_BETWEEN = 30.0  # seconds between lines where stderr is no terminal
_QUICK = 0.2  # likewise, of a line that is drawn over
_DELAY = 1.0  # seconds before anything is shown
_FORMAT = "{percentage:3.0f}% {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left{postfix}"


class Progress:
    """Counts bytes and files. Safe from several threads; a context manager."""

    def __init__(self, total: int, files: int, *, shown: bool = True, what: str = "") -> None:
        """Shows nothing before the first byte.

        Args:
          total: bytes that are to come.
          files: that are to come.
          shown: False is silent.
          what: files, rather than bytes, are counted and called so.
        """
        self._lock = threading.Lock()
        self._files, self._done, self._what = files, 0, what
        looks = {"total": files, "unit": "file", "desc": what} if what else {"total": total, "unit": "B", "bar_format": _FORMAT}
        between = _QUICK if sys.stderr.isatty() else _BETWEEN
        self._bar = tqdm.tqdm(
            unit_scale=True, disable=not shown, leave=False, mininterval=between, maxinterval=between, delay=_DELAY, **looks
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()

    def count(self, count: int) -> None:
        """So many bytes came; where negative, so many were thrown away and will come again."""
        with self._lock:
            if count < 0:
                self._bar.total = (self._bar.total or 0) - count
            else:
                self._bar.update(count)

    def expect(self, count: int) -> None:
        """So many more bytes are to come than was thought; fewer where negative."""
        with self._lock:
            if not self._bar.disable:
                self._bar.total = max(self._bar.total + count, self._bar.n)

    def file_done(self) -> None:
        """One more file is whole."""
        with self._lock:
            self._done += 1
            if self._what:
                self._bar.update()
                return
            self._bar.set_postfix_str(f"{self._done} of {self._files} files", refresh=False)
