"""The panel of one client: people, layers, recordings, sliders of expression, places to look from."""

import threading
import time
from collections.abc import Callable

import numpy as np
import viser
from PIL import Image

from ava_jax.tasks.ava256.viewer import drawing
from ava_jax.tasks.ava256.viewer.components import Components
from ava_jax.tasks.ava256.viewer.people import People
from ava_jax.tasks.ava256.viewer.pipeline import Pipeline, Sent
from ava_jax.tasks.ava256.viewer.recordings import Recordings
from ava_jax.tasks.ava256.viewer.session import Session

_RANGE = 3.0  # deviations that a slider goes to either side
_RANDOM = 1.2  # deviations of a random expression
_STATUS_EVERY = 0.25  # seconds
_COARSE_QUALITY, _QUALITY = 80, 92  # of JPEG: while it changes, and at rest
_LEAST_SIDE = 400  # pixels: smaller pictures are enlarged here, as the page would show their pixels as squares
_LOADING = "*Loading the avatar …*"
_STILL = "The neutral face"
_NO_RECORDINGS = "None at hand. `ava view --data=CAPTURES` or `--codes=codes.npz` brings some."
_DIRECTIONS = ("Front", "Left", "Right", "Top")


class Panel:
    """A client's controls and its session."""

    def __init__(
        self,
        client: viser.ClientHandle,
        pipeline: Pipeline,
        people: People,
        recordings: Recordings,
        components: Components,
        *,
        title: str,
        look: Callable[[viser.ClientHandle, str], None],
    ):
        """Builds the panel.

        Args:
          title: its first line.
          look: moves a client's camera to one of the directions.
        """
        self._client, self._pipeline, self._recordings, self._components, self._look = client, pipeline, recordings, components, look
        self.session = Session(people.names[0], self._show, self._tell)
        self._told, self._times = 0.0, []
        self._random = np.random.default_rng()
        client.gui.add_markdown(title)
        self._status = client.gui.add_markdown(_LOADING)
        self._add_person(people)
        self._add_view()
        self._add_recording()
        self._add_expression()

    def _add_person(self, people: People) -> None:
        gui = self._client.gui
        with gui.add_folder("Person and picture"):
            person = gui.add_dropdown("Person", people.names, initial_value=people.names[0])
            layer = gui.add_dropdown("Show", drawing.LAYERS, initial_value=drawing.PICTURE)
            colour = gui.add_rgb("Background", self.session.wanted.background)

        @person.on_update
        def _(_: viser.GuiEvent) -> None:
            self._status.content = _LOADING
            self._change(person=person.value)

        @layer.on_update
        def _(_: viser.GuiEvent) -> None:
            if layer.value in drawing.LAYERS:
                self._change(layer=layer.value)

        @colour.on_update
        def _(_: viser.GuiEvent) -> None:
            self._change(background=tuple(colour.value))

    def _add_view(self) -> None:
        gui = self._client.gui
        with gui.add_folder("Camera"):
            buttons = gui.add_button_group("Look from", _DIRECTIONS)
            gui.add_markdown("Drag to go around, scroll to come nearer, drag with the right button to move.")

        @buttons.on_click
        def _(_: viser.GuiEvent) -> None:
            self._look(self._client, buttons.value)

    def _add_expression(self) -> None:
        gui, components = self._client.gui, self._components
        with gui.add_folder("Expression"):
            gui.add_markdown(components.text)
            sliders = [
                gui.add_slider(f"{i + 1} ({share:.0%})", min=-_RANGE, max=_RANGE, step=0.05, initial_value=0.0)
                for i, share in enumerate(components.shares)
            ]
            buttons = gui.add_button_group("All", ("Reset", "Random"))
        moving = threading.Lock()

        def apply(_: viser.GuiEvent | None = None) -> None:
            if not moving.locked():  # all at once are one change
                self._change(offset=components.offset(np.array([slider.value for slider in sliders])))

        for slider in sliders:
            slider.on_update(apply)

        @buttons.on_click
        def _(_: viser.GuiEvent) -> None:
            values = self._random.normal(0.0, _RANDOM, len(sliders)) if buttons.value == "Random" else np.zeros(len(sliders))
            with moving:
                for slider, value in zip(sliders, np.clip(values, -_RANGE, _RANGE), strict=True):
                    slider.value = round(float(value), 2)
            apply()

    def _add_recording(self) -> None:
        gui, recordings = self._client.gui, self._recordings
        with gui.add_folder("Recording"):
            if not recordings.drivers:
                gui.add_markdown(_NO_RECORDINGS)
                return
            driver = gui.add_dropdown("Driver", (_STILL, *recordings.drivers), initial_value=_STILL, hint="Whose expressions.")
            self._segment = gui.add_dropdown("Segment", ("-",), initial_value="-", disabled=True)
            self._frame = gui.add_slider("Frame", min=0, max=1, step=1, initial_value=0, disabled=True)
            self._play = gui.add_checkbox("Play", False, disabled=True)
            rate = gui.add_slider("Frames/s", min=1, max=60, step=1, initial_value=15)
            strength = gui.add_slider("Strength", min=0.0, max=2.0, step=0.05, initial_value=1.0, hint="1: as recorded.")

        @driver.on_update
        def _(_: viser.GuiEvent) -> None:
            self._choose(driver.value)

        @self._segment.on_update
        def _(event: viser.GuiEvent) -> None:
            if event.client is not None:  # else it is `_choose` that changes it
                self._open(driver.value, self._segment.value)

        @self._frame.on_update
        def _(event: viser.GuiEvent) -> None:
            if event.client is not None:  # else it follows the playback
                self._play_with(position=float(self._frame.value))

        @self._play.on_update
        def _(_: viser.GuiEvent) -> None:
            self._play_with(playing=bool(self._play.value))

        @rate.on_update
        def _(_: viser.GuiEvent) -> None:
            self._play_with(rate=float(rate.value))

        @strength.on_update
        def _(_: viser.GuiEvent) -> None:
            self._change(strength=float(strength.value))

    def _choose(self, driver: str) -> None:
        """A driver's first segment, or nobody's."""
        still = driver == _STILL
        for handle in (self._segment, self._frame, self._play):
            handle.disabled = still
        if still:
            self._play.value = False
            self._play_with(clip=None, playing=False)
            return
        self._segment.options = self._recordings.segments[driver]
        self._open(driver, self._segment.value)

    def _open(self, driver: str, segment: str) -> None:
        clip = self._recordings.clip(driver, segment)
        self._frame.value = 0
        self._frame.max = max(clip.count - 1, 1)
        self._play_with(clip=clip, position=0.0)
        if clip.ready < clip.count:
            threading.Thread(target=self._load, args=(driver, segment), daemon=True, name="load").start()

    def _load(self, driver: str, segment: str) -> None:
        """Encodes a segment while the client is here and has not chosen another."""
        session, clip = self.session, self._recordings.clip(driver, segment)

        def going_on() -> bool:
            if session.closed or session.playback.clip is not clip:
                return False
            self._say(f"Encoding {segment}: {clip.ready} of {clip.count} frames")
            if not session.playback.playing and clip.ready == int(session.playback.position) + 1:
                self._play_with()  # the frame that is waited for
            return True

        try:
            self._recordings.load(driver, segment, going_on=going_on)
        except (ValueError, OSError) as e:
            self._tell(str(e))
        except BaseException as e:
            self._pipeline.fail(e)

    def _change(self, **values: object) -> None:
        self.session.change(**values)
        self._pipeline.notify()

    def _play_with(self, **values: object) -> None:
        self.session.play(**values)
        self._pipeline.notify()

    def _show(self, sent: Sent) -> None:
        """Gives the client its picture; of a client that is gone, it goes nowhere."""
        quality = _QUALITY if sent.finished else _COARSE_QUALITY
        self._client.scene.set_background_image(_smooth(sent.image), format="jpeg", jpeg_quality=quality)
        self._client.flush()
        now = time.perf_counter()
        self._times = [*(one for one in self._times if now - one < 1.0), now]
        height, width = sent.level
        if sent.finished and not self.session.playback.playing:
            self._say(f"{width} x {height} pixels", at_once=True)
        else:
            self._say(f"{width} x {height} pixels, {len(self._times)} pictures/s")
            if self.session.playback.playing and self._told == now:
                self._frame.value = int(self.session.playback.position)

    def _say(self, text: str, *, at_once: bool = False) -> None:
        """The status line, not too often."""
        now = time.perf_counter()
        if at_once or now - self._told >= _STATUS_EVERY:
            self._told = now
            self._status.content = f"*{text}*"

    def _tell(self, why: str) -> None:
        self._client.add_notification("That does not work", why, color="red")


def _smooth(image: np.ndarray) -> np.ndarray:
    """A coarse picture [h, w, 3] enlarged; others as they are."""
    height, width = image.shape[:2]
    factor = -(-_LEAST_SIDE // min(height, width))
    if factor < 2:
        return image
    return np.asarray(Image.fromarray(image).resize((factor * width, factor * height), Image.Resampling.BILINEAR))
