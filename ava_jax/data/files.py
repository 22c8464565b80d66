"""Open files, few at a time, read from many threads."""

import collections
import os
import pathlib
import threading


class OpenFiles:
    """Reads at any place of many files; keeps at most `limit` open, and one more for each thread that is reading just then."""

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._open: collections.OrderedDict[pathlib.Path, list[int]] = collections.OrderedDict()  # path -> [descriptor, readers, size]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def __del__(self) -> None:
        for descriptor, *_ in self._open.values():
            os.close(descriptor)

    def read(self, path: pathlib.Path, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`; fewer where the file ends.

        Raises:
          OSError: the file cannot be opened or read.
        """
        descriptor, _, size = self._acquire(path)
        try:
            parts, count = [], min(count, max(size - offset, 0))
            while count and (part := os.pread(descriptor, count, offset)):  # one call may return less than is there
                parts.append(part)
                offset, count = offset + len(part), count - len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            with self._lock:
                self._open[path][1] -= 1

    def _acquire(self, path: pathlib.Path) -> list[int]:
        with self._lock:
            entry = self._open.get(path)
            if entry is None:
                idle = [p for p, (_, readers, _) in self._open.items() if not readers] if len(self._open) >= self.limit else []
                for old in idle[: len(self._open) - self.limit + 1]:
                    os.close(self._open.pop(old)[0])
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                entry = self._open[path] = [descriptor, 0, os.fstat(descriptor).st_size]
            self._open.move_to_end(path)
            entry[1] += 1
            return entry
