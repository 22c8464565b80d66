"""A client without a browser: speaks the page's protocol over its websocket. It measures, and tests what many clients do."""

import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import msgspec.msgpack
import viser
import websockets.sync.client
import zstandard

_CONNECT_SECONDS = 20
_LARGEST = 1 << 28  # bytes of a message
_HEADER = 16  # bytes: the sizes of what is packed, before and after compression
_ALIGN = 8  # bytes that binary parts begin at multiples of


class Client:
    """One connection. It keeps the last picture, when each came, and the controls that it was sent."""

    def __init__(self, address: str, *, width: int = 1024, height: int = 1024):
        """Connects, as a window of this size.

        Args:
          address: as `Server.address`.

        Raises:
          websockets.exceptions.InvalidStatus: it is refused.
        """
        parts = urllib.parse.urlsplit(address)
        protocol = websockets.Subprotocol(f"viser-v{viser.__version__}")
        self._socket = websockets.sync.client.connect(
            f"ws://{parts.netloc}/?{parts.query}", subprotocols=[protocol], max_size=_LARGEST, compression=None, proxy=None,
            open_timeout=_CONNECT_SECONDS,
        )  # fmt: skip
        self._size, self._changed = (width, height), threading.Condition()
        self.controls: dict[str, str] = {}  # label to id
        self.texts: dict[str, str] = {}  # id to Markdown
        self.arrivals: list[tuple[float, int]] = []  # seconds of `time.perf_counter`, and bytes, of each picture
        self.picture = b""  # the last one's JPEG
        self.meshes: list[tuple[float, bytes]] = []  # seconds, and the GLB, of each mesh
        threading.Thread(target=self._receive, daemon=True, name="client").start()

    def look(self, position: Any, target: Any, fov: float) -> None:
        """Sends a camera that looks from one point to another, m, y up."""
        import numpy as np
        from viser import transforms

        forward = np.asarray(target, np.float64) - np.asarray(position, np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        turn = transforms.SO3.from_matrix(np.stack([right, np.cross(forward, right), forward], axis=1))
        width, height = self._size
        self._send(
            type="ViewerCameraMessage", wxyz=turn.wxyz.tolist(), position=[float(x) for x in position], fov=fov, near=0.05, far=20.0,
            image_height=height, image_width=width, look_at=[float(x) for x in target], up_direction=[0.0, 1.0, 0.0],
        )  # fmt: skip

    def set(self, label: str, value: Any) -> None:
        """Sets the control of this label."""
        self._send(type="GuiUpdateMessage", uuid=self.controls[label], updates={"value": value})

    def wait(self, done: Callable[["Client"], Any], seconds: float) -> bool:
        """Whether something came true within this time."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: done(self), seconds))

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def drop(self) -> None:
        """Ends it as a lost network does, without a word."""
        self._socket.socket.shutdown(socket.SHUT_RDWR)

    def _send(self, **message: Any) -> None:
        self._socket.send(msgspec.msgpack.encode(message))

    def _receive(self) -> None:
        decompressor = zstandard.ZstdDecompressor()
        try:
            for data in self._socket:
                size, packed = (int.from_bytes(data[at : at + 8], "little") for at in (0, 8))
                content = decompressor.decompress(data[_HEADER : _HEADER + packed], max_output_size=size)
                now = time.perf_counter()
                with self._changed:
                    for message in msgspec.msgpack.decode(content)["messages"]:
                        self._take(message, now)
                    self._changed.notify_all()
        except (OSError, websockets.exceptions.ConnectionClosed):
            pass  # it has ended, as `close` or the server wanted

    def _take(self, message: dict[str, Any], now: float) -> None:
        if message["type"] == "BackgroundImageMessage" and message["rgb_data"] is not None:
            self.picture = message["rgb_data"]
            self.arrivals.append((now, len(self.picture)))
        elif "glb_data" in (message.get("props") or message.get("updates") or {}):
            self.meshes.append((now, (message.get("props") or message["updates"])["glb_data"]))
        elif message["type"] == "GuiMarkdownMessage":
            self.texts[message["uuid"]] = message["props"]["_markdown"]
        elif message["type"] == "GuiUpdateMessage" and message["uuid"] in self.texts:
            self.texts[message["uuid"]] = message["updates"].get("_markdown", self.texts[message["uuid"]])
        elif "props" in message and "label" in message["props"] and "uuid" in message:
            self.controls[message["props"]["label"]] = message["uuid"]
