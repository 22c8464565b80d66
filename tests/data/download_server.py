"""A local HTTP server of files that tests and benchmarks download: S3's manners, and every fault that can be asked for.

with Server({"a/b.zip": data}) as server:
    server.faults["a/b.zip"] = [Fault("drop", at=1000), Fault("corrupt", at=50, count=2)]
    fetch(server.url + "a/b.zip")
"""

import dataclasses
import hashlib
import http.server
import os
import pathlib
import re
import socket
import threading
import time

_CHUNK = 1 << 16


@dataclasses.dataclass
class Fault:
    """What goes wrong with the next `count` requests of a file (-1: all), first come, first served.

    kind:
      drop        `at` bytes of the body are sent, then the connection closes
      stall       `at` bytes are sent, then nothing for `seconds`
      short       Content-Length says `at` bytes less than the file has, and so does the body
      long        Content-Length says `at` bytes more than are sent; then the connection closes
      corrupt     the byte at offset `at` of the file is another
      whole       ranges are ignored
      shifted     a range is answered with one that begins `at` bytes later
      status      `at` is the HTTP status
      redirect    to `to`
      changed     from now on the file is `content`
      nonsense    what is sent is not HTTP
      chunked     no length, in chunks
      encoded     Content-Encoding: gzip, though nobody asked
    """

    kind: str
    at: int = 0
    count: int = 1
    seconds: float = 0.0
    to: str = ""
    content: bytes = b""
    method: str = "GET"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)


class Server:
    """Serves `files`: bytes, or paths on disk, which are sent by sendfile. Runs in threads; a context manager.

    Attributes:
      faults: by file.
      rate: bytes per second and connection; 0 is as fast as may be.
      log: (method, file, Range header, status) of each request.
      multipart: files whose ETag is not an MD5, as of uploads in parts.
      ranges: False ignores them. etags: False sends none, nor Last-Modified.
    """

    def __init__(self, files: dict[str, bytes | pathlib.Path], *, rate: float = 0.0, port: int = 0, name: str = "AmazonS3"):
        self.files, self.rate, self.name = dict(files), rate, name
        self.faults: dict[str, list[Fault]] = {}
        self.log: list[tuple[str, str, str, int]] = []
        self.multipart: set[str] = set()
        self.ranges = self.etags = self.head = True
        self.together: threading.Barrier | None = None  # of files: none is sent before so many are asked for
        self.sent = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc) -> None:
        self._server.shutdown()
        self._server.server_close()

    def requests(self, file: str = "", method: str = "") -> list[tuple[str, str, str, int]]:
        return [one for one in self.log if file in one[1] and method in one[0]]

    def etag(self, file: str) -> str:
        content = self.files[file]
        if isinstance(content, pathlib.Path):
            stat = content.stat()
            return f'"{stat.st_size:x}-{stat.st_mtime_ns:x}-2"'
        return f'"{hashlib.md5(content).hexdigest()}{"-32" if file in self.multipart else ""}"'

    def fault(self, file: str, method: str) -> Fault | None:
        for fault in self.faults.get(file, []):
            if fault.count and fault.method in ("*", method):
                fault.count -= 1
                return fault
        return None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args) -> None:
        pass

    def version_string(self) -> str:
        return self.server.owner.name

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the client went away
            self.close_connection = True

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_GET(self) -> None:
        self._serve("GET")

    def _serve(self, method: str) -> None:
        owner = self.server.owner
        file = re.sub(r"^http://[^/]*", "", self.path).lstrip("/")
        fault = owner.fault(file, method) or Fault("")
        asked = self.headers.get("Range", "")
        if fault.kind == "changed":
            owner.files[file] = fault.content
        if fault.kind == "nonsense":
            owner.log.append((method, file, asked, 0))
            self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            self.close_connection = True
            return
        status, headers, span = self._answer(owner, method, file, asked, fault)
        owner.log.append((method, file, asked, status))
        self.send_response(status)
        for name, value in (headers | fault.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if method == "GET" and span is not None:
            if owner.together is not None:
                owner.together.wait(100)
            self._send(owner, file, span, fault)

    def _answer(self, owner: Server, method: str, file: str, asked: str, fault: Fault):
        if fault.kind == "redirect":
            return 302, {"Location": fault.to, "Content-Length": "0"}, None
        if fault.kind == "status" or file not in owner.files or (method == "HEAD" and not owner.head):
            status = fault.at if fault.kind == "status" else 404 if owner.head or file not in owner.files else 405
            return status, {"Content-Length": "0"}, None
        content = owner.files[file]
        size = content.stat().st_size if isinstance(content, pathlib.Path) else len(content)
        headers = {"Accept-Ranges": "bytes"}
        if owner.etags:
            headers |= {"ETag": owner.etag(file), "Last-Modified": "Wed, 17 Jul 2024 10:00:00 GMT"}
        if owner.etags and self.headers.get("If-Match", owner.etag(file)) != owner.etag(file):
            return 412, {"Content-Length": "0"}, None
        start, stop, status = 0, size, 200
        if (found := re.fullmatch(r"bytes=(\d+)-(\d*)", asked)) and owner.ranges and fault.kind != "whole":
            start = int(found[1]) + (fault.at if fault.kind == "shifted" else 0)
            stop = min(int(found[2]) + 1 if found[2] else size, size)
            if start >= size:
                return 416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"}, None
            status, headers["Content-Range"] = 206, f"bytes {start}-{stop - 1}/{size}"
        length = stop - start
        if fault.kind == "short":
            stop, length = stop - fault.at, length - fault.at
        if fault.kind == "long":
            length += fault.at
        if fault.kind == "encoded":
            headers["Content-Encoding"] = "gzip"
        if fault.kind == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(length)
        return status, headers, (start, stop)

    def _send(self, owner: Server, file: str, span: tuple[int, int], fault: Fault) -> None:
        (start, stop), content = span, owner.files[file]
        begun, sent, total = time.monotonic(), 0, stop - start
        limit = min(total, fault.at) if fault.kind in ("drop", "stall") else total
        chunk = min(_CHUNK, max(int(owner.rate / 20), 1)) if owner.rate else _CHUNK
        opened = open(content, "rb") if isinstance(content, pathlib.Path) else None
        self.wfile.flush()
        while sent < limit:
            count = min(chunk, limit - sent)
            if opened is not None:
                count = os.sendfile(self.connection.fileno(), opened.fileno(), start + sent, count)
            else:
                piece = content[start + sent : start + sent + count]
                if fault.kind == "corrupt" and start + sent <= fault.at < start + sent + count:
                    at = fault.at - start - sent
                    piece = piece[:at] + bytes([piece[at] ^ 0x55]) + piece[at + 1 :]
                if fault.kind == "chunked":
                    piece = b"%x\r\n%s\r\n" % (len(piece), piece)
                self.wfile.write(piece)
            sent += count
            owner.sent += count
            if owner.rate and (ahead := begun + sent / owner.rate - time.monotonic()) > 0:
                time.sleep(ahead)
        if opened is not None:
            opened.close()
        if fault.kind == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        if fault.kind == "stall":
            time.sleep(fault.seconds)
        if limit < total or fault.kind == "long":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
