"""HTTP requests for files and parts of files: redirects, ranges that are checked, retries.

What a server says of a file, its size and ETag (`Facts`), is what later requests are held against: a file that changes while it is fetched
raises `Changed`, and is never put together of two states.
"""

import contextlib
import http.client
import random
import re
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import NamedTuple

from ava_jax.data.connections import Connections

_CHUNK = 1 << 18
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_MISSING = (403, 404, 410)  # S3 says 403 of a file that is not there to those who may not list
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_NO_HEAD = (405, 501)
_FIRST_TRIES = 3  # of a server that was never reached: its name may be wrong, or there is no network
_LONGEST_RETRY_AFTER = 120.0  # seconds
_ENOUGH = 1 << 16  # bytes that make an attempt a success, after which failures are counted anew
_SLOWEST, _WINDOW = 1024, 30.0  # bytes per second below which a connection is given up, over so many seconds
_MOST_SKIPPED = 1 << 20  # bytes thrown away where a server ignores ranges
_ENCRYPTION = "x-amz-server-side-encryption"
_MD5_SERVERS = ("AmazonS3",)  # whose ETags are MD5 sums, but for uploads in parts ("-N") and those under a key


class Temporary(OSError):
    """It may work at the next attempt."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        """`after`: seconds to wait at least."""
        super().__init__(message)
        self.after = after


class Unreachable(Temporary):
    """No connection to the server."""


class Missing(OSError):
    """The server has no such file."""


class Changed(OSError):
    """The file is another than the one that was begun."""


class Damaged(OSError):
    """What came is not what it should be, by its own checksum."""


class Refused(OSError):
    """Trying again would not help."""


class Untrusted(Refused):
    """The server's certificate is not to be trusted."""


class Stopped(Exception):
    """The client was told to stop."""


class Facts(NamedTuple):
    """What a server says of a file.

    Attributes:
      size: bytes; None where it does not say.
      etag: as sent, with quotes; "" where there is none.
      modified: the Last-Modified header.
      md5: of the content, hexadecimal, where the ETag is one; "" otherwise.
    """

    size: int | None
    etag: str = ""
    modified: str = ""
    md5: str = ""

    @property
    def validator(self) -> str:
        """What tells this state of the file from another; "" where nothing does."""
        return self.etag.removeprefix("W/") or self.modified

    def fits(self, other: "Facts") -> bool:
        """Whether both can be of one state of the file."""
        sizes = self.size == other.size or self.size is None or other.size is None
        if self.etag and other.etag:
            return sizes and self.etag.removeprefix("W/") == other.etag.removeprefix("W/")
        return sizes and (not (self.modified and other.modified) or self.modified == other.modified)


class Body(Iterator[bytes]):
    """The bytes of a response, in pieces. `start`: the offset in the file of the first one. `facts`: as this response has them."""

    def __init__(self, response: http.client.HTTPResponse, start: int, facts: Facts, stop: threading.Event) -> None:
        self._response, self._stop = response, stop
        self.start, self.facts = start, facts
        self._begun, self._count = time.monotonic(), 0
        self._buffer, self._at = b"", 0

    def __next__(self) -> bytes:
        piece = self.piece(_CHUNK)
        if not piece:
            raise StopIteration
        return piece

    def piece(self, most: int) -> bytes:
        """Up to `most` bytes; b"" at the end, be it the true one or not.

        Raises:
          Temporary: the connection broke, or is slower than 1 kB per second.
          Stopped: the client was told to stop.
        """
        if self._at == len(self._buffer):
            if self._stop.is_set():
                raise Stopped
            try:
                self._buffer, self._at = self._response.read1(_CHUNK), 0
            except (OSError, http.client.HTTPException, ValueError) as e:  # ValueError: chunks of no length
                raise Temporary(f"the connection broke ({_reason(e)})") from e
            self._watch(len(self._buffer))
        piece = self._buffer[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
          Temporary: there are fewer; or as `piece`.
        """
        pieces, missing = [], count
        while missing and (piece := self.piece(missing)):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            raise Temporary(f"the response ended {missing} bytes early")
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        """Throws `count` bytes away. Raises as `exactly`."""
        while count:
            count -= len(self.exactly(min(count, _CHUNK)))

    def _watch(self, count: int) -> None:
        self._count += count
        seconds = time.monotonic() - self._begun
        if seconds > _WINDOW:
            if count and self._count < _SLOWEST * seconds:
                raise Temporary(f"only {self._count} bytes came in {seconds:.0f} s")
            self._begun, self._count = time.monotonic(), 0


class Attempts:
    """Counts failures of one thing in a row, and waits between them: twice as long each time, times a random factor."""

    def __init__(self, client: "Client") -> None:
        self._client, self._failed, self._bytes = client, 0, 0

    def progress(self, count: int) -> None:
        """So many bytes came."""
        self._bytes += count
        if self._bytes >= _ENOUGH:
            self._failed = 0

    def wait(self, error: Temporary) -> None:
        """Waits before the next attempt.

        Raises:
          OSError: `error`, where there were as many attempts as may be.
          Stopped: the client was told to stop.
        """
        self._failed, self._bytes = self._failed + 1, 0
        never = isinstance(error, Unreachable) and not self._client.reached
        if self._failed >= (min(self._client.tries, _FIRST_TRIES) if never else self._client.tries):
            raise error
        wait = min(self._client.first_wait * 2 ** (self._failed - 1), self._client.longest_wait) * random.uniform(0.5, 1.5)
        if self._client.stopping.wait(max(wait, min(error.after, _LONGEST_RETRY_AFTER))):
            raise Stopped


class Client:
    """Requests from many threads, each with connections of its own."""

    def __init__(self, *, tries: int = 7, first_wait: float = 0.5, longest_wait: float = 30.0, timeout: float = 60.0) -> None:
        """Connects to nothing yet.

        Args:
          tries: attempts in a row without progress, before an error is raised.
          first_wait, longest_wait: seconds between them, doubled each time.
          timeout: seconds without a byte.
        """
        self.tries, self.first_wait, self.longest_wait = tries, first_wait, longest_wait
        self.stopping = threading.Event()
        self.reached = False  # a server has answered
        self._connections = Connections(timeout)

    def stop(self) -> None:
        """Ends what is under way, in all threads, with `Stopped`."""
        self.stopping.set()
        self._connections.close_all()

    def facts(self, url: str) -> Facts:
        """Size and ETag of a file, without its content.

        Raises:
          Missing: the server has no such file.
          OSError: it cannot be asked, after all attempts.
        """
        attempts = Attempts(self)
        while True:
            try:
                return self._facts(url)
            except Temporary as e:
                attempts.wait(e)

    def read(self, url: str, start: int, count: int, facts: Facts) -> bytes:
        """`count` bytes of a file from `start`, in memory.

        Raises:
          Changed: the file is another than `facts` says.
          Missing, OSError: as of `facts`; the server ignores ranges.
        """
        attempts = Attempts(self)
        while True:
            try:
                with self.stream(url, start, start + count, facts) as body:
                    self.reach(body, start)
                    return body.exactly(count)
            except Temporary as e:
                attempts.wait(e)

    def reach(self, body: Body, start: int) -> None:
        """Goes to `start` in a response that begins before it, because the server ignores ranges.

        Raises:
          Refused: that is too far.
          Temporary: as `Body.exactly`.
        """
        if start - body.start > _MOST_SKIPPED:
            raise Refused("the server ignores ranges: parts of a file cannot be fetched from it")
        body.skip(start - body.start)

    @contextlib.contextmanager
    def stream(self, url: str, start: int, stop: int | None, facts: Facts) -> Iterator[Body]:
        """The content of a file from `start` up to `stop` (None: its end), or from its beginning where the server ignores ranges.

        Raises:
          Changed: the file is another than `facts` says.
          Temporary, Missing, Refused: as they say; nothing is retried.
        """
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-" + ("" if stop is None else str(stop - 1))
        if facts.etag and not facts.etag.startswith("W/"):
            headers["If-Match"] = facts.etag
        elif facts.modified and start:
            headers["If-Range"] = facts.modified
        final, response = self._request("GET", url, headers)
        whole = False
        try:
            begins, found = _checked(response, start, headers)
            if not facts.fits(found):
                raise Changed(f"changed on the server ({_change(facts, found)})")
            yield Body(response, begins, found, self.stopping)
            if response.length == 0:
                response.read()  # nothing; Python's client takes it for read only then
            whole = response.isclosed()
        finally:
            if not whole:  # what is left of it would be taken for the next response
                self._connections.drop(final)

    def _facts(self, url: str) -> Facts:
        final, response = self._request("HEAD", url, {})
        if response.status in _NO_HEAD:
            self._connections.drop(final)
            final, response = self._request("GET", url, {"Range": "bytes=0-0"})
            self._connections.drop(final)
            return _checked(response, 0, {"Range": ""})[1]
        response.read()
        if response.status != 200:
            raise Refused(f"HTTP {response.status} {response.reason}")
        return _facts_of(response, _whole_number(response.headers.get("Content-Length")))

    def _request(self, method: str, url: str, headers: dict[str, str]) -> tuple[str, http.client.HTTPResponse]:
        """Follows redirects; the URL that answered, and its response, which is neither an error nor a redirect."""
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._answer(method, url, headers)
            if response.status not in _REDIRECTS:
                if response.status >= 400 and not (method == "HEAD" and response.status in _NO_HEAD):
                    self._connections.drop(url)
                    raise _error(response)
                return url, response
            self._connections.drop(url)
            to = urllib.parse.urljoin(url, response.headers.get("Location", ""))
            if urllib.parse.urlsplit(to).scheme not in ("https", urllib.parse.urlsplit(url).scheme):
                raise Refused(f"redirected to {to[:120]!r}, which is less safe than {urllib.parse.urlsplit(url).scheme}")
            url = to
        raise Refused(f"more than {_MOST_REDIRECTS} redirects, the last to {url[:120]!r}")

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        while True:
            if self.stopping.is_set():
                raise Stopped
            try:
                connection, target, used = self._connections.take(url)
            except ValueError as e:
                raise Refused(str(e)) from e
            try:
                if connection.sock is None:
                    connection.connect()
            except ssl.SSLCertVerificationError as e:
                self._connections.drop(url)
                raise Untrusted(f"{connection.host}: its certificate is not to be trusted ({e.verify_message})") from e
            except (OSError, http.client.HTTPException) as e:
                self._connections.drop(url)
                raise Unreachable(f"{connection.host}: no connection ({_reason(e)})") from e
            try:
                connection.request(method, target, headers={"Accept-Encoding": "identity", "User-Agent": "ava_jax"} | headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError) as e:
                self._connections.drop(url)
                if used and not self.stopping.is_set():  # the server had closed it, or what it sent before was longer than it said
                    continue
                raise Temporary(f"no response ({_reason(e)})") from e
            self.reached = True
            return response


def _checked(response: http.client.HTTPResponse, start: int, headers: dict[str, str]) -> tuple[int, Facts]:
    """The offset that a response begins at, and what it says of the whole file."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refused(f"the server sends the file encoded ({coding[:40]}), though it was asked not to")
    if response.status == 200:
        return 0, _facts_of(response, _whole_number(response.headers.get("Content-Length")))
    if response.status != 206 or "Range" not in headers:
        raise Refused(f"HTTP {response.status} {response.reason}")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not found or int(found[1]) != start:
        raise Temporary(f"asked for bytes from {start}, the server sent {response.headers.get('Content-Range')!r}")
    return start, _facts_of(response, _whole_number(found[3]))


def _facts_of(response: http.client.HTTPResponse, size: int | None) -> Facts:
    headers = response.headers
    etag = headers.get("ETag", "").strip()
    plain = re.fullmatch(r'"([0-9a-fA-F]{32})"', etag)
    encrypted = headers.get(_ENCRYPTION, "AES256") != "AES256" or f"{_ENCRYPTION}-customer-algorithm" in headers
    is_md5 = plain and headers.get("Server", "") in _MD5_SERVERS and not encrypted
    return Facts(size, etag, headers.get("Last-Modified", "").strip(), plain[1].lower() if is_md5 else "")


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"\d{1,18}", text.strip()) else None


def _error(response: http.client.HTTPResponse) -> OSError:
    text = f"HTTP {response.status} {response.reason}".strip()
    if response.status in _MISSING:
        return Missing(text)
    if response.status in (412, 416):
        return Changed(f"changed on the server ({text})")
    if response.status in _TEMPORARY:
        return Temporary(text, float(_whole_number(response.headers.get("Retry-After")) or 0))
    return Refused(text)


def _change(before: Facts, after: Facts) -> str:
    return f"{before.size} bytes, ETag {before.etag or 'none'}, then {after.size} bytes, ETag {after.etag or 'none'}"


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
