"""Recorded expressions to play: of captures at hand, encoded while they are played, or of a file of codes."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.data.codes_file import Codes

NO_NAME = "(no name)"  # of a capture or segment that a file of codes does not name


class Clip:
    """Expression codes of a segment's frames; those of a capture come one after the other.

    Attributes:
      count: frames that there are in all.
    """

    def __init__(self, count: int, codes: np.ndarray | None = None):
        """Of so many frames; `codes` [count, 4, 4, 16] where they are known."""
        self.count = count
        self._codes = np.zeros((count, *codes_file.CODE), np.float32) if codes is None else codes
        self._ready = 0 if codes is None else count
        self.loading = threading.Lock()  # held by the one that encodes

    @property
    def ready(self) -> int:
        """So many frames are there, from the first on."""
        return self._ready

    def add(self, code: np.ndarray) -> None:
        """The next frame's code, f32 [4, 4, 16]."""
        self._codes[self._ready] = code
        self._ready += 1

    def cut(self) -> None:
        """One frame cannot be read, and is left out."""
        self.count -= 1

    def at(self, position: float) -> np.ndarray:
        """The code f32 [4, 4, 16] at a frame, linear between two; of the last that is ready, where it is not."""
        position = min(max(position, 0.0), max(self._ready - 1, 0))
        first = int(position)
        second, weight = min(first + 1, max(self._ready - 1, 0)), np.float32(position - first)
        return (1 - weight) * self._codes[first] + weight * self._codes[second]


class Recordings:
    """What can be played: segments by driver."""

    def __init__(self, avatar: Avatar, captures: CaptureSet | None, config: ConfigDict, assets: Assets, codes: Codes | None = None):
        """Reads nothing yet.

        Args:
          captures: those at hand; None: none.
          config, assets: the run's.
          codes: of a file, whose segments come before those of captures.
        """
        self._avatar, self._captures, self._codes = avatar, captures, codes
        self.captures: tuple[str, ...] = () if captures is None else captures.people
        self._texture_size, self._vertices = config.model.texture_size, len(assets.arrays["vertices_mean"])
        self._clips: dict[tuple[str, str], Clip] = {}
        self.segments: dict[str, tuple[str, ...]] = {} if codes is None else _segments_of(codes)
        for capture in captures or ():
            self.segments[capture.name] = tuple(dict.fromkeys((*self.segments.get(capture.name, ()), *map(str, capture.segments))))

    @property
    def drivers(self) -> tuple[str, ...]:
        """Whose expressions there are."""
        return tuple(self.segments)

    def neutral(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The neutral face of one of `captures`: texture u8 [1, T, T, 3] and vertices f32 [1, V, 3], mm.

        Raises:
          ValueError: it cannot be read.
        """
        texture, vertices = next(self._surfaces(self._of(name), []))
        return texture[None], vertices[None]

    def clip(self, driver: str, segment: str) -> Clip:
        """A segment's codes; `load` fills those of a capture."""
        key = (driver, segment)
        if key not in self._clips:
            rows = None if self._codes is None else _rows(self._codes, driver, segment)
            if rows is not None and len(rows):
                self._clips[key] = Clip(len(rows), self._codes.codes[rows])
            else:
                self._clips[key] = Clip(int(np.count_nonzero(self._of(driver).segments == segment)))
        return self._clips[key]

    def load(self, driver: str, segment: str, *, going_on: Callable[[], bool]) -> None:
        """Encodes what is missing of a segment.

        Several may call it at once: one encodes, the others wait for it.

        Args:
          going_on: called after each frame, and while another encodes; False stops, and the next call goes on from there.

        Raises:
          ValueError: a zip is missing or not whole, or the neutral frame cannot be read.
        """
        clip = self.clip(driver, segment)
        while clip.ready < clip.count and going_on():
            if not clip.loading.acquire(timeout=0.1):
                continue
            try:
                self._fill(clip, driver, segment, going_on)
            finally:
                clip.loading.release()

    def _fill(self, clip: Clip, driver: str, segment: str, going_on: Callable[[], bool]) -> None:
        capture = self._of(driver)
        frames = capture.frames[capture.segments == segment]
        read = clip.ready + len(frames) - clip.count  # those that could not be are no longer counted
        for code in self.encode(capture, frames[read:]):
            clip.cut() if code is None else clip.add(code)
            if not going_on():
                return

    def sample(self, most: int) -> Sequence[tuple[Capture, np.ndarray]]:
        """At most about so many frames of all captures, evenly spaced: each capture with its frames' ids, int32 [P]."""
        captures = list(self._captures or ())
        return [(c, c.frames[thin(len(c.frames), -(-most // len(captures)))]) for c in captures]

    def encode(self, capture: Capture, frames: Sequence[int] | np.ndarray) -> Iterator[np.ndarray | None]:
        """Codes f32 [4, 4, 16] of frames, by id; None for one that cannot be read.

        Raises:
          ValueError: the neutral frame cannot be read.
        """
        faces = self._surfaces(capture, frames)
        texture, vertices = next(faces)
        owner = (texture[None], vertices[None])
        for face in faces:
            if face is None:
                yield None
                continue
            yield np.asarray(self._avatar.encode(face[0][None], face[1][None], *owner))[0]

    def _surfaces(self, capture: Capture, frames: Sequence[int] | np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray] | None]:
        """Texture and vertices of the neutral frame, then of the frames; None for one that cannot be read."""
        archives = self._captures.archives
        sizes = {"downsample": 1, "texture_size": self._texture_size, "vertices": self._vertices}
        reader = reading.Reader(archives, **sizes, segmentation=False, image=False, frames_kept=0)
        try:
            yield reader.surface(capture, reading.neutral_frame(archives, capture))
        except reading.Unreadable as e:
            raise ValueError(str(e)) from e
        for frame in frames:
            try:
                yield reader.surface(capture, int(frame))
            except reading.Unreadable:
                yield None  # counted by the caller: the clip is shorter

    def _of(self, name: str) -> Capture:
        return self._captures.by_name[name]


def _segments_of(codes: Codes) -> dict[str, tuple[str, ...]]:
    found: Mapping[str, dict[str, None]] = {}
    for capture, segment in zip(codes.capture.tolist(), codes.segment.tolist(), strict=True):
        found.setdefault(capture or NO_NAME, {})[segment or NO_NAME] = None
    return {capture: tuple(segments) for capture, segments in found.items()}


def _rows(codes: Codes, driver: str, segment: str) -> np.ndarray:
    named = [np.where(names == "", NO_NAME, names) for names in (codes.capture, codes.segment)]
    return np.flatnonzero((named[0] == driver) & (named[1] == segment))
