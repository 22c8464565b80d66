"""The page: viser's server behind a guard, with a panel for each client."""

import contextlib
import io
import math
import socket
import threading
import urllib.parse
from typing import Any

import numpy as np
import viser
import viser.transforms

from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.viewer.components import Components
from ava_jax.tasks.ava256.viewer.controls import Panel
from ava_jax.tasks.ava256.viewer.eyes import MM, Eye
from ava_jax.tasks.ava256.viewer.guard import PARAMETER, Guard
from ava_jax.tasks.ava256.viewer.people import People
from ava_jax.tasks.ava256.viewer.pipeline import Pipeline
from ava_jax.tasks.ava256.viewer.recordings import Recordings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DISTANCE = 1000.0  # mm from the head's middle, at first
_DIRECTIONS = {"Front": (0.0, 0.0), "Left": (75.0, 0.0), "Right": (-75.0, 0.0), "Top": (0.0, 55.0)}  # azimuth, elevation, degrees
_NEAR, _FAR = 0.05, 20.0  # m
_WIDE = 0.85  # width over height of a window that shows the whole head; in narrower ones the camera stands back
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class _Viser(viser.ViserServer):
    """Without the tunnel to a server of viser's makers, which any client could ask for."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Opens none."""
        return None


class Server:
    """Serves an avatar until it is stopped."""

    def __init__(
        self,
        avatar: Avatar,
        pipeline: Pipeline,
        people: People,
        recordings: Recordings,
        components: Components,
        *,
        host: str,
        port: int,
        token: str,
    ):
        """Begins to serve.

        Args:
          host, port: to listen at; port 0 takes one that is free.
          token: that the address must have; "" asks for none.

        Raises:
          OSError: that cannot be listened at.
          RuntimeError: viser does not ask the guard.
        """
        self._avatar, self._pipeline, self._people, self._recordings, self._components = avatar, pipeline, people, recordings, components
        self._panels: dict[int, Panel] = {}
        self._lock = threading.Lock()
        check_address(host, port)
        guard = Guard(token)
        with guard.around_servers(), contextlib.redirect_stdout(io.StringIO()):  # it prints an address without the token
            self._viser = _Viser(host=host, port=port, label="ava_jax", verbose=False)
        self.port = self._viser.get_port()
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
        self._prepare()

    def stop(self) -> None:
        """Ends the server; its clients lose their connection."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._viser.stop()

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._panels)

    def _prepare(self) -> None:
        server = self._viser
        server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, brand_color=(88, 130, 190))
        server.gui.main_panel.dock_right()
        server.scene.set_up_direction("+y")
        camera = server.initial_camera
        camera.position, camera.look_at, camera.up = self._place("Front"), self._avatar.middle / MM, (0.0, 1.0, 0.0)
        camera.fov, camera.near, camera.far = self.fov, _NEAR, _FAR
        server.on_client_connect(self._connected)
        server.on_client_disconnect(self._disconnected)

    @property
    def fov(self) -> float:
        """Vertical, radians: the whole head is in the picture."""
        height = 2
        return 2 * math.atan(1 / float(self._avatar.portrait(height, height, distance=_DISTANCE).focal[0, 1]))

    def _place(self, direction: str, aspect: float = 1.0) -> np.ndarray:
        """A camera's position, m."""
        azimuth, elevation = _DIRECTIONS[direction]
        back = _DISTANCE * max(1.0, _WIDE / aspect)
        return self._avatar.portrait(2, 2, azimuth=azimuth, elevation=elevation, distance=back).position[0].astype(np.float64) / MM

    def _look(self, client: viser.ClientHandle, direction: str) -> None:
        with client.atomic():
            client.camera.up_direction = (0.0, 1.0, 0.0)
            client.camera.position = self._place(direction, client.camera.aspect)
            client.camera.look_at = self._avatar.middle / MM

    async def _connected(self, client: viser.ClientHandle) -> None:
        title = f"**{len(self._people.names)} people**, checkpoint of step {self._avatar.step}"
        panel = Panel(client, self._pipeline, self._people, self._recordings, self._components, title=title, look=self._look)
        with self._lock:
            self._panels[client.client_id] = panel
        if 0 < client.camera.image_width < _WIDE * client.camera.image_height:
            self._look(client, "Front")

        @client.camera.on_update
        async def _(camera: viser.CameraHandle) -> None:
            self._moved(panel, camera)

        self._moved(panel, client.camera)
        self._pipeline.add(panel.session)

    def _moved(self, panel: Panel, camera: viser.CameraHandle) -> None:
        if (eye := eye_of(camera)) is not None:
            panel.session.change(eye=eye)
            self._pipeline.notify()

    async def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            panel = self._panels.pop(client.client_id, None)
        if panel is not None:
            self._pipeline.remove(panel.session)


def eye_of(camera: Any) -> Eye | None:
    """Where viser's camera looks from; None where there is nothing to see, as in a window that is rolled up."""
    numbers = np.array([*camera.wxyz, *camera.position, camera.fov], np.float64)
    if not np.isfinite(numbers).all() or not 0 < camera.fov < np.pi or camera.image_width < 1 or camera.image_height < 1:
        return None
    to_head = viser.transforms.SO3(numbers[:4]).as_matrix()
    return Eye(to_head.T, MM * numbers[4:7], float(camera.fov), camera.image_width / camera.image_height)


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
