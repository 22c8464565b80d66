"""What a server of files gives: a web server (`web`), or any store that fsspec reads (`objects`). One request each; `store` asks again."""

from typing import NamedTuple, Protocol


class Info(NamedTuple):
    """Bytes of a file, and what changes when its content does: an ETag, a time of change, or "" where neither is known."""

    size: int
    state: str


class Refused(ValueError):
    """A request that asking again does not help: no permission, no ranges, a wrong address."""


class Server(Protocol):
    """Files by key, `a/b.zip` below the URL's folder. Safe from several threads.

    What is not there raises FileNotFoundError; what may be answered another time OSError; what never will be `Refused`.
    """

    def info(self, key: str) -> Info:
        """Size and state of a file."""

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of a file, which has them."""

    def names(self, key: str) -> list[str] | None:
        """Names of the files and folders in a folder; None where it cannot be listed."""
