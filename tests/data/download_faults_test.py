"""A server that drops, truncates, slows, corrupts, redirects, ignores ranges and lies: the file that comes is whole, or none does."""

import http.client
import io
import random
import re
import ssl
import zipfile

import pytest
from download_server import Fault, Server

from ava_jax.data.download.client import Client
from ava_jax.data.download.engine import Download, Item

SIZE = 300_000
DATA = random.Random(1).randbytes(SIZE)
OTHER = random.Random(2).randbytes(SIZE - 1000)


def zipped(count=30, size=9_000, seed=3):
    rng, out = random.Random(seed), io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"cam1/{number:06d}.png"), rng.randbytes(size))
    return out.getvalue()


ZIP = zipped()


@pytest.fixture
def server():
    with Server({"a/x.bin": DATA, "a/x.zip": ZIP, "b/y.bin": DATA, "empty": b""}) as running:
        yield running


def fetch(server, folder, *files, tries=4, timeout=5.0, **options):
    """Runs a download; its problems."""
    download = Download(folder, Client(tries=tries, first_wait=0.01, timeout=timeout), shown=False, **options)
    plan = download.plan([Item(file, server.url + file) for file in files])
    return plan.problems + download.run(plan.tasks)


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


HEALED = {
    "drops": [Fault("drop", at=1000), Fault("drop", at=100_000), Fault("drop")],
    "drops more often than there are attempts in a row": [Fault("drop", at=70_000, count=4)],
    "stalls": [Fault("stall", at=70_000, seconds=3.0)],
    "is slow to begin": [Fault("stall", at=0, seconds=3.0)],
    "says a shorter length once": [Fault("short", at=5000)],
    "says a longer length once": [Fault("long", at=5000)],
    "flips a byte": [Fault("corrupt", at=200_000)],
    "flips a byte twice": [Fault("corrupt", at=200_000, count=2)],
    "ignores the range of a resumption": [Fault("drop", at=70_000), Fault("whole")],
    "answers with another range": [Fault("drop", at=70_000), Fault("shifted", at=3, count=2)],
    "is overloaded": [Fault("status", at=503), Fault("status", at=429, headers={"Retry-After": "0"}), Fault("status", at=500)],
    "does not speak HTTP": [Fault("nonsense", count=2)],
    "sends chunks": [Fault("chunked")],
    "drops while sending chunks": [Fault("chunked"), Fault("drop", at=5)],
    "redirects": [Fault("redirect", to="/b/y.bin")],
    "redirects the question too": [Fault("redirect", to="/b/y.bin", count=2, method="*")],
}


@pytest.mark.parametrize("name", HEALED)
def test_what_a_server_does_once_is_healed(server, tmp_path, name):
    server.faults["a/x.bin"] = [Fault(**vars(fault)) for fault in HEALED[name]]
    assert fetch(server, tmp_path, "a/x.bin", timeout=1.5) == []
    assert (tmp_path / "a/x.bin").read_bytes() == DATA
    assert not any(fault.count for fault in server.faults["a/x.bin"] if fault.kind not in ("shifted", "drop"))  # it happened
    assert left(tmp_path) == ["a/x.bin", "ava_download.json"]


REFUSED = {
    "a/x.bin drops always": ("a/x.bin", Fault("drop", at=10, count=-1), "the response ended after"),
    "a/x.bin is always shorter than it says": ("a/x.bin", Fault("long", at=10, count=-1), "changed on the server"),
    "a/x.bin is always flipped": ("a/x.bin", Fault("corrupt", at=7, count=-1), "its MD5 is"),
    "a/x.zip is always flipped": ("a/x.zip", Fault("corrupt", at=100_000, count=-1), "member 'cam1/000011.png' does not have its CRC32"),
    "a/x.bin is always longer than it says": ("a/x.bin", Fault("short", at=10, count=-1), "changed on the server"),
    "a name in the zip's directory is flipped": ("a/x.zip", Fault("corrupt", at=len(ZIP) - 30, count=-1), "is no whole zip: no header"),
    "the zip's end is always flipped": ("a/x.zip", Fault("corrupt", at=len(ZIP) - 22, count=-1), "is no whole zip: it has no directory"),
    "a sum in the zip's directory is always flipped": (
        "a/x.zip", Fault("corrupt", at=ZIP.rfind(b"PK\x01\x02") + 17, count=-1), "member 'cam1/000029.png' does not have its CRC32",
    ),
    "overloaded for ever": ("a/x.bin", Fault("status", at=503, count=-1), "HTTP 503"),
    "no such file": ("a/x.bin", Fault("status", at=404, count=-1), "HTTP 404"),
    "not allowed": ("a/x.bin", Fault("status", at=403, count=-1), "HTTP 403"),
    "a bad request": ("a/x.bin", Fault("status", at=400, count=-1), "HTTP 400"),
    "redirects in a circle": ("a/x.bin", Fault("redirect", to="/a/x.bin", count=-1), "more than 5 redirects"),
    "redirects to a file of the machine": ("a/x.bin", Fault("redirect", to="file:///etc/passwd", count=-1), "less safe than http"),
    "redirects nowhere": ("a/x.bin", Fault("redirect", to="http://:80/x", count=-1), "must be as in https://host/path"),
    "encodes": ("a/x.bin", Fault("encoded", count=-1), "sends the file encoded (gzip)"),
    "not HTTP": ("a/x.bin", Fault("nonsense", count=-1), "no response"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_server_does_always_is_said_and_leaves_no_file(server, tmp_path, name):
    file, fault, message = REFUSED[name]
    server.multipart.add("a/x.zip")  # its own checksums tell, no MD5
    server.faults[file] = [fault]
    (problem,) = fetch(server, tmp_path, file, "b/y.bin")[:2]
    assert (problem.path, problem.url) == (file, server.url + file)
    assert message in problem.text and "\n" not in problem.text
    assert problem.missing == (name in ("no such file", "not allowed"))
    assert (tmp_path / "b/y.bin").read_bytes() == DATA  # the others came
    assert not (tmp_path / file).exists()
    server.faults.clear()
    assert fetch(server, tmp_path, file) == []  # and later it comes, whatever was left
    assert (tmp_path / file).read_bytes() == server.files[file]
    assert [one for one in left(tmp_path) if one.startswith(file)] == [file]


def test_a_file_that_changes_under_way_is_never_put_together_of_two(server, tmp_path):
    server.multipart.add("a/x.bin")
    server.faults["a/x.bin"] = [Fault("drop", at=70_000), Fault("changed", content=OTHER)]
    assert fetch(server, tmp_path, "a/x.bin") == []
    assert (tmp_path / "a/x.bin").read_bytes() == OTHER


def test_a_file_that_keeps_changing_is_a_problem(server, tmp_path):
    server.faults["a/x.bin"] = [Fault("changed", content=random.Random(seed).randbytes(1000 + seed)) for seed in range(5)]
    (problem,) = fetch(server, tmp_path, "a/x.bin")
    assert "changed on the server" in problem.text
    assert not (tmp_path / "a/x.bin").exists()


def test_resumption_asks_for_the_rest_of_the_same_state(server, tmp_path):
    server.faults["a/x.bin"] = [Fault("drop", at=196_608), Fault("status", at=503, count=-1)]
    assert len(fetch(server, tmp_path, "a/x.bin", tries=2)) == 1
    (part,) = tmp_path.glob("a/x.bin.*.part")
    assert part.read_bytes() == DATA[: part.stat().st_size] and part.stat().st_size == 196_608
    server.faults.clear()
    server.log.clear()
    assert fetch(server, tmp_path, "a/x.bin") == []
    assert [one[2:] for one in server.requests("a/x.bin", "GET")] == [("bytes=196608-", 206)]
    assert (tmp_path / "a/x.bin").read_bytes() == DATA


def test_a_part_of_another_state_is_thrown_away(server, tmp_path):
    server.faults["a/x.bin"] = [Fault("drop", at=196_608), Fault("status", at=503, count=-1)]
    fetch(server, tmp_path, "a/x.bin", tries=2)
    server.faults.clear()
    server.files["a/x.bin"] = DATA[:100] + b"?" + DATA[101:]  # the same size
    assert fetch(server, tmp_path, "a/x.bin") == []
    assert (tmp_path / "a/x.bin").read_bytes() == server.files["a/x.bin"]
    assert left(tmp_path) == ["a/x.bin", "ava_download.json"]


def test_without_etag_and_date_nothing_is_resumed(server, tmp_path):
    server.etags = False
    server.faults["a/x.bin"] = [Fault("drop", at=196_608), Fault("status", at=503, count=-1)]
    fetch(server, tmp_path, "a/x.bin", tries=2)
    server.faults.clear()
    server.log.clear()
    assert fetch(server, tmp_path, "a/x.bin") == []
    assert [one[2] for one in server.requests("a/x.bin", "GET")] == [""]
    assert (tmp_path / "a/x.bin").read_bytes() == DATA


def test_a_server_without_head_or_ranges_serves_whole_files(server, tmp_path):
    server.head = server.ranges = False
    server.faults["a/x.bin"] = [Fault("drop", at=70_000, count=2)]
    server.faults["a/x.bin"][0].count = 2
    assert fetch(server, tmp_path, "a/x.bin", "empty") == []
    assert (tmp_path / "a/x.bin").read_bytes() == DATA and (tmp_path / "empty").read_bytes() == b""


def test_an_etag_is_an_md5_of_s3_alone(tmp_path):
    """Of another server 32 digits are no sum: the file is what it is."""
    with Server({"x.json": b"{}"}, name="nginx") as server:
        server.etag = lambda file: f'"{"0" * 32}"'
        assert fetch(server, tmp_path / "a", "x.json") == []
        server.name = "AmazonS3"
        (problem,) = fetch(server, tmp_path / "b", "x.json")
        assert "its MD5 is 99914b932bd37a50b983c5e7c90ae93b, and must be 000" in problem.text


def test_an_md5_of_a_list_is_held(server, tmp_path):
    server.name = "nginx"
    download = Download(tmp_path, Client(first_wait=0.01), shown=False)
    wrong = Item("a/x.bin", server.url + "a/x.bin", md5="0" * 32)
    right = Item("b/y.bin", server.url + "b/y.bin", md5=server.etag("b/y.bin").strip('"').upper())
    (problem,) = download.run(download.plan([wrong, right]).tasks)
    assert problem.path == "a/x.bin" and "must be 000" in problem.text


def test_waits_grow_and_differ(monkeypatch):
    from ava_jax.data.download import client as module

    client, waits = Client(tries=6, first_wait=1.0, longest_wait=5.0), []
    monkeypatch.setattr(client.stopping, "wait", waits.append)
    attempts = module.Attempts(client)
    for _ in range(5):
        attempts.wait(module.Temporary("x"))
    with pytest.raises(module.Temporary):
        attempts.wait(module.Temporary("x"))
    assert all(0.5 * base <= wait <= 1.5 * base for wait, base in zip(waits, (1, 2, 4, 5, 5), strict=True))
    assert len(set(waits)) == 5
    attempts.progress(1 << 16)
    attempts.wait(module.Temporary("x", after=60.0))  # counted anew, and the server's own wait is kept
    assert waits[-1] == 60.0


def test_a_connection_that_crawls_is_given_up(server, tmp_path, monkeypatch):
    from ava_jax.data.download import client as module

    monkeypatch.setattr(module, "_WINDOW", 0.3)
    server.rate = 200.0
    (problem,) = fetch(server, tmp_path, "a/x.bin", tries=2)
    assert re.search(r"only \d+ bytes came in \d+ s", problem.text)
    server.rate = 0.0
    assert fetch(server, tmp_path, "a/x.bin") == []


def test_a_server_that_cannot_be_reached_ends_it_at_once(tmp_path, monkeypatch):
    attempts, connect = [], http.client.HTTPConnection.connect
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: (attempts.append(self), connect(self)))
    with Server({}) as server:
        url = server.url
    download = Download(tmp_path, Client(tries=2, first_wait=0.01), shown=False)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1: no connection .*Run the same again later"):
        download.plan([Item(f"{n}.bin", f"{url}{n}.bin") for n in range(1000)])
    assert 2 <= len(attempts) < 200  # not twice for each of them


def test_a_certificate_that_is_not_to_be_trusted_ends_it_at_once(server, tmp_path, monkeypatch):
    def connect(self):
        error = ssl.SSLCertVerificationError("certificate verify failed")
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    download = Download(tmp_path, Client(first_wait=0.01), shown=False)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1: its certificate is not to be trusted \(self-signed certificate\)"):
        download.plan([Item(f"{n}.bin", f"{server.url}{n}.bin") for n in range(100)])
    assert server.log == []


def test_a_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    download = Download(tmp_path, Client(first_wait=0.01, tries=2), shown=False)
    assert download.run(download.plan([Item("x.bin", "http://data.example/a/x.bin")]).tasks) == []
    assert (tmp_path / "x.bin").read_bytes() == DATA
