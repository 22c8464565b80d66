"""Which cameras and frames of a capture are trained on, which are held out to be scored, which are predicted."""

import dataclasses
from typing import NamedTuple

import numpy as np

from ava_jax.captures.ava256 import Capture

TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS = "train", "unseen_frames", "unseen_cameras"
PREDICT = "predict"  # everything, with photographs or without


class Selection(NamedTuple):
    """Every frame in `frames` seen by every camera in `cameras`, both int64: indices in the capture's lists."""

    cameras: np.ndarray
    frames: np.ndarray

    @property
    def count(self) -> int:
        """Samples: one per frame and camera."""
        return len(self.cameras) * len(self.frames)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What is not trained on, of every capture.

    Attributes:
      segments: all their frames. A frame is out by its number: listed under another segment too, it is not trained on either.
      last_frames: so many frames at the end of the frame list, likewise.
      cameras: ids; all their images.
      camera_frames: indices in the frame list, the only ones that held-out cameras are scored on; () = all.
    """

    segments: tuple[str, ...] = ()
    last_frames: int = 0
    cameras: tuple[str, ...] = ()
    camera_frames: tuple[int, ...] = ()

    def select(self, capture: Capture, split: str) -> Selection:
        """What a split has of a capture: TRAIN, UNSEEN_FRAMES (seen by cameras that are trained on), UNSEEN_CAMERAS (any frame) or all."""
        if split == PREDICT:
            return Selection(np.arange(len(capture.cameras)), np.arange(len(capture.frames)))
        held_camera = np.isin(capture.cameras, list(self.cameras))
        held_frame = np.isin(capture.segments, list(self.segments))
        held_frame[len(held_frame) - min(self.last_frames, len(held_frame)) :] = True
        if split == UNSEEN_CAMERAS:
            frames = np.arange(len(held_frame))
            return Selection(np.flatnonzero(held_camera), frames[np.isin(frames, self.camera_frames)] if self.camera_frames else frames)
        if split == TRAIN:
            frames = np.flatnonzero(~np.isin(capture.frames, capture.frames[held_frame]))
        else:
            frames = np.flatnonzero(held_frame)
        return Selection(np.flatnonzero(~held_camera), frames)
