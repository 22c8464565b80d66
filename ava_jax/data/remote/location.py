"""Paths below a URL that are read as `pathlib.Path`s are, so that what reads captures need not know where they are."""

import io
import pathlib
import re
from typing import NamedTuple

from ava_jax.data import files
from ava_jax.data.remote.store import Store

CACHE_GIB, RETRY_SECONDS = 20.0, 600.0  # defaults of config.data.remote_cache_gib and remote_retry_s

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MOST_TAIL = 1 << 22  # bytes that are fetched at first at most
_TAIL = 1 << 16  # bytes at a zip's end that are fetched at first; those after it begin with what its neighbour took


class State(NamedTuple):
    """As of `os.stat`: bytes, and a word that changes with the content."""

    st_size: int
    word: str


class RemotePath:
    """A path below a URL: what this package uses of `pathlib.Path`, and reading at any offset."""

    def __init__(self, store: Store, key: str = "") -> None:
        self.store, self.key = store, key

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self.store, f"{self.key}/{name}" if self.key else str(name))

    def __str__(self) -> str:
        return f"{self.store.url}/{self.key}" if self.key else self.store.url

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __hash__(self) -> int:
        return hash((self.store.url, self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and (self.store.url, self.key) == (other.store.url, other.key)

    def __lt__(self, other: "RemotePath") -> bool:
        return str(self) < str(other)

    @property
    def name(self) -> str:
        """The last part."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return pathlib.PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """From the last dot of the last part on."""
        return pathlib.PurePosixPath(self.key).suffix

    @property
    def parent(self) -> "RemotePath":
        """The folder that it is in; the URL's own folder is its own parent."""
        return RemotePath(self.store, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> "RemotePath":
        """Another file in the same folder."""
        return self.parent / name

    def absolute(self) -> "RemotePath":
        """Itself: a URL begins nowhere else."""
        return self

    expanduser = absolute

    def relative_to(self, other: "RemotePath") -> pathlib.PurePosixPath:
        """The way from a folder above.

        Raises:
          ValueError: `other` is not above it.
        """
        return pathlib.PurePosixPath(self.key).relative_to(other.key)

    def stat(self) -> State:
        """Bytes and state, asked once in a run.

        Raises:
          OSError: it is not there, or the server does not answer.
          ValueError: the server refuses.
        """
        info = self.store.info(self.key)
        return State(info.size, info.state)

    def is_file(self) -> bool:
        """Whether there is such a file. Raises as `stat`, but for a file that is not there."""
        try:
            self.store.info(self.key)
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str] | None:
        """Names of what is in the folder; None where the server does not list it. Raises as `stat`."""
        return self.store.names(self.key)

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, through the cache; fewer where the file ends. Raises as `stat`."""
        return self.store.read(self.key, offset, count)

    def forget(self, offset: int, count: int) -> None:
        """Drops what the cache has of some bytes."""
        self.store.forget(self.key, offset, count)

    def read_bytes(self) -> bytes:
        """All of it, through the cache. Raises as `stat`."""
        return self.read_at(0, self.stat().st_size)

    def open(self, mode: str = "rb") -> io.BufferedReader:
        """A file to read; the cache keeps what is read of it. Raises as `stat`."""
        return io.BufferedReader(_File(self, cached=True), 1 << 16)

    def open_end(self) -> io.BufferedReader:
        """A file of which the end is read, as a zip's directory is: once, so that the cache keeps none of it. Raises as `stat`."""
        return io.BufferedReader(_File(self, cached=False), 1 << 16)


class _File(io.RawIOBase):
    """A remote file as a stream."""

    def __init__(self, path: RemotePath, *, cached: bool) -> None:
        self._path, self._cached, self._at, self._size = path, cached, 0, path.stat().st_size
        self._tail, self._tail_start = b"", self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(offset + (0, self._at, self._size)[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        stop = min(self._at + len(buffer), self._size)
        if self._at >= stop:
            return 0
        if self._cached:
            data = self._path.read_at(self._at, stop - self._at)
        else:
            if self._at < self._tail_start:
                self._extend(self._at)
            data = self._tail[self._at - self._tail_start : stop - self._tail_start]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _extend(self, start: int) -> None:
        """Fetches what lies between `start` and what is there; at first some more, as a directory is likely as long as the last."""
        path, store = self._path, self._path.store
        least = _TAIL if not self._tail else 0
        start = max(min(start, self._size - max(least, store.directory_bytes if least else 0)), 0)
        self._tail = store.fetch(path.key, start, self._tail_start) + self._tail
        self._tail_start = start
        store.directory_bytes = min(self._size - start, _MOST_TAIL)


def is_url(text: str) -> bool:
    """Whether it names a file or folder by URL, as in https://HOST/FOLDER."""
    return bool(_URL.match(text))


def at(text: str, *, cache_gib: float = CACHE_GIB, retry_seconds: float = RETRY_SECONDS) -> "pathlib.Path | RemotePath":
    """What a path or a URL names.

    Args:
      text: a local path, in which ~ is the home; or a URL, as in https://HOST/FOLDER, s3://BUCKET/FOLDER, file:///FOLDER.
      cache_gib: GiB of a URL's files that are kept on the local disk, in `remote` of the cache folder (`files.cache_folder`); 0: none.
      retry_seconds: for which a request that fails is made again.

    Raises:
      ValueError: nothing installed reads such a URL, or a number is below 0.
    """
    if not is_url(text):
        return pathlib.Path(text).expanduser()
    if cache_gib < 0 or retry_seconds < 0:
        raise ValueError(f"{text}: remote_cache_gib and remote_retry_s must be at least 0; got {cache_gib} and {retry_seconds}.")
    folder = files.cache_folder()
    kept = None if folder is None else folder / "remote"
    return RemotePath(Store(text, cache=kept, cache_bytes=int(cache_gib * (1 << 30)), retry_seconds=float(retry_seconds)))
