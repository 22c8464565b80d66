"""`ava view` from the command line: its page in a browser, and clients without one, on an avatar that has learnt nothing."""

import contextlib
import io
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import browsing
from PIL import Image

pytest.importorskip("viser", reason="the page needs viser: pip install 'ava-jax[view]'")
import websockets.exceptions  # noqa: E402  viser brings it

from ava_jax.viz.live import page as pages  # noqa: E402
from ava_jax.viz.live.client import Client  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parents[4]
WAIT = 240.0  # seconds that no test needs
QUIET = 0.3  # seconds without a picture, longer than the page's status line is held back
PERSON, OTHER = "20260101--0900--SYN001", "20260102--0901--SYN002"


def start(*args, env: dict[str, str]) -> subprocess.Popen:
    line = [sys.executable, "-m", "ava_jax.bin.ava", "view", *map(str, args)]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY), "JAX_PLATFORMS": "cpu"} | env
    return subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def address(small_run, tiny_capture, compiling_quickly):
    """Of a page with recordings; the command ends by Ctrl-C, in one line."""
    command = start(f"--workdir={small_run}", f"--data={tiny_capture}", "--port=0", "--size=192", env=compiling_quickly)
    line = command.stdout.readline()
    try:
        assert line.startswith(f"{small_run}: http://127.0.0.1:"), command.communicate(timeout=WAIT)[1]
        yield line.split()[-1]
    finally:
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=WAIT)
    assert command.returncode == 130 and not out and err.splitlines()[-1] == "ava view: stopped by Ctrl-C.", err
    assert "Traceback" not in err and (small_run / "view_components.npz").is_file()


@contextlib.contextmanager
def client(address: str):
    one = Client(address)
    try:
        yield one
    finally:
        one.close()


def look(one: Client, x: float = 0.0) -> None:
    one.look((x, 0.0, 1.0), (0.0, 0.0, 0.0), 0.5)


def whole_picture(one: Client, count: int = 0) -> np.ndarray:
    """The picture at rest, after more than `count` have come."""
    assert one.wait(lambda c: len(c.arrivals) > count, WAIT), "no picture came"
    for _ in range(int(WAIT / QUIET)):
        more = one.wait(lambda c, last=len(one.arrivals): len(c.arrivals) > last, QUIET)
        if not more and any(text.endswith("pixels*") for text in one.texts.values()):
            break
    return np.asarray(Image.open(io.BytesIO(one.picture)).convert("RGB"))


def change(one: Client, label: str, value) -> np.ndarray:
    """The whole picture after a control is set."""
    count = len(one.arrivals)
    one.set(label, value)
    return whole_picture(one, count)


def test_the_page_opens_with_its_token_alone(address):
    bare = address.partition("?")[0]
    assert urllib.request.urlopen(address, timeout=WAIT).status == 200
    for wrong in (bare, f"{bare}?token=wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(wrong, timeout=WAIT)
        assert refused.value.code == 403
        with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
            Client(wrong)


def test_a_browser_shows_the_avatar_and_its_controls_change_it(address, tmp_path):
    with browsing() as browser:
        page = browser.new_page(viewport={"width": 900, "height": 500})
        assert page.goto(address.partition("?")[0]).status == 403 and "token" in page.inner_text("body")
        page.goto(address)

        def screenshot() -> np.ndarray:
            """At rest, and before white: while it begins, the page is dim."""
            last = np.zeros(())
            for _ in range(int(WAIT)):
                page.get_by_text(re.compile(r"^\d+ x \d+ pixels$")).wait_for(timeout=1e3 * WAIT)
                page.wait_for_timeout(500)
                shown = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
                shown = shown[160:, :550].astype(int)  # without the panel, and the page's word on software rendering
                if np.abs(shown - last).max() < 3 and shown[0, 0].min() > 240:
                    break
                last = shown
            return shown

        first = screenshot()
        assert (first[:, 20:60] > 240).mean() > 0.9, "the background is white"
        assert (first[:, 150:420].min(-1) < 235).mean() > 0.05, "a head stands before it, as far as it has learnt to"
        page.get_by_role("slider").filter(visible=True).nth(-components(page)).press("End")
        moved = screenshot()
        assert (np.abs(moved - first).max(-1) > 8).sum() > 500, "the slider moves the face"

        page.reload()  # without the token in the address the cookie would do
        assert np.abs(screenshot() - first).mean() < 8, "a new visit begins with the neutral face"


def components(page) -> int:
    """How many sliders of expression there are: the last ones."""
    return page.get_by_text(re.compile(r"^\d+ \(\d+%\)$")).count()


def test_every_control_changes_the_picture(address):
    with client(address) as one:
        look(one)
        seen = {"neutral": whole_picture(one)}
        for layer in ("Alpha", "Depth", "Normals", "Mesh", "Primitives"):
            seen[layer] = change(one, "Show", layer)
        seen["other"] = change(one, "Person", OTHER)
        pairs = [(a, b) for a in seen for b in seen if a < b]
        assert all(np.abs(seen[a].astype(int) - seen[b]).mean() > 0.5 for a, b in pairs), "no two are alike"
        again = change(one, "Show", "Picture")
        assert np.abs(again.astype(int) - seen["neutral"]).mean() > 0.5, "another person"
        back = change(one, "Person", PERSON)
        assert np.abs(back.astype(int) - seen["neutral"]).mean() < 1
        blue = change(one, "Background", (0, 0, 255))
        np.testing.assert_allclose(blue[0, 0], [0, 0, 255], atol=6)


def test_a_recording_plays(address):
    with client(address) as one:
        look(one)
        whole_picture(one)
        one.set("Driver", OTHER)
        assert one.wait(lambda c: any("pixels" in text for text in c.texts.values()), WAIT)
        count = len(one.arrivals)
        one.set("Play", True)
        assert one.wait(lambda c: len(c.arrivals) > count + 10, WAIT), "pictures follow each other"
        one.set("Play", False)
        whole_picture(one)


def test_clients_see_what_each_wants_and_a_lost_one_costs_nothing(address):
    with client(address) as first, client(address) as second:
        look(first)
        look(second, 0.5)
        a, b = whole_picture(first), whole_picture(second)
        assert np.abs(a.astype(int) - b).mean() > 1
        moved = change(first, next(label for label in first.controls if label.startswith("1 (")), 2.0)
        count = len(second.arrivals)
        look(first, 0.4)
        first.drop()
        assert len(second.arrivals) == count, "nobody else's picture changed"
        look(second)
        back = whole_picture(second, count)
        assert np.abs(back.astype(int) - a).mean() < 1
        assert np.abs(back.astype(int) - moved).mean() > np.abs(back.astype(int) - a).mean(), "its slider was the first client's own"


@pytest.mark.parametrize("args, text", [
    (("--token=",), "--token must not be empty, nor be given with --no_token."),
    (("--codes=nonsense.npz",), "nonsense.npz: not a file of expression codes"),
])  # fmt: skip
def test_mistakes_are_told_in_a_line(args, text, tmp_path, monkeypatch):
    (tmp_path / "nonsense.npz").write_bytes(b"nonsense")
    monkeypatch.chdir(tmp_path)
    command = start("--workdir=RUN", *args, env={})
    _, err = command.communicate(timeout=WAIT)
    assert command.returncode == 1 and text in err and len(err.splitlines()) == 1, err


def test_an_address_that_cannot_be_had_is_told():
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"--port={port}: cannot listen there \(Address already in use\)"):
            pages.check_address("127.0.0.1", port)
    with pytest.raises(OSError, match="--host=no.such.host.invalid"):
        pages.check_address("no.such.host.invalid", 0)
