"""Which frames, seen by which camera, of which capture: what a user names on the command line, found in the captures."""

from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import camera_table, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.front import front_camera
from ava_jax.captures.splits import UNSEEN_FRAMES, Selection
from ava_jax.core.names import pick
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.data import rules, source


def camera(captures: CaptureSet, assets: Assets, capture: Capture, name: str = "") -> str:
    """Id of one of a capture's cameras; "" is, of those seen in training, the one most in front of the face.

    Raises:
      ValueError: there is none of that name, with those nearest to it.
    """
    if name:
        return pick("--camera", name, capture.cameras)
    seen = camera_table.known(capture, assets.names["cameras"])
    return front_camera(captures.archives, capture, seen or capture.cameras)


def frames(config: ConfigDict, capture: Capture, segment: str = "") -> np.ndarray:
    """Indices in a capture's frame list, int64 [F]: of a segment; "" is those held out from training, else all.

    Raises:
      ValueError: there is no such segment, with those nearest to it.
    """
    if segment:
        names = sorted({str(s) for s in capture.segments})
        return np.flatnonzero(capture.segments == pick("--segment", segment, names))
    held_out = rules.held_out(config).select(capture, UNSEEN_FRAMES).frames
    return held_out if len(held_out) else np.arange(len(capture.frames))


def photographed(captures: CaptureSet, capture: Capture, camera: str, frames: np.ndarray) -> np.ndarray:
    """Those of some frames of a capture, indices int64 [F] in its frame list, that a camera has an image of.

    Raises:
      ValueError: none is.
    """
    there = reading.availability(captures.archives, capture, [capture.cameras.index(camera)], segmentation=False, threads=2)[0]
    if not there[frames].any():
        raise ValueError(f"{capture.decoder}: camera {camera} has an image of none of the {len(frames)} frames asked for.")
    return frames[there[frames]]


def file_name(name: str, known: Sequence[str], at_hand: Sequence[str]) -> str:
    """A person in a file's name: the subject of one of the run's people; of a stranger, or one with several captures, all."""
    subjects = [one.rpartition("--")[2] for one in {*known, *at_hand}]
    subject = name.rpartition("--")[2]
    return subject if name in known and subjects.count(subject) == 1 else name


def read(
    captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture, cameras: Sequence[str], frames: np.ndarray
) -> list[Batch]:
    """Samples of one of the captures, frame by frame; those that cannot be read are left out.

    Args:
      cameras: ids of the capture's cameras.
      frames: int [P], indices in its frame list.
    """
    selection = Selection(np.array([capture.cameras.index(camera) for camera in cameras]), np.asarray(frames))
    return [sample for sample in _samples(captures, config, assets, capture, selection) if sample is not None]


def _samples(captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture, selection: Selection) -> Iterator[Batch | None]:
    samples = source.CaptureSource(
        captures.archives,
        [capture],
        [selection],
        assets,
        at_hand=captures,
        downsample=config.data.downsample,
        texture_size=config.model.texture_size,
        segmentation=False,
        fill_unseen=config.data.get("fill_unseen", True),
    )
    return map(samples.__getitem__, range(len(samples)))
