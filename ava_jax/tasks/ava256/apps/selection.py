"""Which frames, seen by which camera, of which capture: what a user names on the command line, found in the captures."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import camera_table
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.front import front_camera
from ava_jax.captures.splits import UNSEEN_FRAMES, Selection
from ava_jax.core.names import pick
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.data import rules, source


class RenderSelection(NamedTuple):
    """What to render.

    Attributes:
      samples: of the driver, in the order of its frame list.
      person: a sample of the person shown.
      identity, driver: names of the captures.
      camera: the driver's.
      people: the two as files are named by: subjects of the run, whole names where a subject does not tell who it is.
    """

    samples: list[Batch]
    person: Batch
    identity: str
    driver: str
    camera: str
    people: str

    @property
    def name(self) -> str:
        """Of files that show it: people, as in "A_by_B" where B drives A, and camera."""
        return f"{self.people}_cam{self.camera}"


def find(
    captures: CaptureSet,
    config: ConfigDict,
    assets: Assets,
    identity: str = "",
    driver: str = "",
    segment: str = "",
    camera: str = "",
    *,
    most: int = 0,
) -> RenderSelection:
    """Reads what the names say; each may be left empty.

    Args:
      identity: who is shown, a capture's folder or a subject's id; "" = the first capture.
      driver: whose expressions; "" = the same person's.
      segment: which of the driver's frames; "" = those held out from training, else all.
      camera: which of the driver's; "" = of those seen in training, the one most in front of the face.
      most: frames at most, evenly spaced; 0 = all.

    Raises:
      ValueError: a name is not there, with those nearest to it; or no frame can be read.
    """
    shown = captures.find("--identity", identity) if identity else captures.captures[0]
    capture = captures.find("--driver", driver) if driver else shown
    frames = _frames(config, capture, segment)
    if camera:
        chosen = pick("--camera", camera, capture.cameras)
    else:
        seen = camera_table.known(capture, assets.names["cameras"])
        chosen = front_camera(captures.archives, capture, seen or capture.cameras)
    frames = frames[thin(len(frames), most)]
    samples = read(captures, config, assets, capture, [chosen], frames)
    if not samples:
        raise ValueError(f"{capture.decoder}: none of the {len(frames)} frames asked for can be read for camera {chosen}.")
    person = samples[0] if shown is capture else any_sample(captures, config, assets, shown)
    known = assets.names["identities"]
    people = "_by_".join(_file_name(name, known, captures.people) for name in dict.fromkeys((shown.name, capture.name)))
    return RenderSelection(samples, person, shown.name, capture.name, chosen, people)


def _file_name(name: str, known: Sequence[str], at_hand: Sequence[str]) -> str:
    """The subject of one of the run's people; the whole name of a stranger, or where the subject has several captures."""
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


def any_sample(captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture) -> Batch:
    """The first sample of one of the captures that can be read.

    Raises:
      ValueError: none can.
    """
    selection = Selection(np.arange(len(capture.cameras)), np.arange(len(capture.frames)))
    for sample in _samples(captures, config, assets, capture, selection):
        if sample is not None:
            return sample
    raise ValueError(f"{capture.decoder}: no sample there can be read.")


def _frames(config: ConfigDict, capture: Capture, segment: str) -> np.ndarray:
    """Indices in the capture's frame list."""
    if segment:
        names = sorted({str(s) for s in capture.segments})
        return np.flatnonzero(capture.segments == pick("--segment", segment, names))
    held_out = rules.held_out(config).select(capture, UNSEEN_FRAMES).frames
    return held_out if len(held_out) else np.arange(len(capture.frames))


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
    )
    return map(samples.__getitem__, range(len(samples)))
