"""Samples of ava-256 captures: which frames and cameras a split has, and reading one.

A sample is one frame seen by one camera (arrays without the batch axis):

  image u8 [H, W, 3] (not of PREDICT); segmentation u8 [H, W] (of splits that are scored);
  texture u8 [T, T, 3]; vertices f32 [V, 3], mm, head space; neutral_texture, neutral_vertices: the same of the person's neutral frame;
  camera_rotation f32 [3, 3], head to camera; camera_position f32 [3], mm, head space; focal, principal f32 [2], pixels of `image`;
  camera, identity, segment i32 []: indices in assets.names; camera_id, frame i32 []: numbers on disk.

What the assets do not name has an index below 0: a camera -1, an identity or a segment -1 - i, the i-th of the captures at hand, so that
people whom training never saw stay who they are.

Everything here takes the captures as `load_captures` parsed them, and parses no file of theirs again.
"""

import bisect
import copy
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import camera_table, capture_set, chart, kept_statistics, reading, statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import PREDICT, TRAIN, Selection
from ava_jax.core import names as naming
from ava_jax.core.binding import listed
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.data import mesh_files, order, zip_index
from ava_jax.data.archive import Archives
from ava_jax.data.faults import Faults, FaultySource
from ava_jax.data.remote import location
from ava_jax.data.remote.location import RemotePath
from ava_jax.tasks.ava256.data import absent, rules

# The config's lists, with the kind of their elements.
LISTS = {
    "data.cameras": str,
    "data.people": str,
    "data.frames": int,
    "data.held_out.segments": str,
    "data.held_out.cameras": str,
    "data.held_out.frames": int,
    "eval.unseen_camera_frames": int,
}

_MOST_ID = 2**31 - 1  # ids are int32 in batches


def load_captures(config: ConfigDict) -> CaptureSet:
    """Parses the captures that a config names.

    Raises:
      ValueError: there are none, or a calibration or frame list is missing or malformed.
    """
    data = config.data
    folder = zip_index.default_folder()
    return capture_set.load(root(config), data.ids, cameras=data.cameras, topology=data.topology, index_folder=folder)


def root(config: ConfigDict) -> pathlib.Path | RemotePath:
    """The folder of captures that a config names, here or on a server.

    Raises:
      ValueError: it names none, or nothing installed reads such a URL.
    """
    data = config.data
    if not data.root:
        raise ValueError("config.data.root must name the folder of captures; it is empty (--config.data.root=FOLDER).")
    cached = data.get("remote_cache_gib", location.CACHE_GIB)  # runs of older versions have neither
    return location.at(data.root, cache_gib=cached, retry_seconds=data.get("remote_retry_s", location.RETRY_SECONDS))


def prepare(captures: CaptureSet, config: ConfigDict) -> Assets:
    """Statistics, topology and names of the captures to train on.

    Raises:
      ValueError: statistics or topology are missing, malformed or do not fit together, or a camera to be held out is in no capture.
    """
    names = names_of(captures, config)
    used = rules.trained(captures, config)
    combined = statistics.combine(used.captures, config.model.texture_size, folder=kept_statistics.default_folder())
    topology = mesh_files.read_topology(captures.topology, len(combined.vertices_mean))
    chart.require(topology, f"topology {captures.topology}")
    # A crop of the images is another image plane, which each camera's background is learned in: a run goes on with the one it began with.
    sensor = np.array(captures.captures[0].sensor, np.int32)
    arrays = {**combined._asdict(), "sensor": sensor, "faces": topology.faces, "face_uvs": topology.face_uvs, "uvs": topology.uvs}
    if any(capture.data_set for capture in used):
        arrays["camera_anchors"] = np.array(camera_table.anchors(used, names["cameras"]), np.int32)
    return Assets(arrays=arrays, names=names)


def names_of(captures: CaptureSet, config: ConfigDict) -> dict[str, list[str]]:
    """Names of the assets: of cameras and people that are trained on, and of segments.

    Raises:
      ValueError: the config lists a name that is in no capture, or leaves nobody to train on.
    """
    check_names(captures, config)
    rule, used = rules.held_out(config), rules.trained(captures, config)
    if not len(used):
        raise ValueError(f"config.data.split={config.data.split}: leaves none of the {len(captures)} people to train on.")
    names = {
        "cameras": camera_table.names(used, config.data.get("camera_table", "id"), held_out={*rule.cameras, *rule.test.cameras}),
        "identities": sorted(used.people),
        "segments": list(captures.segments),
    }
    if rules.split_of(config).source:  # a run does not go on with a file that was changed since
        names["segments held out"] = sorted({*rule.segments, *rule.test.segments})
    return names


def check_names(captures: CaptureSet, config: ConfigDict) -> None:
    """Whether the captures have what the config lists by name or number.

    Raises:
      ValueError: one matches nothing in any capture; the message names the nearest that does.
    """
    data = config.data
    naming.require("config.data.cameras", data.cameras, every_camera := captures.every_camera, "capture")
    naming.require("config.data.held_out.cameras", data.held_out.cameras, captures.cameras, "capture")
    naming.require("config.data.held_out.segments", data.held_out.segments, captures.segments, "capture")
    people = {*captures.people, *(capture.subject for capture in captures)}
    naming.require("config.data.people", data.get("people", ()), people, "capture")
    for key, numbers in (("frames", data.get("frames", ())), ("held_out.frames", data.held_out.get("frames", ()))):
        there = set().union(*(capture.frames.tolist() for capture in captures)) if numbers else set()
        if missing := [str(number) for number in numbers if number not in there]:
            raise ValueError(f"config.data.{key}: no frame list has {listed(missing)}; there are {len(there)} frames in all.")
    rules.split_of(config).require(people, captures.segments, every_camera)
    if data.held_out.last_frames < 0:
        raise ValueError(f"config.data.held_out.last_frames must be at least 0; got {data.held_out.last_frames}.")
    longest = max(len(c.frames) for c in captures)
    positions = config.eval.unseen_camera_frames
    if positions and (min(positions) < 0 or min(positions) >= longest):  # of a shorter list some may be beyond the end
        given = ", ".join(map(str, positions))
        raise ValueError(f"config.eval.unseen_camera_frames: must be positions in the frame lists, 0 to {longest - 1}; got {given}.")


def source(captures: CaptureSet, config: ConfigDict, split: str, assets: Assets) -> "CaptureSource":
    """Samples of a split.

    Raises:
      ValueError: `split` is not one; a capture's zip is missing or damaged, or does not match its frame list; or of the split's samples
        none is there.
    """
    rule = rules.held_out(config) if split in (TRAIN, PREDICT) else rules.scored(config)
    if split not in (known := (TRAIN, *rules.splits_of(rule))) and split != PREDICT:
        raise ValueError(f"ava256: split must be {', '.join(known)} or {PREDICT}; got {split!r}.")
    threads = max(config.data.read_threads, 1)  # may be as many samples apart
    options: dict[str, Any] = {"segmentation": True, "max_samples": config.eval.max_samples, "frames_kept": threads}
    if split == TRAIN:
        shuffle = config.data.shuffle
        kept = order.groups_held(shuffle.cameras_per_visit, shuffle.window) + threads
        options = {"segmentation": False, "frames_kept": kept, "max_unreadable": config.data.max_unreadable}
    elif split == PREDICT:
        options = {"segmentation": False, "image": False, "frames_kept": threads}
    used = dataclasses.replace(captures, captures=tuple(c for c in captures if rule.has(c, split)))
    selections = [rule.select(c, split) for c in used]
    if options["segmentation"]:
        absent.tell_segmentation(used, selections)
    found = CaptureSource(
        captures.archives,
        used.captures,
        selections,
        assets,
        at_hand=captures,
        downsample=config.data.downsample,
        texture_size=config.model.texture_size,
        threads=threads,
        fill_unseen=config.data.get("fill_unseen", True),  # runs of older versions do not have it
        **options,
    )
    if len(found) and not found.available:
        needs = {"image": options.get("image", True), "segmentation": options["segmentation"]}
        raise ValueError(f"ava256: {absent.nothing_there(used, selections, split, **needs)}")
    return found


def frames(captures: CaptureSet, config: ConfigDict, split: str, assets: Assets) -> "CaptureSource":
    """Frames of a split, each once and without a photograph."""
    rule = rules.held_out(config)
    used = tuple(c for c in captures if rule.has(c, split))
    selections = [(found := rule.select(c, split))._replace(cameras=found.cameras[:1]) for c in used]
    size = config.model.texture_size
    return CaptureSource(
        captures.archives, used, selections, assets, downsample=config.data.downsample, texture_size=size, segmentation=False, image=False
    )


def eval_splits(captures: CaptureSet, config: ConfigDict) -> tuple[str, ...]:
    """The splits beside "train" in which the config leaves any sample; SELECTED alone where `config.eval` has a rule of its own."""
    rule = rules.scored(config)
    return tuple(split for split in rules.splits_of(rule) if any(rule.select(c, split).count for c in captures))


class CaptureSource(FaultySource):
    """Random access to the samples of a split; see the module's docstring for what a sample holds.

    An index is worked out by arithmetic (capture, then frame, then camera), as a full data set has 10^8 samples; whether its files are
    there is a bit in memory.
    """

    def __init__(
        self,
        archives: Archives,
        captures: Sequence[Capture],
        selections: Sequence[Selection],
        assets: Assets,
        *,
        at_hand: CaptureSet | None = None,
        downsample: int,
        texture_size: int,
        segmentation: bool,
        image: bool = True,
        max_samples: int = 0,
        frames_kept: int = 1,
        threads: int = 1,
        max_unreadable: float = 1.0,
        fill_unseen: bool = True,
    ) -> None:
        """Looks up what there is.

        Args:
          archives: the captures' zips.
          captures, selections: one selection per capture.
          at_hand: all captures, of which these are some or all: they number what the assets do not name. None: it is -1.
          segmentation, image: whether samples have one.
          max_samples: thins the split to as many; 0 = all.
          frames_kept: frames to hold decoded.
          threads: that read zips' directories.
          max_unreadable: fraction of the samples read, above which `UnreadableData` is raised.
          fill_unseen: whether texels that no camera saw take the mean texture's colour, in captures that mark them.

        Raises:
          ValueError: a zip is missing or damaged, or does not match its frame list.
        """
        _check_ids(captures)
        vertices = assets.arrays["vertices_mean"].shape[0]
        self._captures, self._selections = captures, selections
        self._reader = reading.Reader(
            archives,
            downsample=downsample,
            texture_size=texture_size,
            vertices=vertices,
            segmentation=segmentation,
            image=image,
            frames_kept=frames_kept,
            unseen=_unseen(captures, assets) if fill_unseen else None,
            faces=np.asarray(assets.arrays["faces"]) if segmentation else None,
        )
        self._camera_index = [camera_table.indices(c, assets.names["cameras"]) for c in captures]
        people, segments = ((), ()) if at_hand is None else (at_hand.people, at_hand.segments)
        self._segment_index = [_indices(c.segments, assets.names["segments"], segments) for c in captures]
        self._identity_index = _indices([c.name for c in captures], assets.names["identities"], people)
        self._starts = [0, *itertools.accumulate(s.count for s in selections)]
        self._thinned = thin(count, max_samples, jitter=True) if 0 < max_samples < (count := self._starts[-1]) else None  # not all of 10^8
        needs = {"segmentation": segmentation, "image": image, "threads": threads}
        chosen = zip(captures, selections, strict=True)
        self._availability_bits = [_availability(archives, c, selection, **needs) for c, selection in chosen]
        self._neutral = [reading.neutral_frame(archives, c) for c in captures]
        self._missing = self._count_missing()
        self._faults = Faults(max_unreadable)

    def __len__(self) -> int:
        return self._starts[-1] if self._thinned is None else len(self._thinned)

    def __repr__(self) -> str:
        return f"CaptureSource({len(self._captures)} captures, {len(self)} samples)"

    @property
    def available(self) -> int:
        """Samples whose files are all there, before any thinning."""
        return sum(int(np.bitwise_count(bits).sum(dtype=np.int64)) for bits in self._availability_bits)

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

    def part(self, count: int) -> "CaptureSource":
        """The same for one of `count` processes (`core.sampling.Separable`); it is read, and counts nothing."""
        part = copy.copy(self)
        part._reader, part._faults = self._reader.part(count), None  # its lock cannot be pickled
        return part

    def has(self, index: int) -> bool:
        """Whether a sample's files are there."""
        return self._is_available(self._listed(index))

    def read(self, index: int) -> Batch | str | None:
        """A sample; None where a file is missing; where one cannot be decoded, what is wrong."""
        listed = self._listed(index)
        if not self._is_available(listed):
            return None
        which, frame, camera = self._locate(listed)
        capture = self._captures[which]
        try:
            sample = self._reader.read(capture, camera, int(capture.frames[frame]), self._neutral[which])
        except reading.Unreadable as e:
            return str(e)
        return sample | {
            "camera": self._camera_index[which][camera],
            "identity": self._identity_index[which],
            "segment": self._segment_index[which][frame],
            "camera_id": np.int32(capture.cameras[camera]),
            "frame": np.int32(capture.frames[frame]),
        }

    def _listed(self, index: int) -> int:
        """A sample's index before thinning."""
        return int(index if self._thinned is None else self._thinned[index])

    def _locate(self, listed: int) -> tuple[int, int, int]:
        """Indices of a sample, given by its index before thinning: of the capture, in its frame list, in its cameras."""
        which = bisect.bisect_right(self._starts, listed) - 1
        selection = self._selections[which]
        frame, camera = divmod(listed - self._starts[which], len(selection.cameras))
        return which, int(selection.frames[frame]), int(selection.cameras[camera])

    def _is_available(self, listed: int) -> bool:
        byte, bit = divmod(listed - self._starts[which := bisect.bisect_right(self._starts, listed) - 1], 8)
        return bool(self._availability_bits[which][byte] & (128 >> bit))

    def _count_missing(self) -> int:
        if self._thinned is not None:
            return sum(not self._is_available(int(listed)) for listed in self._thinned)
        return self._starts[-1] - self.available


def _unseen(captures: Sequence[Capture], assets: Assets) -> np.ndarray | None:
    """The mean texture f32 [T, T, 3], where a capture marks texels that no camera saw."""
    marked = any(capture.black_is_unseen for capture in captures)
    return np.asarray(assets.arrays["texture_mean"], np.float32) if marked else None


def _check_ids(captures: Sequence[Capture]) -> None:
    for capture in captures:
        if large := [camera for camera in capture.cameras if int(camera) > _MOST_ID]:
            raise ValueError(f"{capture.decoder.parent}: a camera's id must be {_MOST_ID} at most; got {large[0]}.")


def _availability(
    archives: Archives, capture: Capture, selection: Selection, *, segmentation: bool, image: bool, threads: int
) -> np.ndarray:
    """One bit per sample of a capture, packed: its files are there."""
    views = np.zeros((len(selection.cameras), len(capture.frames)), bool)
    used = absent.with_segmentation(capture, selection.cameras) if segmentation else np.ones(len(selection.cameras), bool)
    cameras = selection.cameras[used]
    views[used] = reading.availability(archives, capture, cameras, segmentation=segmentation, image=image, threads=threads)
    return np.packbits(views[:, selection.frames].T)


def _indices(names: Sequence[str], known: Sequence[str], others: Sequence[str] = ()) -> np.ndarray:
    """int32 [len(names)]: index of each in `known`; where it is not in it, -1 - its index in `others`, or -1."""
    index = {name: -1 - i for i, name in enumerate(others)} | {name: i for i, name in enumerate(known)}
    return np.array([index.get(name, -1) for name in (names.tolist() if isinstance(names, np.ndarray) else names)], np.int32)
