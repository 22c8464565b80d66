"""One process at a time that writes to a folder: a lock of the system's, which a process loses when it ends, however it ends."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import platform
import sys
from typing import Any

FILE = ".lock"  # in the folder, while a process holds it; after a kill it stays, and is free
_NONE_HERE = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)  # file systems that know no locks


class Lock:
    """The lock of a folder. A context manager, which gives it back."""

    def __init__(self, folder: pathlib.Path, *, doing: str = "trains", instead: str = "--workdir") -> None:
        """Takes nothing yet.

        Args:
          folder: to lock.
          doing: what the one who has it does there, for the message.
          instead: the flag that names another folder, likewise.
        """
        self._path, self._doing, self._instead = folder / FILE, doing, instead
        self._file: int | None = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a folder that was taken away while it was trained in
                self._path.unlink()
            os.close(self._file)
            self._file = None

    @property
    def held(self) -> bool:
        """Whether this process has it."""
        return self._file is not None

    def take(self) -> None:
        """Takes it, unless it has it already; the folder must be there. Where the file system knows no locks, that is said on stderr.

        Raises:
          ValueError: another process has it; the message says which.
          OSError: the folder cannot be written to.
        """
        while self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                who = f"{self._path.parent}: {_holder(file)} {self._doing} there"
                raise ValueError(f"{who}. Wait for it, or take another {self._instead}.") from e
            except OSError as e:
                if e.errno not in _NONE_HERE:
                    raise
                alone = "see that no other run writes there"
                print(f"{self._path.parent}: its file system has no locks ({e.strerror}): {alone}", file=sys.stderr)
            if _is_at(file, self._path):
                self._file = file
                os.ftruncate(file, 0)
                os.write(file, json.dumps(_me()).encode())
            else:  # whoever had it gave it back just now, and took the file away
                os.close(file)


def _me() -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "host": platform.node(), "since": now}


def _holder(file: int) -> str:
    """In words, who holds the lock of an open file, which is closed."""
    try:
        who = json.loads(os.pread(file, 4096, 0))
        return f"process {who['process']} of {who['host']} (since {who['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has not said so yet
        return "another process"
    finally:
        os.close(file)


def _is_at(file: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
