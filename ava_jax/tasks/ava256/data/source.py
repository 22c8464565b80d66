"""Samples of ava-256 captures: which frames and cameras a split has, and reading one.

A sample is one frame seen by one camera (arrays without the batch axis):

  image u8 [H, W, 3]; segmentation u8 [H, W] (evaluation splits only); texture u8 [T, T, 3]; vertices f32 [V, 3], mm, head space;
  neutral_texture, neutral_vertices: the same of the person's neutral frame;
  camera_rotation f32 [3, 3], head to camera; camera_position f32 [3], mm, head space; focal, principal f32 [2], pixels of `image`;
  camera, identity, segment i32 []: positions in assets.names, -1 where not in it; camera_id, frame i32 []: numbers on disk.
"""

import pathlib
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from ava_jax.captures import ava256 as layout
from ava_jax.captures import reading, statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.core.sampling import UnreadableData
from ava_jax.core.types import Assets, Batch
from ava_jax.data import archive, mesh_files, order, zip_index

TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS = "train", "unseen_frames", "unseen_cameras"


class Selection(NamedTuple):
    """What a split takes of a capture: every frame in `frames` seen by every camera in `cameras`, both int64 positions."""

    cameras: np.ndarray
    frames: np.ndarray


def prepare(config: ConfigDict) -> Assets:
    """Statistics, topology and names of the captures to train on.

    Raises:
      ValueError: captures, calibration, frame lists, statistics or topology are missing, malformed or do not fit together.
    """
    captures = _load(config)
    held_out = set(config.data.held_out.cameras)
    known = {camera for c in captures for camera in c.cameras}
    if absent := held_out - known:
        raise ValueError(f"config.data.held_out.cameras: no capture has {', '.join(sorted(absent))}; they have {', '.join(sorted(known))}.")
    combined = statistics.combine(captures, config.model.texture_size)
    path = pathlib.Path(config.data.topology or pathlib.Path(config.data.root) / layout.TOPOLOGY).expanduser()
    topology = mesh_files.read_topology(path, len(combined.vertices_mean))
    arrays = {**combined._asdict(), "faces": topology.faces, "face_uvs": topology.face_uvs, "uvs": topology.uvs}
    names = {
        "cameras": sorted(known - held_out),
        "identities": sorted(c.name for c in captures),
        "segments": sorted({str(segment) for c in captures for segment in c.segments}),
    }
    return Assets(arrays=arrays, names=names)


def source(config: ConfigDict, split: str, assets: Assets) -> "CaptureSource":
    """Samples of a split.

    Raises:
      ValueError: `split` is not one, or a capture's file is missing or malformed, or does not match the others.
    """
    if split not in (TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS):
        raise ValueError(f"ava256: split must be {TRAIN}, {UNSEEN_FRAMES} or {UNSEEN_CAMERAS}; got {split!r}.")
    captures = _load(config)
    threads = max(config.data.read_threads, 1)  # may be as many samples apart
    options: dict[str, Any] = {"segmentation": True, "max_samples": config.eval.max_samples, "frames_kept": threads}
    if split == TRAIN:
        shuffle = config.data.shuffle
        kept = order.groups_held(shuffle.cameras_per_visit, shuffle.window) + threads
        options = {"segmentation": False, "frames_kept": kept, "max_unreadable": config.data.max_unreadable}
    return CaptureSource(
        captures,
        [select(config, split, c) for c in captures],
        assets,
        downsample=config.data.downsample,
        texture_size=config.model.texture_size,
        threads=threads,
        index_folder=zip_index.default_folder(),
        **options,
    )


def eval_splits(config: ConfigDict) -> tuple[str, ...]:
    """The splits beside "train" in which the config leaves any sample."""

    def has_samples(split: str) -> bool:
        return any(len(s.cameras) and len(s.frames) for s in (select(config, split, c) for c in captures))

    captures = _load(config)
    return tuple(split for split in (UNSEEN_FRAMES, UNSEEN_CAMERAS) if has_samples(split))


def select(config: ConfigDict, split: str, capture: Capture) -> Selection:
    """Cameras and frames of a capture that belong to a split; see `source` and the config's `held_out`."""
    rule = config.data.held_out
    held_camera = np.isin(capture.cameras, list(rule.cameras))
    held_frame = np.isin(capture.segments, list(rule.segments))
    held_frame[len(held_frame) - min(rule.last_frames, len(held_frame)) :] = True
    if split == UNSEEN_CAMERAS:
        chosen = np.arange(len(held_frame))
        if positions := list(config.eval.unseen_camera_frames):
            chosen = chosen[np.isin(chosen, positions)]
        return Selection(np.flatnonzero(held_camera), chosen)
    return Selection(np.flatnonzero(~held_camera), np.flatnonzero(held_frame if split == UNSEEN_FRAMES else ~held_frame))


def describe(batch: Batch, assets: Assets) -> list[dict[str, Any]]:
    """Identity, camera, segment and frame of each sample of a batch; "unknown" for what the assets do not name."""

    def name(kind: str, index: int) -> str:
        return assets.names[kind][index] if index >= 0 else "unknown"

    keys = ("identity", "camera_id", "segment", "frame")
    rows = zip(*(np.asarray(batch[key]).tolist() for key in keys), strict=True)
    return [{"identity": name("identities", i), "camera": str(c), "segment": name("segments", s), "frame": f} for i, c, s, f in rows]


class CaptureSource:
    """Random access to the samples of a split; see the module's docstring for what a sample holds.

    An index is worked out by arithmetic (capture, then frame, then camera), as a full data set has 10^8 samples; whether its files are
    there is a bit in memory.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        selections: Sequence[Selection],
        assets: Assets,
        *,
        downsample: int,
        texture_size: int,
        segmentation: bool,
        max_samples: int = 0,
        frames_kept: int = 1,
        threads: int = 1,
        max_unreadable: float = 1.0,
        index_folder: pathlib.Path | None = None,
    ) -> None:
        """Looks up what there is.

        Args:
          captures, selections: one selection a capture.
          segmentation: whether samples have one.
          max_samples: thins the split evenly to as many; 0 = all.
          frames_kept: frames to hold decoded.
          threads: that read zips' directories.
          max_unreadable: share of the samples read, above which `UnreadableData` is raised.
          index_folder: where the zips' indexes are kept from run to run; None: nowhere.

        Raises:
          ValueError: a zip is missing or damaged, or does not match its frame list.
        """
        archives = archive.Archives(index_folder)
        vertices = assets.arrays["vertices_mean"].shape[0]
        self._captures, self._selections = captures, selections
        self._reader = reading.Reader(
            archives,
            downsample=downsample,
            texture_size=texture_size,
            vertices=vertices,
            segmentation=segmentation,
            frames_kept=frames_kept,
        )
        self._camera_index = [_positions(c.cameras, assets.names["cameras"]) for c in captures]
        self._segment_index = [_positions(c.segments, assets.names["segments"]) for c in captures]
        self._identity_index = _positions([c.name for c in captures], assets.names["identities"])
        self._starts = np.cumsum([0] + [len(s.cameras) * len(s.frames) for s in selections])
        self._thinned = _thin(int(self._starts[-1]), max_samples)
        self._there: list[np.ndarray] = []  # a bit a sample of each capture, packed
        self._neutral: list[int] = []
        for c, selection in zip(captures, selections, strict=True):
            found = reading.presence(archives, c, selection.cameras, segmentation=segmentation, threads=threads)
            self._there.append(np.packbits(found.views[np.ix_(selection.cameras, selection.frames)].T))
            self._neutral.append(found.neutral)
        self._missing = self._count_missing()
        self._faults = _Faults(max_unreadable)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._thinned is None else len(self._thinned)

    def __repr__(self) -> str:
        return f"CaptureSource({len(self._captures)} captures, {len(self)} samples)"

    @property
    def groups(self) -> list[tuple[int, int]]:
        """All views of a frame are a group (`core.sampling.Grouped`); a thinned split has none."""
        if self._thinned is not None:
            return [(len(self), 1)]
        return [(len(s.frames), len(s.cameras)) for s in self._selections]

    @property
    def counts(self) -> dict[str, int]:
        """Samples listed; how many of them have a file missing; and how many of those read so far could not be decoded."""
        return {"listed": len(self), "missing": self._missing, "unreadable": len(self._faults.samples)}

    def __getitem__(self, index: int) -> Batch | None:
        """A sample, or None where a file is missing or, counted, cannot be decoded.

        Raises:
          UnreadableData: a larger share of the samples read than allowed cannot be decoded.
        """
        position = int(index if self._thinned is None else self._thinned[index])
        if not self._is_there(position):
            return None
        which, frame, camera = self._locate(position)
        capture = self._captures[which]
        try:
            sample = self._reader.read(capture, camera, int(capture.frames[frame]), self._neutral[which])
        except reading.Unreadable as e:
            self._faults.add(index, str(e))
            return None
        self._faults.add(index, "")
        return sample | {
            "camera": self._camera_index[which][camera],
            "identity": self._identity_index[which],
            "segment": self._segment_index[which][frame],
            "camera_id": np.int32(capture.cameras[camera]),
            "frame": np.int32(capture.frames[frame]),
        }

    def _locate(self, position: int) -> tuple[int, int, int]:
        """Capture, position in its frame list, position in its cameras."""
        which = int(np.searchsorted(self._starts, position, side="right")) - 1
        selection = self._selections[which]
        frame, camera = divmod(position - int(self._starts[which]), len(selection.cameras))
        return which, int(selection.frames[frame]), int(selection.cameras[camera])

    def _is_there(self, position: int) -> bool:
        which = int(np.searchsorted(self._starts, position, side="right")) - 1
        byte, bit = divmod(position - int(self._starts[which]), 8)
        return bool(self._there[which][byte] & (128 >> bit))

    def _count_missing(self) -> int:
        if self._thinned is not None:
            return sum(not self._is_there(int(position)) for position in self._thinned)
        return int(self._starts[-1]) - sum(int(np.bitwise_count(bits).sum(dtype=np.int64)) for bits in self._there)


class _Faults:
    """Counts what cannot be decoded, names each once, and gives up when it is too much."""

    _ENOUGH = 200  # samples read before a share means anything

    def __init__(self, most: float) -> None:
        self.samples: set[int] = set()
        self._most = most
        self._read = self._failed = 0
        self._first: list[str] = []
        self._lock = threading.Lock()

    def add(self, index: int, fault: str) -> None:
        """Counts a sample that was read; `fault` is "" for one that could be decoded."""
        with self._lock:
            self._read += 1
            if not fault:
                return
            self._failed += 1
            if index not in self.samples:  # once, not every epoch
                self.samples.add(index)
                self._first = (self._first + [fault])[:3]
                logging.warning("Passed over: %s", fault)
            if self._read >= self._ENOUGH and self._failed > self._most * self._read:
                raise UnreadableData(
                    f"data: {self._failed} of the {self._read} samples read cannot be decoded, more than the share of {self._most:g} that "
                    f"config.data.max_unreadable allows; the first: {'; '.join(self._first)}."
                )


def _load(config: ConfigDict) -> list[Capture]:
    return [layout.load(folder, tuple(config.data.cameras)) for folder in layout.find(config.data.root, config.data.ids)]


def _positions(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """int32: where each name stands in `known`, -1 where it does not."""
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(str(name), -1) for name in names], np.int32)


def _thin(count: int, most: int) -> np.ndarray | None:
    """One index from each of `most` equal stretches of `count`; None for all.

    Where in its stretch varies (always alike): a stretch as long as a frame list would pick the same frame of every camera.
    """
    if not 0 < most < count:
        return None
    return ((np.arange(most) + np.random.default_rng(0).random(most)) * (count / most)).astype(np.int64)
