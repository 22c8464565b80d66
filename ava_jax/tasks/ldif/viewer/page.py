"""The page: shapes in space, and a panel for each client."""

import threading
from collections.abc import Mapping

import viser

from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.viewer.panel import Panel
from ava_jax.tasks.ldif.viewer.worker import Worker
from ava_jax.viz.live.page import Page

_POSITION = (1.1, 0.8, 2.3)  # of the camera at first
_FOV = 0.75  # vertical, radians


class Viewer:
    """All that a page shows."""

    def __init__(self, shapes: Mapping[str, Shape], resolution: int) -> None:
        """Serves nothing yet.

        Args:
          shapes: by name, one or more; with one decoder, cut alike.
          resolution: of the finest grid, at first.
        """
        self.worker = Worker()
        self._shapes, self._resolution = shapes, resolution
        self._panels: dict[int, Panel] = {}
        self._lock = threading.Lock()
        self._page: Page | None = None

    def serve(self, host: str, port: int, token: str) -> Page:
        """Opens the page; as `Page`."""
        self._page = page = Page(host, port, token)
        camera = page.viser.initial_camera
        camera.position, camera.look_at, camera.up, camera.fov = _POSITION, (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), _FOV
        page.viser.on_client_connect(self._connected)
        page.viser.on_client_disconnect(self._disconnected)
        self.worker.start()
        return page

    def stop(self) -> None:
        """Ends the page and the thread."""
        if self._page is not None:
            self._page.stop()
        self.worker.stop()

    async def _connected(self, client: viser.ClientHandle) -> None:
        panel = Panel(client, self.worker, self._shapes, self._resolution)
        with self._lock:
            self._panels[client.client_id] = panel
        self.worker.add(panel.session)

    async def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            panel = self._panels.pop(client.client_id, None)
        if panel is not None:
            self.worker.remove(panel.session)
