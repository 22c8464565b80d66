"""A token before the page: whoever does not know it gets 403, from the page as from its websocket.

viser has no such check. The one here comes before its own answer to each request, in the same server: a proxy would leave viser's port
open.
"""

import contextlib
import functools
import hmac
import http
import http.client
import http.cookies
import re
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import websockets.asyncio.server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

PARAMETER = "token"
_COOKIE = "ava_view_token"
_REFUSED = b"403: this page needs its token. Open the whole address that was printed.\n"
_OTHER_SITE = b"403: another site's page may not connect here.\n"
_CHECK_SECONDS = 10
_PINGS = {"ping_interval": 5, "ping_timeout": 10}  # seconds: a client that is lost without a word is noticed within their sum


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(16)


class Guard:
    """Decides about requests."""

    def __init__(self, token: str):
        """`token`: "" asks for none."""
        self._token = token

    def refusal(self, request: Request) -> bytes:
        """Why a request is refused; b"" of one that is not."""
        origin = request.headers.get("Origin")
        if origin is not None and urllib.parse.urlsplit(origin).netloc != request.headers.get("Host"):
            return _OTHER_SITE  # a page of another site that the same browser shows would bring the cookie along
        given = [self._in_query(request), self._in_cookie(request)]
        if self._token and not any(hmac.compare_digest(one.encode(), self._token.encode()) for one in given if one):
            return _REFUSED
        return b""

    def answer(self, inner: Callable[..., Response | None] | None, connection: Any, request: Request) -> Response | None:
        """The response to a request: the refusal, or what `inner` says, with the token as a cookie for the websocket."""
        if why := self.refusal(request):
            headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(why)), "Connection": "close"})
            return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", headers, why)
        response = None if inner is None else inner(connection, request)
        if response is not None and self._token:
            response.headers["Set-Cookie"] = f"{_cookie(request)}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @contextlib.contextmanager
    def around_servers(self) -> Iterator[None]:
        """Servers of websockets that begin within the block, in any thread, ask this guard first."""
        serve = websockets.asyncio.server.serve

        @functools.wraps(serve)
        def guarded(*args: Any, process_request: Callable[..., Response | None] | None = None, **kwargs: Any) -> Any:
            return serve(*args, process_request=functools.partial(self.answer, process_request), **(kwargs | _PINGS))

        websockets.asyncio.server.serve = guarded
        try:
            yield
        finally:
            websockets.asyncio.server.serve = serve

    def check(self, host: str, port: int) -> None:
        """Asks a server that has begun for the page without the token.

        Raises:
          RuntimeError: it answers otherwise than with 403: this version of viser does not ask the guard.
        """
        if not self._token:
            return
        connection = http.client.HTTPConnection(host, port, timeout=_CHECK_SECONDS)
        try:
            connection.request("GET", "/")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != http.HTTPStatus.FORBIDDEN:
            raise RuntimeError(f"the page can be seen without its token (status {status}): this version of viser is not supported.")

    def _in_query(self, request: Request) -> str:
        query = urllib.parse.urlsplit(request.path).query
        return urllib.parse.parse_qs(query).get(PARAMETER, [""])[0]

    def _in_cookie(self, request: Request) -> str:
        cookies: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
        for header in request.headers.get_all("Cookie"):
            with contextlib.suppress(http.cookies.CookieError):  # another program's of the same host; it is no token
                cookies.load(header)
        name = _cookie(request)
        return cookies[name].value if name in cookies else ""


def _cookie(request: Request) -> str:
    """The cookie's name: cookies are of a host, and each port of it may have a page of its own."""
    port = re.search(r":([0-9]+)$", request.headers.get("Host", ""))
    return f"{_COOKIE}_{port[1] if port else 80}"
