"""A web server of a folder that answers ranges, and fails as it is told to: for tests, and to try reading from afar.

python tests/data/range_server.py FOLDER [PORT]
"""

import hashlib
import http.server
import json
import pathlib
import re
import sys
import threading
import time
import urllib.parse

DROP, TRUNCATE, CORRUPT, BUSY, NO_RANGES, WRONG_RANGE, SLOW = "drop", "truncate", "corrupt", "busy", "no ranges", "wrong range", "slow"


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves `folder` on 127.0.0.1. Use as a context manager, or start it with `serve_forever`.

    Attributes:
      fault: asked with (method, path) of each request; gives a fault of those above, a status, a URL to redirect to, or None.
      requests: (method, path, bytes of the answer) of each; asked: (path with its query, header Authorization).
      listing: whether folders are listed.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: pathlib.Path, port: int = 0) -> None:
        self.folder, self.requests, self.asked, self.listing = folder, [], [], False
        self.fault = lambda method, path: None
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def sent(self) -> int:
        """Bytes of all answers."""
        return sum(count for _, _, count in self.requests)

    def __enter__(self) -> "RangeServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """Clients that go are no fault."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path == "/.counted":  # of requests and bytes, for benchmarks
            return self.plain(200, json.dumps([len(self.server.requests), self.server.sent]).encode(), body)
        fault = self.server.fault(self.command, path)
        file = self.server.folder / path.strip("/")
        self.server.requests.append((self.command, path, 0))
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if fault == DROP:
            self.close_connection = True
            return
        if fault == SLOW:
            time.sleep(0.2)
        if isinstance(fault, int) or fault == BUSY:
            return self.plain(503 if fault == BUSY else fault, b"", body)
        if isinstance(fault, str) and fault.startswith("http"):
            return self.plain(302, b"elsewhere", body, location=fault)
        if file.is_dir() and self.server.listing:
            links = "".join(f'<a href="{urllib.parse.quote(p.name)}{"/" * p.is_dir()}">{p.name}</a>\n' for p in sorted(file.iterdir()))
            return self.plain(200, f'<html><a href="../">up</a>{links}</html>'.encode(), body, "text/html")
        if not file.is_file():
            return self.plain(404, b"no such file", body)
        self.file(file, fault, body)

    def file(self, file: pathlib.Path, fault: str | None, body: bool) -> None:
        stat = file.stat()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start, stop = (int(wanted[1]), int(wanted[2] or stat.st_size - 1) + 1) if wanted else (0, stat.st_size)
        stop = min(stop, stat.st_size)
        if fault == NO_RANGES:
            wanted, start, stop = None, 0, stat.st_size
        if start >= stop and stat.st_size:
            return self.plain(416, b"", body)
        with open(file, "rb") as opened:
            opened.seek(start)
            data = opened.read(stop - start) if body else b""
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", '"' + hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16] + '"')
        if wanted:
            shift = 7 if fault == WRONG_RANGE else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{stop - 1 + shift}/{stat.st_size}")
        self.end_headers()
        if fault == CORRUPT and data:
            data = data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :]
        if fault == TRUNCATE:
            data, self.close_connection = data[: len(data) // 2], True
        self.server.requests[-1] = (self.command, self.path, len(data))
        self.wfile.write(data)

    def plain(self, status: int, content: bytes, body: bool, kind: str = "text/plain", location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


if __name__ == "__main__":
    with RangeServer(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8000) as served:
        served.listing = True
        print(f"{sys.argv[1]} at {served.url}", flush=True)
        threading.Event().wait()
