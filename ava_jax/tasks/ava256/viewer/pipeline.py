"""Threads that draw for all clients: one decodes, one draws, one sends. Whoever waits longest for an answer comes first.

A picture comes whole and coarse at first, then finer; between two tiles the next client has its turn, and a client that has changed its
mind begins anew. Nobody's control thread waits for any of this.
"""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
from PIL import Image

from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.viewer import eyes
from ava_jax.tasks.ava256.viewer.drawing import LAYERS, Drawer
from ava_jax.tasks.ava256.viewer.people import People
from ava_jax.tasks.ava256.viewer.session import Posed, Session, Wanted
from ava_jax.viz.live.serving import Workers

_FIRST_ANSWER = 0.02  # seconds that the first picture of a change may take to draw: it is as fine as fits
_QUICK_DECODE = 0.04  # seconds; up to this a picture waits for the colours of its own place, else it shows those of the last
_SHOW_EVERY = 0.2  # seconds between two pictures of a level that is being drawn
_PLAYING_TICK = 1 / 60
_SMOOTH = 0.8  # of the running means of times
_IDLE = 5.0  # seconds after which a waiting thread looks again by itself


@dataclasses.dataclass(frozen=True)
class Sent:
    """A picture for a client.

    Attributes:
      image: u8 [H, W, 3].
      wanted: what it shows.
      finished: it is as fine as pictures are.
      level: pixels of its resolution, (height, width).
    """

    image: np.ndarray
    wanted: Wanted
    finished: bool
    level: tuple[int, int]


@dataclasses.dataclass
class _Job:
    """A client's picture at work.

    Attributes:
      level: that is being drawn, an index.
      canvas: u8, as far as it is drawn; None: nothing yet.
      answered: whether the client has been given anything of it; until then it is not interrupted.
      finished: whether it is whole.
      steps: draws a tile each; gives a picture where there is one to show, else None.
    """

    wanted: Wanted
    posed: Posed
    layout: eyes.Layout
    level: int
    canvas: np.ndarray | None = None
    answered: bool = False
    finished: bool = False
    steps: Iterator[Sent | None] = iter(())


class Mean:
    """A running mean of times, in seconds; the first one does not count once there is a second, as it compiles."""

    def __init__(self) -> None:
        self.value, self._count = 0.0, 0

    def add(self, seconds: float) -> None:
        """One more time."""
        self._count += 1
        self.value = seconds if self._count <= 2 else _SMOOTH * self.value + (1 - _SMOOTH) * seconds


class Times:
    """What a picture's parts take: decoding, a tile of each layer and size, and sending a whole picture."""

    def __init__(self) -> None:
        self.decode, self.send = Mean(), Mean()
        self.tile: dict[tuple[str, tuple[int, int]], Mean] = collections.defaultdict(Mean)


class Pipeline(Workers[Session]):
    """The three threads."""

    def __init__(self, avatar: Avatar, people: People, drawer: Drawer, *, longer: int, parts: int):
        """Starts nothing yet.

        Args:
          longer: the longer side of pictures, pixels, as `eyes.picture_size`.
          parts: tiles along a side of a whole picture; 1: pictures are drawn whole at once, as GPUs do.
        """
        self._avatar, self._people, self._drawer = avatar, people, drawer
        self._longer, self._parts = longer, parts
        super().__init__(self._decode_next, self._draw_next, self._send_next)
        self.times = Times()

    def warm_up(self, wanted: Wanted) -> Posed:
        """Compiles what a first picture needs, so that no client waits for it."""
        posed = self._pose(wanted)
        self._paint_once(wanted, posed)
        return posed

    def warm_layers(self, posed: Posed) -> None:
        """Compiles the other layers, in a thread, while clients see the first."""

        def compile_all() -> None:
            for layer in LAYERS:
                if self._stopped:
                    return
                self._paint_once(dataclasses.replace(posed.wanted, layer=layer), posed)

        threading.Thread(target=self._guarded, args=(compile_all,), daemon=True, name="warm_layers").start()

    def _paint_once(self, wanted: Wanted, posed: Posed) -> None:
        layout = self.layout(wanted.eye.aspect)
        canvas = np.zeros((*layout.tile, 3), np.uint8)
        for _ in range(2):  # the second is timed
            self._paint(canvas, wanted, posed, layout, layout.levels[0], (0, 0))

    def _decode_next(self) -> None:
        with self._changed:
            session = self._pick(self._needs_decoding)
            if session is None:
                return
            wanted = session.wanted
        try:
            posed = self._pose(wanted)
        except ValueError as e:  # a neutral face that cannot be read: the client is told, and keeps whom it has
            session.refuse(str(e))
            return
        with self._changed:
            if not session.closed:
                session.posed, session.taken = posed, False
            self._changed.notify_all()

    def _needs_decoding(self, session: Session) -> bool:
        if not session.taken:
            return False
        session.tick()
        wanted, posed, job = session.wanted, session.posed, session.job
        if wanted.eye is None or (posed is not None and posed.wanted.decoding == wanted.decoding):
            return False
        if posed is None or posed.wanted.face != wanted.face or self.times.decode.value < _QUICK_DECODE:
            return True
        # The camera's place alone is new: first it is answered with the colours at hand, undisturbed.
        return job is not None and job.answered and job.wanted.version == wanted.version

    def _pose(self, wanted: Wanted) -> Posed:
        person = self._people[wanted.person]
        begun = time.perf_counter()
        code = person.neutral
        if wanted.frame_code is not None:
            code = code + np.float32(wanted.strength) * (wanted.frame_code - code)
        code = (code + wanted.offset)[None].astype(np.float32)
        decoded = self._avatar.decode(person.identity, code, wanted.eye.position[None].astype(np.float32))
        decoded = jax.block_until_ready(decoded)
        self.times.decode.add(time.perf_counter() - begun)
        return Posed(wanted, decoded, person.index)

    def _draw_next(self) -> None:
        with self._changed:
            session = self._pick(self._needs_drawing, first=lambda s: s.job is None or not s.job.answered or self._next(s) is not None)
            if session is None:
                return
            if (following := self._next(session)) is not None:
                session.job = self._begin(session, *following)
                session.taken = True
                self._changed.notify_all()
            job, session.served = session.job, time.perf_counter()
        self._draw(session, job)

    def _draw(self, session: Session, job: _Job) -> None:
        """A client's first answer, or one more tile."""
        while True:
            sent = next(job.steps, None)
            if sent is not None:
                job.answered, job.finished = True, sent.finished
                with self._changed:
                    if not session.closed:
                        session.outgoing = sent
                    self._changed.notify_all()
            if job.answered or session.closed:
                return

    def _needs_drawing(self, session: Session) -> bool:
        return (session.job is not None and not session.job.finished) or self._next(session) is not None

    def _next(self, session: Session) -> tuple[Wanted, Posed] | None:
        """The picture to begin for a client, if it is another than the one at work and can be drawn with what is decoded."""
        posed, wanted, job = session.posed, session.wanted, session.job
        if posed is None or (job is not None and not job.answered):
            return None
        stale = posed.wanted.decoding != wanted.decoding
        if stale and (self.times.decode.value < _QUICK_DECODE or posed.wanted.face != wanted.face):
            wanted = posed.wanted  # what is decoded, if that was not shown yet
            if job is not None and job.posed is posed:
                return None
        if job is not None and job.posed is posed and job.wanted.version == wanted.version:
            return None
        return wanted, posed

    def _begin(self, session: Session, wanted: Wanted, posed: Posed) -> _Job:
        layout, old = self.layout(wanted.eye.aspect), session.job
        if old is not None and old.wanted.version == wanted.version:  # only the colours are newer: they come tile by tile
            job = _Job(wanted, posed, layout, old.level, old.canvas, answered=True)
        else:
            job = _Job(wanted, posed, layout, self._first_level(wanted.layer, layout))
        job.steps = self._steps(job)
        return job

    def _first_level(self, layer: str, layout: eyes.Layout) -> int:
        """The finest level that is drawn in time."""
        tile = self.times.tile[layer, layout.tile].value
        fits = [i for i, level in enumerate(layout.levels) if len(level.tiles) * tile <= _FIRST_ANSWER]
        return max(fits, default=0) if tile else 0

    def layout(self, aspect: float) -> eyes.Layout:
        """The parts of a picture for a window of this shape, width over height."""
        return eyes.layout(*eyes.picture_size(aspect, self._longer), self._parts)

    def _steps(self, job: _Job) -> Iterator[Sent | None]:
        shown, layout = time.perf_counter(), job.layout
        while True:
            level = layout.levels[job.level]
            last, size = job.level == len(layout.levels) - 1, (level.height, level.width)
            job.canvas = np.zeros((*size, 3), np.uint8) if job.canvas is None else _enlarged(job.canvas, size)
            for i, tile in enumerate(level.tiles):
                self._paint(job.canvas, job.wanted, job.posed, layout, level, tile)
                whole = i == len(level.tiles) - 1
                if whole or (job.answered and time.perf_counter() - shown > _SHOW_EVERY):
                    shown = time.perf_counter()
                    yield Sent(job.canvas.copy(), job.wanted, whole and last, size)
                else:
                    yield None
            if last:
                return
            job.level += 1

    def _paint(
        self, canvas: np.ndarray, wanted: Wanted, posed: Posed, layout: eyes.Layout, level: eyes.Level, tile: tuple[int, int]
    ) -> None:
        begun, (row, column), (height, width) = time.perf_counter(), tile, layout.tile
        cameras = wanted.eye.cameras(level.height, level.width, row, column)
        drawn = self._drawer(wanted.layer, posed.decoded, cameras, height, width, identity=posed.identity, background=wanted.background)
        part = canvas[row : row + height, column : column + width]
        part[:] = np.asarray(drawn)[: part.shape[0], : part.shape[1]]
        self.times.tile[wanted.layer, layout.tile].add(time.perf_counter() - begun)

    def _send_next(self) -> None:
        with self._changed:
            session = self._pick(lambda one: one.outgoing is not None)
            if session is None:
                return
            sent, session.outgoing = session.outgoing, None
        begun = time.perf_counter()
        if not session.closed:
            session.show(sent)
        if sent.finished:
            self.times.send.add(time.perf_counter() - begun)

    def _pick(self, needs: Callable[[Session], bool], first: Callable[[Session], bool] = lambda session: True) -> Session | None:
        """The client to serve next; waits for one, and gives None where it is worth another look. Holds the lock."""
        waiting = [session for session in self._sessions if needs(session)]
        if self._stopped:
            return None
        if not waiting:
            playing = any(session.playback.playing for session in self._sessions)
            self._changed.wait(_PLAYING_TICK if playing else _IDLE)
            return None
        return min(waiting, key=lambda session: (not first(session), session.served))


def _enlarged(canvas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A coarse picture [h, w, 3] at a finer resolution (height, width), smooth."""
    return np.array(Image.fromarray(canvas).resize(size[::-1], Image.Resampling.BILINEAR))
