"""Which frames, seen by which camera, of which capture: what a user names on the command line, found in the captures."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import ava256 as layout
from ava_jax.captures.ava256 import Capture
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.ava256.apps import driving
from ava_jax.tasks.ava256.data import source


class RenderSelection(NamedTuple):
    """What to render.

    Attributes:
      samples: of the driver, in the order of its frame list.
      person: a sample of the person shown.
      identity, driver: names of the captures.
      camera: the driver's.
    """

    samples: list[Batch]
    person: Batch
    identity: str
    driver: str
    camera: str

    @property
    def name(self) -> str:
        """Of files that show it: subjects and camera."""
        people = dict.fromkeys(capture.rpartition("--")[2] for capture in (self.identity, self.driver))
        return "_by_".join(people) + f"_cam{self.camera}"


def find(
    config: ConfigDict, assets: Assets, identity: str = "", driver: str = "", segment: str = "", camera: str = "", *, most: int = 0
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
    captures = {folder.name: folder for folder in layout.find(config.data.root, config.data.ids)}
    shown = _capture_name("--identity", identity, captures) if identity else next(iter(captures))
    driver_name = _capture_name("--driver", driver, captures) if driver else shown
    capture = layout.load(captures[driver_name], tuple(config.data.cameras))
    frames = _frames(config, capture, segment)
    if camera:
        chosen = pick("--camera", camera, capture.cameras)
    else:
        seen = [name for name in capture.cameras if name in assets.names["cameras"]]
        chosen = front_camera(config, assets, capture, seen or capture.cameras)
    if 0 < most < len(frames):
        frames = frames[np.linspace(0, len(frames) - 1, most).round().astype(int)]
    samples = read(config, assets, capture, [chosen], frames)
    if not samples:
        raise ValueError(f"{capture.decoder}: none of the {len(frames)} frames asked for can be read for camera {chosen}.")
    person = samples[0] if shown == driver_name else any_sample(config, assets, layout.load(captures[shown], tuple(config.data.cameras)))
    return RenderSelection(samples, person, shown, driver_name, chosen)


def read(config: ConfigDict, assets: Assets, capture: Capture, cameras: Sequence[str], frames: np.ndarray) -> list[Batch]:
    """Samples of a capture, camera by camera; those that cannot be read are left out.

    Args:
      cameras: ids of the capture's cameras.
      frames: int [P], positions in its frame list.
    """
    selection = source.Selection(np.array([capture.cameras.index(camera) for camera in cameras]), np.asarray(frames))
    samples = _source(config, assets, capture, selection)
    return [sample for sample in map(samples.__getitem__, range(len(samples))) if sample is not None]


def any_sample(config: ConfigDict, assets: Assets, capture: Capture) -> Batch:
    """The first sample of a capture that can be read.

    Raises:
      ValueError: none can.
    """
    selection = source.Selection(np.arange(len(capture.cameras)), np.arange(len(capture.frames)))
    samples = _source(config, assets, capture, selection)
    for i in range(len(samples)):
        if (sample := samples[i]) is not None:
            return sample
    raise ValueError(f"{capture.decoder}: no sample there can be read.")


def front_camera(config: ConfigDict, assets: Assets, capture: Capture, cameras: Sequence[str]) -> str:
    """Of `cameras`, ids of the capture's, the one most in front of the face.

    Raises:
      ValueError: no camera has an image that can be read.
    """
    # A camera stands still and the head hardly moves: the first image that can be read says where it is.
    place = {}
    for camera in cameras:
        samples = _source(
            config, assets, capture, source.Selection(np.array([capture.cameras.index(camera)]), np.arange(len(capture.frames)))
        )
        first = next((sample for sample in map(samples.__getitem__, range(len(samples))) if sample is not None), None)
        if first is not None:
            place[camera] = float(driving.frontality(first["camera_position"]))
    if not place:
        raise ValueError(f"{capture.decoder}: no camera has an image that can be read.")
    return max(place, key=place.get)


def pick(what: str, name: str, known: Sequence[str]) -> str:
    """`name`, if it is one of `known`.

    Raises:
      ValueError: it is not; the message gives the nearest ones.
    """
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)[:5]
    raise ValueError(f"{what}={name}: there is none of that name; of {len(known)}, the nearest are {', '.join(near)}.")


def _capture_name(what: str, name: str, names: Sequence[str]) -> str:
    """A capture's folder by its own name or its subject's id, the part after the last `--`."""
    by_subject = {folder.rpartition("--")[2]: folder for folder in names}
    if name in names:
        return name
    return by_subject[pick(what, name, list(by_subject))]


def _frames(config: ConfigDict, capture: Capture, segment: str) -> np.ndarray:
    """Positions in the capture's frame list."""
    if segment:
        names = sorted({str(s) for s in capture.segments})
        return np.flatnonzero(capture.segments == pick("--segment", segment, names))
    held_out = source.select(config, source.UNSEEN_FRAMES, capture).frames
    return held_out if len(held_out) else np.arange(len(capture.frames))


def _source(config: ConfigDict, assets: Assets, capture: Capture, selection: source.Selection) -> source.CaptureSource:
    return source.CaptureSource(
        [capture],
        [selection],
        assets,
        downsample=config.data.downsample,
        texture_size=config.model.texture_size,
        segmentation=False,
    )
