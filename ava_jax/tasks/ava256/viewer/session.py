"""What one client wants to see, and what it has been shown."""

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ava_jax.tasks.ava256.data.codes_file import CODE
from ava_jax.tasks.ava256.model.codec import Decoded
from ava_jax.tasks.ava256.viewer import drawing
from ava_jax.tasks.ava256.viewer.eyes import Eye
from ava_jax.tasks.ava256.viewer.recordings import Clip
from ava_jax.viz.live import serving

_TICK = 1 / 60  # seconds between two expressions of a clip that runs
_OF_FACE = ("person", "frame_code", "strength", "offset")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A picture that a client asks for.

    Attributes:
      person: a name of `People`.
      eye: where it is seen from; None before the client has said.
      frame_code: f32 [4, 4, 16], a recorded expression; None: the person's neutral face.
      strength: multiplies what the recorded expression differs by from the neutral one.
      offset: f32 [4, 4, 16], what the sliders add.
      layer: of `drawing.LAYERS`.
      background: colour, 0-255.
      face: changes with the person and the expression.
      version: changes with everything.
      since: when it was asked for, seconds of `time.perf_counter`.
    """

    person: str
    eye: Eye | None = None
    frame_code: np.ndarray | None = None
    strength: float = 1.0
    offset: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(CODE, np.float32))
    layer: str = drawing.PICTURE
    background: tuple[int, int, int] = (255, 255, 255)
    face: int = 0
    version: int = 0
    since: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def decoding(self) -> tuple[int, tuple[float, ...]]:
        """Equal for pictures of one decoded avatar: its colours depend on where it is seen from."""
        return self.face, tuple(self.eye.position)


@dataclasses.dataclass(frozen=True)
class Posed:
    """A decoded avatar.

    Attributes:
      wanted: the picture that it was decoded for.
      decoded: B = 1.
      identity: index of the colour calibration.
    """

    wanted: Wanted
    decoded: Decoded
    identity: int


@dataclasses.dataclass
class Playback:
    """A clip that runs.

    Attributes:
      clip: None: nothing is chosen.
      position: frame, with fractions.
      rate: frames per second.
      playing: whether it runs; at its end it begins again.
      stamp: when it was moved last, seconds of `time.perf_counter`.
    """

    clip: Clip | None = None
    position: float = 0.0
    rate: float = 15.0
    playing: bool = False
    stamp: float = 0.0

    def advance(self, now: float) -> None:
        """Moves it on to this moment."""
        seconds, self.stamp = now - self.stamp, now
        self.position = (self.position + seconds * self.rate) % max(self.clip.ready, 1)


class Session(serving.Session):
    """One client. Its control threads change what it wants, the pipeline's threads read it; no call waits for a picture."""

    def __init__(self, person: str, show: Callable[[Any], None], tell: Callable[[str], None]):
        """Shows a person's neutral face.

        Args:
          person: a name of `People`, who can be had.
          show: gives the client a picture, a `pipeline.Sent`.
          tell: gives it a line on what does not work.
        """
        super().__init__()
        self.show, self._tell, self._first = show, tell, person
        self._lock = threading.Lock()
        self._wanted = Wanted(person)
        self._playback = Playback()
        # Of the pipeline, under its own lock.
        self.posed: Posed | None = None
        self.taken = True  # whether drawing has begun with `posed`, so that the next may be decoded
        self.job: Any = None
        self.outgoing: Any = None

    def drop(self) -> None:
        """Pictures that were to be drawn."""
        self.job = self.outgoing = self.posed = None

    @property
    def wanted(self) -> Wanted:
        """What it wants now."""
        return self._wanted

    @property
    def playback(self) -> Playback:
        """Its own; changed by `play` alone."""
        return self._playback

    def change(self, **values: Any) -> None:
        """Changes fields of what is wanted."""
        with self._lock:
            self._change(values)

    def play(self, **values: Any) -> None:
        """Changes fields of the playback: the clip's frame is wanted then, or the neutral face without a clip."""
        with self._lock:
            now = time.perf_counter()
            for name, value in values.items():
                setattr(self._playback, name, value)
            self._playback.stamp = now
            self._show_frame()

    def refuse(self, why: str) -> None:
        """The person that it wants cannot be had: it is told, and wants the one that it has again."""
        self._tell(why)
        posed = self.posed
        self.change(person=self._first if posed is None else posed.wanted.person)

    def tick(self) -> None:
        """Moves a running clip on to this moment."""
        with self._lock:
            now = time.perf_counter()
            if self._playback.playing and self._playback.clip is not None and now - self._playback.stamp >= _TICK:
                self._playback.advance(now)
                self._show_frame()

    def _show_frame(self) -> None:
        clip = self._playback.clip
        self._change({"frame_code": clip.at(self._playback.position) if clip is not None and clip.ready else None})

    def _change(self, values: dict[str, Any]) -> None:
        old = self._wanted
        face = old.face + any(name in _OF_FACE for name in values)
        self._wanted = dataclasses.replace(old, **values, face=face, version=old.version + 1, since=time.perf_counter())
