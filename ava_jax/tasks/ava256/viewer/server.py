"""The page: viser's server behind a guard, with a panel for each client."""

import math
from typing import Any

import numpy as np
import viser
import viser.transforms

from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.viewer.components import Components
from ava_jax.tasks.ava256.viewer.controls import Panel
from ava_jax.tasks.ava256.viewer.eyes import MM, Eye
from ava_jax.tasks.ava256.viewer.people import People
from ava_jax.tasks.ava256.viewer.pipeline import Pipeline
from ava_jax.tasks.ava256.viewer.recordings import Recordings
from ava_jax.viz.live.page import Page, Panels

_DISTANCE = 1000.0  # mm from the head's middle, at first
_DIRECTIONS = {"Front": (0.0, 0.0), "Left": (75.0, 0.0), "Right": (-75.0, 0.0), "Top": (0.0, 55.0)}  # azimuth, elevation, degrees
_NEAR, _FAR = 0.05, 20.0  # m
_WIDE = 0.85  # width over height of a window that shows the whole head; in narrower ones the camera stands back


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
        self._page = Page(host, port, token)
        self.port, self.address = self._page.port, self._page.address
        self._prepare()
        self._panels = Panels(self._page.viser, self._panel, pipeline)

    def stop(self) -> None:
        """Ends the server; its clients lose their connection."""
        self._page.stop()

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._panels)

    def _prepare(self) -> None:
        camera = self._page.viser.initial_camera
        camera.position, camera.look_at, camera.up = self._place("Front"), self._avatar.middle / MM, (0.0, 1.0, 0.0)
        camera.fov, camera.near, camera.far = self.fov, _NEAR, _FAR

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

    def _panel(self, client: viser.ClientHandle) -> Panel:
        title = f"**{len(self._people.names)} people**, checkpoint of step {self._avatar.step}"
        panel = Panel(client, self._pipeline, self._people, self._recordings, self._components, title=title, look=self._look)
        if 0 < client.camera.image_width < _WIDE * client.camera.image_height:
            self._look(client, "Front")

        @client.camera.on_update
        async def _(camera: viser.CameraHandle) -> None:
            self._moved(panel, camera)

        self._moved(panel, client.camera)
        return panel

    def _moved(self, panel: Panel, camera: viser.CameraHandle) -> None:
        if (eye := eye_of(camera)) is not None:
            panel.session.change(eye=eye)
            self._pipeline.notify()


def eye_of(camera: Any) -> Eye | None:
    """Where viser's camera looks from; None where there is nothing to see, as in a window that is rolled up."""
    numbers = np.array([*camera.wxyz, *camera.position, camera.fov], np.float64)
    if not np.isfinite(numbers).all() or not 0 < camera.fov < np.pi or camera.image_width < 1 or camera.image_height < 1:
        return None
    to_head = viser.transforms.SO3(numbers[:4]).as_matrix()
    return Eye(to_head.T, MM * numbers[4:7], float(camera.fov), camera.image_width / camera.image_height)
