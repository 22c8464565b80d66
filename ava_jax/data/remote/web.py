"""Files of a web server by HTTP: ranges over connections that stay open, one a thread."""

import contextlib
import http.client
import os
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from typing import Any

from ava_jax.data.connections import Connections
from ava_jax.data.remote.server import Info, Refused

AUTHORIZATION = "AVA_HTTP_AUTHORIZATION"  # environment: value of the header Authorization, sent to the URL's own host alone

_TIMEOUT = 30.0  # seconds without a byte
_MOST_REDIRECTS = 5
_MOST_LISTING = 1 << 23  # bytes of a page that lists a folder
_REDIRECTS, _ABSENT, _FORBIDDEN, _LATER = (301, 302, 303, 307, 308), (404, 410), (401, 403, 407), (408, 425, 429)
_LINK = re.compile(rb"""href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE)


class WebServer:
    """Files below a URL; see `server.Server`. A query in the URL, as a signature is, goes along with each request and is never printed."""

    def __init__(self, url: str) -> None:
        """Connects to nothing yet.

        Args:
          url: of the folder.

        Raises:
          ValueError: it names no host.
        """
        parts = urllib.parse.urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url}: must name a host, as in https://HOST/FOLDER.")
        self._parts = parts
        self._connections = Connections(_TIMEOUT)
        self._answers = False  # whether it has given anything: it then lets us in, and 403 is how stores of objects say 404

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_connections"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _connections=Connections(_TIMEOUT))

    def info(self, key: str) -> Info:
        """Size and state of a file; raises as `server.Server`."""
        with self._request("HEAD", key) as response:
            length, state = response.getheader("Content-Length"), self._state(response)
            if response.status == 200 and length is not None and length.isdigit():
                return Info(int(length), state)
        with self._request("GET", key, {"Range": "bytes=0-0"}) as response:  # some answer HEAD without a length, or not at all
            whole = re.fullmatch(r"bytes \S+/(\d+)", response.getheader("Content-Range") or "")
            if response.status != 206 or not whole:
                raise Refused("the server gives no ranges of a file (Accept-Ranges), which reading from it needs")
            response.read(1)
            return Info(int(whole[1]), self._state(response))

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes of a file; raises as `server.Server`."""
        if start >= stop:
            return b""
        with self._request("GET", key, {"Range": f"bytes={start}-{stop - 1}"}) as response:
            given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.getheader("Content-Range") or "")
            if response.status == 200 and (start or response.getheader("Content-Length") != str(stop)):
                raise Refused("the server gives no ranges of a file, but all of it, which reading from it needs")
            if response.status == 206 and (not given or (int(given[1]), int(given[2])) != (start, stop - 1)):
                raise OSError(f"asked for bytes {start} to {stop - 1}, got {response.getheader('Content-Range')!r}")
            data = response.read(stop - start)
            if len(data) != stop - start:
                raise OSError(f"got {len(data)} of {stop - start} bytes")
            return data

    def names(self, key: str) -> list[str] | None:
        """Names of what a page of links, as servers make of folders, has directly below it; None where there is none."""
        try:
            with self._request("GET", f"{key}/" if key else "") as response:
                if response.status != 200 or "html" not in (response.getheader("Content-Type") or ""):
                    return None
                page = response.read(_MOST_LISTING)
        except (Refused, FileNotFoundError):
            return None
        base = urllib.parse.urlsplit(self._target(f"{key}/" if key else "")).path
        found = []
        for link in _LINK.findall(page):
            path = urllib.parse.urlsplit(urllib.parse.urljoin(base, link.decode("latin-1"))).path
            name = urllib.parse.unquote(path.removeprefix(base)).rstrip("/")
            if path.startswith(base) and name and "/" not in name:
                found.append(name)
        return sorted(set(found))

    def _state(self, response: http.client.HTTPResponse) -> str:
        return response.getheader("ETag") or response.getheader("Last-Modified") or ""

    def _target(self, key: str) -> str:
        """Path and query of a request."""
        path = f"{self._parts.path.rstrip('/')}/{urllib.parse.quote(key)}"
        return f"{path}?{self._parts.query}" if self._parts.query else path

    @contextlib.contextmanager
    def _request(self, method: str, key: str, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        """An answer of status 200 or 206, or one to HEAD that says nothing, whose body is what the block reads of it."""
        url = urllib.parse.urlunsplit((self._parts.scheme, self._parts.netloc, self._target(key), "", ""))
        for _ in range(_MOST_REDIRECTS):
            response = self._send(method, url, headers or {})
            if response.status not in _REDIRECTS:
                break
            self._connections.drop(url)
            url = urllib.parse.urljoin(url, response.getheader("Location") or "")
            if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                raise Refused("the server redirects to something else than the web")
        try:
            self._judge(method, response.status)
            yield response
        except (http.client.HTTPException, OSError) as e:
            raise e if isinstance(e, OSError) else OSError(f"{type(e).__name__}: {e}") from e
        finally:
            if method == "HEAD":
                response.read()  # of nothing, which says so
            if not response.isclosed():  # bytes are left that nobody wants: quicker by a new connection
                self._connections.drop(url)

    def _judge(self, method: str, status: int) -> None:
        if status in (200, 206):
            self._answers = True
        elif status in _ABSENT or (status == 403 and self._answers):
            self._answers = True
            raise FileNotFoundError(f"{status} {http.client.responses.get(status, '')}")
        elif status in _FORBIDDEN:
            raise Refused(f"no permission ({status} {http.client.responses.get(status, '')}); {AUTHORIZATION} gives a key")
        elif status >= 500 and status != 501 or status in _LATER:
            raise OSError(f"{status} {http.client.responses.get(status, '')}")
        elif method != "HEAD":
            raise Refused(f"the server answers {status} {http.client.responses.get(status, '')}")

    def _send(self, method: str, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        headers = {"User-Agent": "ava-jax", "Accept-Encoding": "identity", **headers}
        if (parts.scheme, parts.netloc) == (self._parts.scheme, self._parts.netloc) and os.environ.get(AUTHORIZATION):
            headers["Authorization"] = os.environ[AUTHORIZATION]
        while True:
            connection, target, used = self._connections.take(url)
            try:
                connection.request(method, target, headers=headers)
                return connection.getresponse()
            except ssl.SSLCertVerificationError as e:
                self._connections.drop(url)
                raise Refused(f"its certificate cannot be verified ({e.verify_message})") from e
            except (http.client.HTTPException, OSError) as e:
                self._connections.drop(url)
                if used:  # a server closes what was idle for long: no fault yet
                    continue
                raise e if isinstance(e, OSError) else OSError(f"{type(e).__name__}: {e}") from e
