"""Which frames and cameras of a multiface capture are trained on and which held out: by beginnings of segments, and a list of cameras."""

import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.multiface import layout
from ava_jax.captures.multiface.recording import Recording
from ava_jax.core import names as naming
from ava_jax.data import text_files
from ava_jax.tasks.base import PREDICT, TRAIN

UNSEEN_SEGMENTS, UNSEEN_CAMERAS = "unseen_segments", "unseen_cameras"
SPLITS = (TRAIN, UNSEEN_SEGMENTS, UNSEEN_CAMERAS, PREDICT)
_FORM = '{"full": {"train": ["400029", ...], "test": [...], "visual": [...]}}'


class Part(NamedTuple):
    """Every frame of `frames` seen by every camera of `cameras`: indices in the frame list and in KRT, int64."""

    frames: np.ndarray
    cameras: np.ndarray

    @property
    def count(self) -> int:
        """Samples."""
        return len(self.frames) * len(self.cameras)


def read_cameras(path: pathlib.Path) -> dict[str, list[str]]:
    """The published list of cameras, by use: "train", "test", "visual".

    Raises:
      ValueError: it cannot be read, or has another form.
    """
    tree = text_files.read_json(path)
    full = tree.get("full") if isinstance(tree, Mapping) else None
    if not isinstance(full, Mapping) or not isinstance(full.get("train"), list) or not isinstance(full.get("test"), list):
        raise ValueError(f"{path}: must be {_FORM}.")
    return {use: [str(name) for name in listed] for use, listed in full.items() if isinstance(listed, list)}


def test_segments(path: pathlib.Path) -> tuple[str, ...]:
    """The published list of test segments, JSON {"segment": [beginnings of names]}.

    Raises:
      ValueError: it cannot be read, or has another form.
    """
    tree = text_files.read_json(path)
    listed = tree.get("segment") if isinstance(tree, Mapping) else None
    if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
        raise ValueError(f'{path}: must be {{"segment": ["EXP_ROM", ...]}}, beginnings of segments\' names.')
    return tuple(listed)


def held_out(found: Recording, config: ConfigDict) -> np.ndarray:
    """Whether each frame of the list is of a segment that is held out, bool [N]."""
    beginnings = tuple(config.data.held_out.segments)
    return np.array([segment.startswith(beginnings) for segment in found.segments.tolist()], bool)


def check(found: Recording, config: ConfigDict) -> None:
    """Whether the capture has what the config lists, and something is left to train on.

    Raises:
      ValueError: it has not; the message names the nearest that it has.
    """
    known = [camera.name for camera in found.cameras]
    naming.require("config.data.cameras", config.data.get("cameras", ()), known, "capture")
    there = set(found.frames.tolist())
    if missing := [number for number in config.data.get("frames", ()) if number not in there]:
        raise ValueError(f"config.data.frames: {found.folder / layout.FRAME_LIST} has no frame {missing[0]}.")
    if not select(found, config, TRAIN).count:
        raise ValueError(
            f"{found.folder}: config.data.held_out.segments, {', '.join(config.data.held_out.segments)}, leaves none of its "
            f"{len(found.frames)} frames to train on; its segments are {', '.join(sorted(set(found.segments.tolist()))[:12])}."
        )


def select(found: Recording, config: ConfigDict, split: str) -> Part:
    """What a split has.

    Raises:
      ValueError: the list of cameras cannot be read, or names one that KRT lacks.
    """
    known = [camera.name for camera in found.cameras]
    only = set(config.data.get("cameras", ())) or set(known)
    listed = {"train": known, "test": known}
    if config.data.get("split", ""):
        path = pathlib.Path(config.data.split).expanduser()
        listed = read_cameras(path)
        for use in ("train", "test"):
            naming.require(f"{path}: {use}", listed[use], known, "KRT")
    there = found.cameras_in(layout.TEXTURES) or set(known)  # without --cameras, a capture fetched in part has what it has
    uses = {use: {name for name in names if name in only and name in there} for use, names in listed.items()}
    held = held_out(found, config)
    frames = np.isin(found.frames, config.data.frames) if config.data.get("frames", ()) else np.ones(len(held), bool)
    chosen = {TRAIN: uses["train"], UNSEEN_SEGMENTS: uses["test"], UNSEEN_CAMERAS: uses["test"] - uses["train"], PREDICT: only}[split]
    if split != PREDICT:
        frames &= held if split == UNSEEN_SEGMENTS else ~held
    return Part(np.flatnonzero(frames), np.flatnonzero([name in chosen for name in known]))
