"""Samples of ava-256 captures: which frames and cameras a split has, and reading one.

A sample is one frame seen by one camera (arrays without the batch axis):

  image u8 [H, W, 3]; segmentation u8 [H, W] (evaluation splits only); texture u8 [T, T, 3]; vertices f32 [V, 3], mm, head space;
  neutral_texture, neutral_vertices: the same of the person's neutral frame;
  camera_rotation f32 [3, 3], head to camera; camera_position f32 [3], mm, head space; focal, principal f32 [2], pixels of `image`;
  camera, identity, segment i32 []: positions in assets.names, -1 where not in it; camera_id, frame i32 []: numbers on disk.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from ava_jax.core import cameras
from ava_jax.core.types import Assets, Batch
from ava_jax.data import archive, images, mesh_files
from ava_jax.data.cache import ArrayCache
from ava_jax.tasks.ava256 import capture as disk
from ava_jax.tasks.ava256 import statistics
from ava_jax.tasks.ava256.capture import Capture

TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS = "train", "unseen_frames", "unseen_cameras"

_NEUTRAL_BYTES = 1 << 30  # the neutral textures of 256 people at 1024 x 1024 fit; every sample needs one
_SAMPLE_BYTES = 1 << 29  # small captures are decoded once, and a texture serves all cameras of its frame


class Selection(NamedTuple):
    """What a split takes of a capture: every frame in `frames` seen by every camera in `cameras`, both int64 positions."""

    cameras: np.ndarray
    frames: np.ndarray


class _Missing(Exception):
    """A file that the frame list promises is not in its zip."""


class _Unreadable(Exception):
    """A file is there and cannot be decoded."""


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
    path = pathlib.Path(config.data.topology or pathlib.Path(config.data.root) / disk.TOPOLOGY).expanduser()
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
      ValueError: `split` is not one, or a capture's file is missing or malformed.
    """
    if split not in (TRAIN, UNSEEN_FRAMES, UNSEEN_CAMERAS):
        raise ValueError(f"ava256: split must be {TRAIN}, {UNSEEN_FRAMES} or {UNSEEN_CAMERAS}; got {split!r}.")
    captures = _load(config)
    selections = [select(config, split, c) for c in captures]
    evaluation = split != TRAIN
    for c, selection in zip(captures, selections, strict=True):
        used = [c.cameras[i] for i in selection.cameras]
        archive.check_whole([c.head_pose, c.vertices, c.texture, *map(c.image, used), *(map(c.segmentation, used) if evaluation else ())])
    return CaptureSource(
        captures,
        selections,
        assets,
        downsample=config.data.downsample,
        texture_size=config.model.texture_size,
        segmentation=evaluation,
        max_samples=config.eval.max_samples if evaluation else 0,
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
    return [
        {"identity": name("identities", i), "camera": str(c), "segment": name("segments", s), "frame": f} for i, c, s, f in rows
    ]


class CaptureSource:
    """Random access to the samples of a split; see the module's docstring for what a sample holds.

    An index is worked out by arithmetic (capture, then camera, then frame), as a full data set has 10^8 samples.
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
        max_samples: int,
    ) -> None:
        self._captures, self._selections = captures, selections
        self._downsample = downsample
        self._texture_size = texture_size
        self._segmentation = segmentation
        self._vertices = assets.arrays["vertices_mean"].shape[0]
        self._camera_index = [_positions(c.cameras, assets.names["cameras"]) for c in captures]
        self._segment_index = [_positions(c.segments, assets.names["segments"]) for c in captures]
        self._identity_index = _positions([c.name for c in captures], assets.names["identities"])
        self._starts = np.cumsum([0] + [len(s.cameras) * len(s.frames) for s in selections])
        self._thinned = _thin(int(self._starts[-1]), max_samples)
        self._archives = archive.Archives()
        self._neutrals, self._samples = ArrayCache(_NEUTRAL_BYTES), ArrayCache(_SAMPLE_BYTES)
        self._missing: set[int] = set()
        self._unreadable: set[int] = set()

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._thinned is None else len(self._thinned)

    def __repr__(self) -> str:
        return f"CaptureSource({len(self._captures)} captures, {len(self)} samples)"

    @property
    def counts(self) -> dict[str, int]:
        """Samples listed; and of those asked for so far, how many were missing and how many could not be decoded."""
        return {"listed": len(self), "missing": len(self._missing), "unreadable": len(self._unreadable)}

    def __getitem__(self, index: int) -> Batch | None:
        """A sample, or None, counted, where a file is missing or cannot be decoded."""
        position = int(index if self._thinned is None else self._thinned[index])
        which = int(np.searchsorted(self._starts, position, side="right")) - 1
        selection = self._selections[which]
        camera, frame = divmod(position - int(self._starts[which]), len(selection.frames))
        try:
            return self._read(which, int(selection.cameras[camera]), int(selection.frames[frame]))
        except _Missing:
            self._missing.add(index)
        except _Unreadable as e:
            if index not in self._unreadable:  # once, not every epoch
                logging.warning("Passed over: %s", e)
            self._unreadable.add(index)
        return None

    def _read(self, which: int, camera: int, at: int) -> Batch:
        capture, camera_name = self._captures[which], self._captures[which].cameras[camera]
        frame = int(capture.frames[at])
        size = disk.image_size(self._downsample)
        sample = {"image": self._cached(capture.image(camera_name), frame, lambda data: images.decode(data, size))}
        if self._segmentation:
            sample["segmentation"] = self._cached(capture.segmentation(camera_name), frame, lambda data: images.decode_labels(data, size))
        sample["texture"], sample["vertices"] = self._surface(capture, frame, self._samples)
        neutral = self._neutral_frame(capture)
        sample["neutral_texture"], sample["neutral_vertices"] = self._surface(capture, neutral, self._neutrals)
        pose = self._decoded(capture.head_pose, frame, _parse_pose)
        rotation, position = cameras.head_to_camera(capture.rotation[camera], capture.translation[camera], pose)
        return sample | {
            "camera_rotation": rotation.astype(np.float32),
            "camera_position": position.astype(np.float32),
            "focal": (capture.focal[camera] / self._downsample).astype(np.float32),
            "principal": (capture.principal[camera] / self._downsample).astype(np.float32),
            "camera": self._camera_index[which][camera],
            "identity": self._identity_index[which],
            "segment": self._segment_index[which][at],
            "camera_id": np.int32(camera_name),
            "frame": np.int32(frame),
        }

    def _surface(self, capture: Capture, frame: int, cache: ArrayCache) -> tuple[np.ndarray, np.ndarray]:
        """Texture and vertices of a frame."""
        size = (self._texture_size, self._texture_size)
        texture = cache.get((capture.texture, frame), lambda: self._decoded(capture.texture, frame, lambda b: images.decode(b, size)))
        vertices = cache.get((capture.vertices, frame), lambda: self._decoded(capture.vertices, frame, mesh_files.read_vertices))
        if len(vertices) != self._vertices:
            raise ValueError(f"{capture.vertices}, frame {frame}: must have {self._vertices} vertices, as the assets; got {len(vertices)}.")
        return texture, vertices

    def _neutral_frame(self, capture: Capture) -> int:
        """The first frame of the neutral segment that has both vertices and texture."""
        for frame in capture.frames[capture.segments == disk.NEUTRAL]:
            if self._archives.has(capture.vertices, frame) and self._archives.has(capture.texture, frame):
                return int(frame)
        raise ValueError(f"{capture.decoder}: no frame of {disk.NEUTRAL} has both vertices and texture, so there is no neutral face.")

    def _cached(self, path: pathlib.Path, frame: int, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
        return self._samples.get((path, frame), lambda: self._decoded(path, frame, decode))

    def _decoded(self, path: pathlib.Path, frame: int, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
        if not self._archives.has(path, frame):
            raise _Missing
        try:
            return decode(self._archives.read(path, frame))
        except ValueError as e:
            raise _Unreadable(f"{path}, frame {frame}: {e}") from e


def _load(config: ConfigDict) -> list[Capture]:
    return [disk.load(folder, tuple(config.data.cameras)) for folder in disk.find(config.data.root, config.data.ids)]


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


def _parse_pose(data: bytes) -> np.ndarray:
    """Head to world, f64 [3, 4], mm."""
    return np.array(data.split(), np.float64).reshape(3, 4)
