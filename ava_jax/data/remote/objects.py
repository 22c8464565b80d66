"""Files of any store that fsspec reads: s3://, gs://, file://, memory://."""

import importlib
import urllib.parse
from collections.abc import Callable
from typing import Any

from ava_jax.data.remote.server import Info, Refused


class Objects:
    """Files below a URL; see `server.Server`."""

    def __init__(self, url: str) -> None:
        """Asks it nothing yet.

        Args:
          url: of the folder.

        Raises:
          ValueError: nothing installed reads such a URL; the message says what would.
        """
        scheme = urllib.parse.urlsplit(url).scheme
        try:
            self._system, base = importlib.import_module("fsspec").core.url_to_fs(url)
        except ImportError as e:
            raise ValueError(f"{url}: fsspec, or its part for {scheme}://, is not installed ({e}): pip install 'ava-jax[remote]'.") from e
        except ValueError as e:
            raise ValueError(f"{url}: fsspec knows no {scheme}:// ({e}).") from e
        self._base = base.rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}" if key else self._base

    def info(self, key: str) -> Info:
        """Size and state of a file; raises as `server.Server`."""
        found = self._asked(key, self._system.info)
        if found.get("type") == "directory" or found.get("size") is None:
            raise FileNotFoundError(f"{self._path(key)} is no file")
        state = next((str(found[name]) for name in ("ETag", "etag", "LastModified", "mtime", "updated", "created") if found.get(name)), "")
        return Info(int(found["size"]), state)

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes of a file; raises as `server.Server`."""
        data = self._asked(key, lambda path: self._system.cat_file(path, start=start, end=stop))
        if len(data) != stop - start:
            raise OSError(f"got {len(data)} of {stop - start} bytes")
        return data

    def names(self, key: str) -> list[str] | None:
        """Names of what is in a folder; None where there is none."""
        try:
            return [name.rstrip("/").rpartition("/")[2] for name in self._asked(key, lambda path: self._system.ls(path, detail=False))]
        except (Refused, FileNotFoundError):
            return None

    def _asked(self, key: str, ask: Callable[[str], Any]) -> Any:
        try:
            return ask(self._path(key))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
            raise FileNotFoundError(f"{self._path(key)} is not there") from e
        except PermissionError as e:
            raise Refused(f"no permission ({e})") from e
        except Exception as e:  # each store has errors of its own
            raise OSError(f"{type(e).__name__}: {e}") from e
