"""A pipeline of a stand-in for the avatar, whose pictures say what they show, so that what is drawn can be counted."""

import threading
import time
from types import SimpleNamespace

import numpy as np

from ava_jax.tasks.ava256.data.codes_file import CODE
from ava_jax.tasks.ava256.viewer import eyes
from ava_jax.tasks.ava256.viewer.pipeline import Pipeline
from ava_jax.tasks.ava256.viewer.session import Session

FACING = np.diag([1.0, -1.0, -1.0])
LONGER, PARTS = 64, 8
WAIT = 240.0  # seconds that no test needs


class Stage:
    """A pipeline of a stand-in: red is where the camera stands (x), green the expression's first number, blue the row of the picture.

    While `allow_drawing` or `allow_decoding` is cleared, it waits.
    """

    def __init__(self, *, tile: float = 0.0):
        self.tile, self.drawn, self.decoded = tile, [], []
        self.allow_drawing, self.allow_decoding = threading.Event(), threading.Event()
        self.allow_drawing.set()
        self.allow_decoding.set()
        avatar = SimpleNamespace(decode=self._decode)
        self.pipeline = Pipeline(avatar, {"A": self._person(1.0), "B": self._person(2.0)}, self._draw, longer=LONGER, parts=PARTS)

    def __enter__(self):
        self.pipeline.start()
        return self

    def __exit__(self, *_):
        self.allow_drawing.set()
        self.allow_decoding.set()
        self.pipeline.stop()

    def client(self, person: str = "A") -> "Viewer":
        return Viewer(self, person)

    @staticmethod
    def _person(value: float):
        neutral = np.zeros(CODE, np.float32)
        neutral[0, 0, 0] = value
        return SimpleNamespace(identity=None, neutral=neutral, index=-1)

    def _decode(self, identity, code, position):
        self.allow_decoding.wait(WAIT)
        self.decoded.append(float(position[0, 0]))
        return {"code": code[0, 0, 0, 0], "x": position[0, 0]}

    def _draw(self, layer, decoded, cameras, height, width, *, identity, background):
        self.allow_drawing.wait(WAIT)
        time.sleep(self.tile)
        self.drawn.append((float(cameras.position[0, 0]), float(decoded["x"])))
        rows = np.arange(height)[:, None] - cameras.principal[0, 1]
        picture = np.zeros((height, width, 3), np.uint8)
        picture[..., 0], picture[..., 1] = cameras.position[0, 0], decoded["code"]
        picture[..., 2] = np.clip(128 + 100 * rows / cameras.focal[0, 1], 0, 255)
        return picture


class Viewer:
    """A client, and the pictures that it was sent."""

    def __init__(self, stage: Stage, person: str):
        self.sent, self.told, self._arrived, self._stage = [], [], threading.Condition(), stage
        self.drawn_before = []  # by picture that was sent: how many tiles had been drawn, of all clients
        self.session = Session(person, self._show, self.told.append)
        stage.pipeline.add(self.session)

    def look(self, x: float) -> None:
        self.change(eye=eyes.Eye(FACING, np.array([x, 0.0, 1000.0]), 1.0, 1.0))

    def change(self, **values) -> None:
        self.session.change(**values)
        self._stage.pipeline.notify()

    def wait(self, true) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: any(map(true, self.sent)), WAIT), "no such picture came"

    def _show(self, sent) -> None:
        with self._arrived:
            self.drawn_before.append(len(self._stage.drawn))
            self.sent.append(sent)
            self._arrived.notify_all()
