"""Who is let in: with the token in the address or the cookie, and no other site's page."""

import http

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

pytest.importorskip("viser", reason="the page needs viser: pip install 'ava-jax[view]'")
from ava_jax.viz.live.guard import Guard, new_token  # noqa: E402  viser brings websockets


def _request(path: str = "/", **headers: str) -> Request:
    return Request(path, Headers({"Host": "127.0.0.1:8080"} | headers))


def _page(connection, request) -> Response:
    return Response(http.HTTPStatus.OK, "OK", Headers(), b"page")


def test_the_token_opens_the_page_and_comes_back_as_a_cookie():
    guard = Guard("secret")
    answer = guard.answer(_page, None, _request("/?a=1&token=secret"))
    assert answer.status_code == 200 and answer.body == b"page"
    name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
    assert value == "secret" and "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=Strict" in answer.headers["Set-Cookie"]
    websocket = _request(Upgrade="websocket", Cookie=f"other=1; {name}=secret", Origin="http://127.0.0.1:8080")
    assert guard.answer(lambda *_: None, None, websocket) is None, "the websocket goes on"


@pytest.mark.parametrize("path, headers", [
    ("/", {}),
    ("/?token=", {}),
    ("/?token=secre", {}),
    ("/?token=secret2", {}),
    ("/?token=s%C3%A9cret", {}),
    ("/", {"Cookie": "ava_view_token_8080=wrong"}),
    ("/", {"Cookie": "ava_view_token_8080=\"; ;;=,"}),
    ("/", {"Cookie": "ava_view_token_8081=secret"}),
    ("/", {"Upgrade": "websocket"}),
    ("/assets/../index.html", {}),
])  # fmt: skip
def test_without_it_there_is_nothing(path, headers):
    answer = Guard("secret").answer(_page, None, _request(path, **headers))
    assert answer.status_code == 403 and b"token" in answer.body and b"page\n" not in answer.body and "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("token", ["secret", ""])
@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null"])
def test_another_sites_page_may_not_use_the_cookie(token, origin):
    answer = Guard(token).answer(None, None, _request(Upgrade="websocket", Cookie="ava_view_token_8080=secret", Origin=origin))
    assert answer.status_code == 403 and b"another site" in answer.body


def test_no_token_lets_everybody_in():
    assert Guard("").answer(_page, None, _request()).status_code == 200


def test_tokens_differ():
    assert len({new_token() for _ in range(10)}) == 10 and all(len(new_token()) > 16 for _ in range(3))
