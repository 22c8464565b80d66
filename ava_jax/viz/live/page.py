"""A page by viser behind a guard: opened at an address that is free, with a token, without viser's own tunnel to the world."""

import contextlib
import io
import socket
import threading
import urllib.parse
import warnings
from collections.abc import Callable
from typing import Protocol

import viser

from ava_jax.viz.live.guard import PARAMETER, Guard
from ava_jax.viz.live.serving import Session, Workers

_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class _Viser(viser.ViserServer):
    """Without the tunnel to a server of viser's makers, which any client could ask for."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Opens none."""
        return None


class Page:
    """A page that is served until it is stopped.

    Attributes:
      viser: the server, to which scenes and panels are added.
      port: that it listens at.
      address: of the page, with its token.
    """

    def __init__(self, host: str, port: int, token: str):
        """Begins to serve.

        Args:
          host, port: to listen at; port 0 takes one that is free.
          token: that the address must have; "" asks for none.

        Raises:
          OSError: that cannot be listened at.
          RuntimeError: viser does not ask the guard.
        """
        check_address(host, port)
        # Of a client that has gone in this moment; what it was sent goes nowhere, and that is no fault.
        warnings.filterwarnings("ignore", message=r"Queued a \w+ on a closed connection", category=UserWarning)
        guard = Guard(token)
        with guard.around_servers(), contextlib.redirect_stdout(io.StringIO()):  # it prints an address without the token
            self.viser = _Viser(host=host, port=port, label="ava_jax", verbose=False)
        self.port = self.viser.get_port()
        if port and self.port != port:  # taken in this very moment; viser takes another in silence
            self.stop()
            raise OSError(f"--port={port}: something else listens there.")
        shown = _ANY_HOST.get(host, host)
        try:
            guard.check(shown, self.port)
        except BaseException:
            self.stop()
            raise
        name = f"[{shown}]" if ":" in shown else shown
        query = f"?{urllib.parse.urlencode({PARAMETER: token})}" if token else ""
        self.address = f"http://{name}:{self.port}/{query}"
        self.viser.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(88, 130, 190))
        self.viser.gui.main_panel.dock_right()
        self.viser.scene.set_up_direction("+y")

    def stop(self) -> None:
        """Ends the server; its clients lose their connection."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.viser.stop()


class Panel(Protocol):
    """A client's controls."""

    @property
    def session(self) -> Session:
        """What they change."""


class Panels:
    """A panel for each client of a page, whose session is worked for while the client is there."""

    def __init__(self, server: viser.ViserServer, make: Callable[[viser.ClientHandle], Panel], workers: Workers) -> None:
        """Waits for clients.

        Args:
          server: viser's.
          make: builds a client's panel.
          workers: that work for sessions.
        """
        self._make, self._workers = make, workers
        self._panels: dict[int, Panel] = {}
        self._lock = threading.Lock()
        server.on_client_connect(self._connected)
        server.on_client_disconnect(self._disconnected)

    def __len__(self) -> int:
        """How many clients there are."""
        return len(self._panels)

    async def _connected(self, client: viser.ClientHandle) -> None:
        panel = self._make(client)
        with self._lock:
            self._panels[client.client_id] = panel
        self._workers.add(panel.session)

    async def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            panel = self._panels.pop(client.client_id, None)
        if panel is not None:
            self._workers.remove(panel.session)


def check_address(host: str, port: int) -> None:
    """Whether something can listen there; viser would try the next 999 ports.

    Raises:
      OSError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise OSError(f"--host={host} --port={port}: cannot listen there ({e.strerror or e}).") from e
