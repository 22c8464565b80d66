"""HTTP connections that are kept open, a set for each thread; proxies as the environment names them."""

import http.client
import socket
import ssl
import threading
import urllib.parse
import urllib.request
import weakref

Key = tuple[str, str, int]  # scheme, host, port


def key_of(url: str) -> Key:
    """Scheme, host and port of an URL.

    Raises:
      ValueError: it is not an HTTP one, or names no host.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"an URL must be as in https://host/path; got {url[:120]!r}.")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def target(url: str) -> str:
    """What a request asks for: the URL's path and query, escaped where it must be."""
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return path + (f"?{parts.query}" if parts.query else "")


class Connections:
    """One open connection per thread, host and port. `close_all` ends them from another thread, in the middle of what they do."""

    def __init__(self, timeout: float) -> None:
        """Opens nothing yet.

        Args:
          timeout: seconds without a byte after which a connection is given up.
        """
        self._timeout = timeout
        self._local = threading.local()
        self._all: weakref.WeakSet[http.client.HTTPConnection] = weakref.WeakSet()  # those of threads that have ended go
        self._lock = threading.Lock()
        self._proxies = urllib.request.getproxies()
        self._context: ssl.SSLContext | None = None

    def take(self, url: str) -> tuple[http.client.HTTPConnection, str, bool]:
        """A connection for an URL, what to ask it for, and whether it has served before (so that the server may have closed it)."""
        key = key_of(url)
        mine = self._local.__dict__.setdefault("connections", {})
        proxy = self._proxy(key)
        used = key in mine
        if not used:
            connection = mine[key] = self._new(key, proxy)
            with self._lock:
                self._all.add(connection)
        through = proxy is not None and key[0] == "http"
        return mine[key], (url.partition("#")[0] if through else target(url)), used

    def drop(self, url: str) -> None:
        """Closes this thread's connection for an URL; the next one is new."""
        connection = self._local.__dict__.setdefault("connections", {}).pop(key_of(url), None)
        if connection is not None:
            connection.close()
            with self._lock:
                self._all.discard(connection)

    def close_all(self) -> None:
        """Ends all connections, of all threads: reads that wait fail at once."""
        with self._lock:
            connections, self._all = list(self._all), weakref.WeakSet()
        for connection in connections:
            if (sock := connection.sock) is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is closed already
                    continue

    def _proxy(self, key: Key) -> tuple[str, int] | None:
        named = self._proxies.get(key[0])
        if not named or urllib.request.proxy_bypass(key[1]):
            return None
        parts = urllib.parse.urlsplit(named if "//" in named else f"//{named}")
        return (parts.hostname, parts.port or 80) if parts.hostname else None

    def _new(self, key: Key, proxy: tuple[str, int] | None) -> http.client.HTTPConnection:
        scheme, host, port = key
        if scheme == "http":
            return http.client.HTTPConnection(*(proxy or (host, port)), timeout=self._timeout)
        if self._context is None:
            self._context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(*(proxy or (host, port)), timeout=self._timeout, context=self._context)
        if proxy:
            connection.set_tunnel(host, port)
        return connection
