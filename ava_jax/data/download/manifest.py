"""What was fetched into a folder, in a JSON file there: a second run knows from it what need not be asked for."""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator

from ava_jax.data import files
from ava_jax.data.download import paths
from ava_jax.data.download.client import Facts
from ava_jax.data.download.items import Selection

FILE = "ava_download.json"
_FORMAT = "ava_jax download 1"
_SOONEST = 2.0  # seconds between two writes
_PART = 0.05  # of the time that may go into them
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.EBADF)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file that was fetched.

    Attributes:
      url: where from.
      size: bytes on disk; None where nothing was written, because the zip has none of the selected members.
      crc: CRC32 of the whole file on disk.
      mtime: its time of change, ns: while it is this, the content is taken to be the same.
      checked: seconds since 1970 when the server last confirmed it.
      etag, modified, source: what the server says of its file: ETag, Last-Modified, bytes.
      md5: of the content, where it is known beforehand.
      members: of the zip on disk, where they were selected; None otherwise.
      selection: None is the file as it is.
    """

    url: str
    size: int | None
    crc: int
    mtime: int
    checked: float
    etag: str = ""
    modified: str = ""
    source: int | None = None
    md5: str = ""
    members: int | None = None
    selection: Selection | None = None

    @property
    def facts(self) -> Facts:
        """What the server said."""
        return Facts(self.source, self.etag, self.modified)


class Manifest:
    """The manifest of a folder. Safe from several threads."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Reads it, if there is one.

        Raises:
          ValueError: it cannot be read; the message says what to do.
        """
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._changed, self._saved, self._cost = False, time.monotonic(), 0.0
        self.files = _load(self._path) if self._path.exists() else {}

    def put(self, path: str, entry: Entry) -> None:
        """Notes a file; written soon, by `save` at last."""
        with self._lock:
            self.files[path] = entry
            self._changed = True
            if time.monotonic() - self._saved > max(_SOONEST, self._cost / _PART):
                self._save()

    def drop(self, path: str) -> None:
        """Forgets a file, which is no longer there on purpose."""
        with self._lock:
            self._changed = self.files.pop(path, None) is not None or self._changed

    def save(self) -> None:
        """Writes it, whole or not at all, where it has changed.

        Raises:
          OSError: the disk is full, or fails.
        """
        with self._lock:
            if self._changed:
                self._save()

    def _save(self) -> None:
        begun = time.monotonic()
        selections = {entry.selection.key: entry.selection.tree() for entry in self.files.values() if entry.selection}
        tree = {"format": _FORMAT, "selections": selections, "files": {path: _tree(e) for path, e in sorted(self.files.items())}}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(self._path, json.dumps(tree, indent=0, separators=(",", ":")) + "\n")
        self._changed, self._saved = False, time.monotonic()
        self._cost = self._saved - begun


def find(folder: pathlib.Path) -> pathlib.Path | None:
    """The nearest of `folder` and its parents that has a manifest."""
    folder = folder.absolute()
    return next((one for one in (folder, *folder.parents) if (one / FILE).is_file()), None)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other downloads out of a folder; a process that ends, however it ends, gives it back.

    Raises:
      ValueError: another process downloads into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        os.close(descriptor)
        raise ValueError(f"{folder}: another process downloads into it. Wait for it, or take another folder.") from e
    except OSError as e:  # a file system that knows no locks
        if e.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        os.close(descriptor)


def _tree(entry: Entry) -> dict:
    tree = {key: value for key, value in vars(entry).items() if value not in (None, "") and key != "selection"}
    return tree | ({"selection": entry.selection.key} if entry.selection else {})


def _load(path: pathlib.Path) -> dict[str, Entry]:
    again = "Delete it: what lies there is then held against the server, and kept where it fits."
    try:
        tree = json.loads(path.read_bytes())
        if tree["format"] != _FORMAT:
            raise ValueError(f"its format is {tree['format']!r}, not {_FORMAT!r}")
        selections = {key: Selection.of_tree(value) for key, value in tree["selections"].items()}
        found = {name: _entry(value, selections) for name, value in tree["files"].items()}
        if wrong := next((why for why in map(paths.fault, found) if why), ""):
            raise ValueError(f"a path in it {wrong}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        why = str(e) if isinstance(e, ValueError) else f"{type(e).__name__} {e}"
        raise ValueError(f"{path}: cannot be read ({' '.join(why.split())[:120]}). {again}") from e
    return found


def _entry(tree: dict, selections: dict[str, Selection]) -> Entry:
    values = tree | ({"selection": selections[tree["selection"]]} if "selection" in tree else {})
    values.setdefault("size", None)
    entry = Entry(**values)
    numbers = (entry.crc, entry.mtime, entry.checked, *(n for n in (entry.size, entry.source, entry.members) if n is not None))
    texts = (entry.url, entry.etag, entry.modified, entry.md5)
    if not all(isinstance(n, int | float) for n in numbers) or not all(isinstance(t, str) for t in texts):
        raise ValueError("an entry has a value of another kind")
    return entry
