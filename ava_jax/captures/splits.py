"""Which people, cameras and frames are trained on, which are held out to be scored, which are predicted."""

import dataclasses
from typing import NamedTuple

import numpy as np

from ava_jax.captures.ava256 import Capture
from ava_jax.captures.split_files import Part

TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS, UNSEEN_PEOPLE = "train", "unseen_frames", "unseen_cameras", "unseen_people"
TEST_FRAMES, TEST_CAMERAS, TEST_PEOPLE = "test_frames", "test_cameras", "test_people"  # never validated on while training
PREDICT = "predict"  # everything, with photographs or without
SELECTED = "selected"  # what a rule of an evaluation selects, trained on or not
SCORED = (UNSEEN_FRAMES, UNSEEN_CAMERAS, UNSEEN_PEOPLE, TEST_FRAMES, TEST_CAMERAS, TEST_PEOPLE)
_OF_PEOPLE = {UNSEEN_PEOPLE: "validation", TEST_PEOPLE: "test"}  # whose people a split is of; the others are of those trained on


class Selection(NamedTuple):
    """Every frame in `frames` seen by every camera in `cameras`, both int64: indices in the capture's lists."""

    cameras: np.ndarray
    frames: np.ndarray

    @property
    def count(self) -> int:
        """Samples: one per frame and camera."""
        return len(self.cameras) * len(self.frames)


_NOTHING = Selection(np.zeros(0, np.int64), np.zeros(0, np.int64))


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What is not trained on.

    Attributes:
      segments: all their frames. A frame is out by its number: listed under another segment too, it is not trained on either.
      last_frames: so many frames at the end of the frame list, likewise.
      frames: numbers of frames, likewise.
      cameras: ids; all their images.
      camera_frames: indices in the frame list, the only ones that held-out cameras are scored on; () = all.
      people: subjects' ids or names of captures, all their samples.
      test: the same of the test, apart from what is validated on.
      only: people that alone are trained on; () = all who are not held out.
      only_frames: numbers of the frames that alone are trained on; () = all that are not held out.
    """

    segments: tuple[str, ...] = ()
    last_frames: int = 0
    cameras: tuple[str, ...] = ()
    camera_frames: tuple[int, ...] = ()
    people: tuple[str, ...] = ()
    test: Part = Part()
    only: tuple[str, ...] = ()
    frames: tuple[int, ...] = ()
    only_frames: tuple[int, ...] = ()

    def part(self, capture: Capture) -> str:
        """The part that a person belongs to: "train", "validation" or "test"; "" is none."""
        names = {capture.name, capture.subject}
        if names & set(self.test.people):
            return "test"
        if names & set(self.people):
            return "validation"
        return "train" if not self.only or names & set(self.only) else ""

    def trains(self, capture: Capture) -> bool:
        """Whether a person is trained on."""
        return self.part(capture) == "train"

    def has(self, capture: Capture, split: str) -> bool:
        """Whether a person's samples belong to a split."""
        return split == PREDICT or self.part(capture) == _OF_PEOPLE.get(split, "train")

    def select(self, capture: Capture, split: str) -> Selection:
        """What a split has of a capture.

        TRAIN; UNSEEN_FRAMES, seen by cameras that are trained on; UNSEEN_CAMERAS, any frame; TEST_FRAMES, TEST_CAMERAS, the same of
        the test; UNSEEN_PEOPLE, TEST_PEOPLE, all frames of people held out, seen by cameras that are trained on; PREDICT, all.
        """
        if split == PREDICT:
            return Selection(np.arange(len(capture.cameras)), np.arange(len(capture.frames)))
        if not self.has(capture, split):
            return _NOTHING
        tested, validated = (np.isin(capture.cameras, list(ids)) for ids in (self.test.cameras, self.cameras))
        every = np.arange(len(capture.frames))
        if split in (UNSEEN_CAMERAS, TEST_CAMERAS):
            frames = every[np.isin(every, self.camera_frames)] if self.camera_frames else every
            return Selection(np.flatnonzero(tested if split == TEST_CAMERAS else validated & ~tested), frames)
        cameras = np.flatnonzero(~(tested | validated))
        if split in _OF_PEOPLE:
            return Selection(cameras, every)
        return Selection(cameras, self._frames(capture, split))

    def _frames(self, capture: Capture, split: str) -> np.ndarray:
        """Indices of the frames that are trained on, validated on or tested on."""
        tested, held = (np.isin(capture.segments, list(segments)) for segments in (self.test.segments, self.segments))
        held[len(held) - min(self.last_frames, len(held)) :] = True
        held |= np.isin(capture.frames, self.frames)
        if split == TEST_FRAMES:
            return np.flatnonzero(tested)
        if split == UNSEEN_FRAMES:
            return np.flatnonzero(held & ~np.isin(capture.frames, capture.frames[tested]))
        trained = ~np.isin(capture.frames, capture.frames[held | tested])
        return np.flatnonzero(trained & np.isin(capture.frames, self.only_frames) if self.only_frames else trained)
