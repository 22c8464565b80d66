"""A thread that finds surfaces for all clients: coarse first, then fine. Whoever waits longest for an answer comes first."""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ava_jax.ops import implicit
from ava_jax.tasks.ldif.apps import surface, tints
from ava_jax.tasks.ldif.apps.field import Field
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.apps.surface import Surface
from ava_jax.viz.live import serving
from ava_jax.viz.live.serving import Workers

COARSE = 48  # points per side of the first answer's grid
_IDLE = 5.0  # seconds after which the thread looks again by itself


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a client wants to see.

    Attributes:
      name: of the shape.
      shape: with its elements as they have been moved.
      resolution: of the finest grid.
      mode: of `tints.modes`.
      other: a shape that is shown beside it, coloured by correspondence.
    """

    name: str
    shape: Shape
    resolution: int
    mode: str
    other: Shape | None = None

    @property
    def levels(self) -> tuple[int, ...]:
        """Resolutions from the first answer to the last."""
        return (COARSE, self.resolution) if self.resolution > COARSE else (self.resolution,)

    def moved(self, i: int, **values: np.ndarray) -> "Wanted":
        """With another constant, center, variance or angles of element `i`."""
        parts = {name: np.array(part, np.float32) for name, part in self.shape.elements._asdict().items()}
        for name, value in values.items():
            parts[name][i] = value
        return dataclasses.replace(self, shape=dataclasses.replace(self.shape, elements=implicit.Elements(**parts)))


class Found(NamedTuple):
    """A surface for a client.

    Attributes:
      wanted: what it is of.
      surface: with a sphere's vertices where the function has none.
      colours: u8 [V, 3].
      resolution: of its grid.
      seconds: that it took.
      finished: it is as fine as it was asked for.
      other: of the other shape, with its colours; None without.
    """

    wanted: Wanted
    surface: Surface
    colours: np.ndarray
    resolution: int
    seconds: float
    finished: bool
    other: tuple[Surface, np.ndarray] | None


class Session(serving.Session):
    """A client: what it wants, and how far that is."""

    def __init__(self, wanted: Wanted, show: Callable[[Found], object]):
        """`show` is called in the worker's thread with each surface."""
        super().__init__()
        self.wanted, self.show = wanted, show
        self.version, self.drawn, self.level = 1, 0, 0
        self.fields: dict[int, Field] = {}
        self.other: tuple[Shape, Surface] | None = None

    @property
    def waiting(self) -> bool:
        """Whether it has had no answer yet to what it wants."""
        return self.drawn != self.version

    @property
    def unfinished(self) -> bool:
        """Whether there is anything to do."""
        return self.waiting or self.level < len(self.wanted.levels)


class Worker(Workers["Session"]):
    """See the module."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        super().__init__(self._next)

    def change(self, session: Session, change: Callable[[Wanted], Wanted]) -> Wanted:
        """A client wants something else: what `change` makes of what it wanted."""
        with self._changed:
            session.wanted = change(session.wanted)
            session.version += 1
            self._changed.notify_all()
            return session.wanted

    def _next(self) -> None:
        with self._changed:
            todo = [one for one in self._sessions if one.unfinished]
            if not todo:
                self._changed.wait(_IDLE)
                return
            session = min(todo, key=lambda one: (not one.waiting, one.served))
            wanted, version = session.wanted, session.version
            if session.waiting:
                session.level = 0
            level = session.level
        self._answer(session, wanted, version, level)
        session.served = time.perf_counter()

    def _answer(self, session: Session, wanted: Wanted, version: int, level: int) -> None:
        begun = time.perf_counter()
        levels = wanted.levels
        resolution = levels[min(level, len(levels) - 1)]

        def outdated() -> bool:
            return level > 0 and (session.version != version or self._stopped or any(one.waiting for one in self._sessions))

        session.fields = {size: field for size, field in session.fields.items() if size in levels}
        field = session.fields.setdefault(resolution, Field(resolution))
        if not field.update(wanted.shape, outdated):
            return
        found = surface.mesh_of(field.values.astype(np.float32), field.places)
        colours = tints.of_vertices(wanted.shape, wanted.mode, found.vertices)
        answer = Found(
            wanted, found, colours, resolution, time.perf_counter() - begun, level + 1 >= len(levels), self._other(session, wanted)
        )
        with self._changed:
            session.drawn, session.level = version, level + 1
        if not session.closed:
            session.show(answer)

    def _other(self, session: Session, wanted: Wanted) -> tuple[Surface, np.ndarray] | None:
        """The shape beside it, as fine as the first answer, found once."""
        if wanted.other is None:
            session.other = None
            return None
        if session.other is None or session.other[0] is not wanted.other:
            field = Field(COARSE)
            field.update(wanted.other)
            session.other = wanted.other, surface.mesh_of(field.values.astype(np.float32), field.places)
        found = session.other[1]
        return found, tints.corresponding(wanted.shape, wanted.other, found.vertices)
