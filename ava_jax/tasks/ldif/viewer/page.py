"""The page: shapes in space, and a panel for each client."""

from collections.abc import Mapping

import viser

from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.viewer.panel import Panel
from ava_jax.tasks.ldif.viewer.worker import Worker
from ava_jax.viz.live.page import Page, Panels

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
        self._page: Page | None = None

    def serve(self, host: str, port: int, token: str) -> Page:
        """Opens the page; as `Page`."""
        self._page = page = Page(host, port, token)
        camera = page.viser.initial_camera
        camera.position, camera.look_at, camera.up, camera.fov = _POSITION, (0.0, 0.0, 0.0), (0.0, 1.0, 0.0), _FOV
        Panels(page.viser, self._panel, self.worker)
        self.worker.start()
        return page

    def stop(self) -> None:
        """Ends the page and the thread."""
        if self._page is not None:
            self._page.stop()
        self.worker.stop()

    def _panel(self, client: viser.ClientHandle) -> Panel:
        return Panel(client, self.worker, self._shapes, self._resolution)
