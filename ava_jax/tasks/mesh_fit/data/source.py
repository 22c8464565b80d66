"""Samples of mesh fitting: which frames a split has, and reading one.

A sample is one frame (arrays without the batch axis), lengths in metres:

  source f32 [n, V, 3], posed meshes of frames i - n + 1 to i, the earliest repeated where a sequence begins, n = config.model.
  condition_frames; with config.model.condition_on == "vertex" [1, V, 3], frame i alone; target f32 [V, 3], but not of the split "predict";
  joints f32 [J, 3], only where config.model.joints is J > 0; sequence i32 [], its position in assets.names["sequences"], -1 where it is
  not in it; frame i32 [], its position in the sequence; name u8 [NAME_BYTES]: "sequence/frame" in UTF-8, zeros after it.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core import binding
from ava_jax.core import names as naming
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import PREDICT, TRAIN, AtHand
from ava_jax.tasks.mesh_fit.data import folders, sequences
from ava_jax.tasks.mesh_fit.data.sequences import MeshSequence

UNSEEN_FRAMES, UNSEEN_SEQUENCES = "unseen_frames", "unseen_sequences"
SPLITS = (TRAIN, UNSEEN_FRAMES, UNSEEN_SEQUENCES, PREDICT)
NAME_BYTES = 64
LISTS = {"data.sequences": str, "data.held_out.sequences": str}  # of the config
VERTEX = "vertex"  # config.model.condition_on: one mesh is enough


def prepare(config: ConfigDict) -> Assets:
    """Topology and names of the sequences of the data root; reads all OBJ files, into the cache, where that is not done.

    Returns:
      Assets with the array `faces`, int32 [M, 3], and the names `sequences`.

    Raises:
      ValueError: files are missing, malformed or do not fit together, or a sequence to hold out is not there.
    """
    _check_held_out(config)
    loaded, faces = load(config)
    names = [sequence.name for sequence in loaded]
    if not any(frames_of(config, TRAIN, sequence) for sequence in loaded):
        raise ValueError(f"{config.data.root}: config.data.held_out leaves no frame of {', '.join(names)} to train on.")
    if not len(faces):
        raise ValueError(f"{config.data.root}: the meshes must have faces; those of {names[0]} have none.")
    return Assets(arrays={"faces": faces}, names={"sequences": names})


def source(config: ConfigDict, split: str, assets: Assets) -> "MeshSource":
    """Samples of a split.

    Raises:
      ValueError: `split` is not one, files are missing or malformed, or meshes are not of the topology that was trained on.
    """
    if split not in SPLITS:
        raise ValueError(f"mesh_fit: split must be one of {', '.join(SPLITS)}; got {split!r}.")
    loaded, faces = load(config, everything=True) if split == PREDICT else load(config)
    if not np.array_equal(faces, assets.arrays["faces"]):
        raise ValueError(f"{config.data.root}: must hold meshes of the topology that was trained on; their faces differ.")
    chosen = [(sequence, frame) for sequence in loaded for frame in frames_of(config, split, sequence)]
    most = config.eval.max_samples if split in (UNSEEN_FRAMES, UNSEEN_SEQUENCES) else 0
    chosen = [chosen[i] for i in thin(len(chosen), most)]
    return MeshSource(chosen, assets.names["sequences"], _history(config))


def eval_splits(config: ConfigDict, assets: Assets) -> tuple[str, ...]:
    """The splits beside "train" in which the config leaves any sample."""
    del assets
    loaded, _ = load(config)
    return tuple(split for split in (UNSEEN_FRAMES, UNSEEN_SEQUENCES) if any(frames_of(config, split, sequence) for sequence in loaded))


def _check_held_out(config: ConfigDict) -> None:
    """Before any mesh is read."""
    held = config.data.held_out
    if held.last_frames < 0:
        raise ValueError(f"config.data.held_out.last_frames must be at least 0; got {held.last_frames}.")
    names = [name for name in folders.names_in(_root(config)) if not config.data.sequences or name in config.data.sequences]
    if absent := [name for name in held.sequences if name not in names]:
        raise ValueError(
            f"config.data.held_out.sequences: there is no {absent[0]!r} to hold out; {config.data.root} has {', '.join(names)}."
            f"{naming.nearest(absent[0], names)}"
        )


def _root(config: ConfigDict) -> pathlib.Path:
    if not config.data.root:
        raise ValueError("config.data.root is missing: the folder of NAME_sbs, NAME_target, ..., as in --config.data.root=DATA.")
    return pathlib.Path(config.data.root).expanduser()


def at_hand(config: ConfigDict, assets: Assets) -> AtHand:
    """The motions of the data root, and a line on those that training had none of.

    Raises:
      ValueError: there are none.
    """
    names = tuple(folders.names_in(_root(config)))
    others = [name for name in names if name not in assets.names["sequences"]]
    return AtHand(names, (f"not seen in training: {binding.listed(others)}",) if others else ())


def describe(batch: Batch, assets: Assets) -> list[dict[str, Any]]:
    """Sequence and frame of each sample of a batch, as their files are named."""
    del assets
    return [dict(zip(("sequence", "frame"), name_of(row), strict=True)) for row in np.asarray(batch["name"])]


def name_of(name: np.ndarray) -> tuple[str, str]:
    """Sequence and frame out of a sample's `name`, u8 [NAME_BYTES]."""
    sequence, _, frame = bytes(np.asarray(name, np.uint8)).rstrip(b"\0").decode().partition("/")
    return sequence, frame


def load(config: ConfigDict, *, everything: bool = False) -> tuple[list[MeshSequence], np.ndarray]:
    """The sequences that a config names with their targets, and their faces, int32 [M, 3]; see `sequences.load`.

    Args:
      config: of the task.
      everything: all frames of all sequences of the data root instead, without targets.
    """
    data = config.data
    return sequences.load(
        _root(config),
        () if everything else tuple(data.sequences),
        targets=not everything,
        joints=config.model.joints,
        max_frames=0 if everything else data.max_frames,
        cache=pathlib.Path(data.cache).expanduser() if data.cache else None,
    )


def source_file(config: ConfigDict, sequence: str, frame: str) -> pathlib.Path:
    """The OBJ file of a frame's skin interpolation."""
    location = folders.folder(pathlib.Path(config.data.root).expanduser(), sequence, folders.SBS)
    lower = location / f"{frame}.obj"
    return lower if lower.is_file() else location / f"{frame}.OBJ"


def frames_of(config: ConfigDict, split: str, sequence: MeshSequence) -> range:
    """Frames of a sequence that belong to a split."""
    count = len(sequence.frames)
    if split == PREDICT:
        return range(count)
    held = config.data.held_out
    if sequence.name in held.sequences:
        return range(count) if split == UNSEEN_SEQUENCES else range(0)
    end = max(count - held.last_frames, 0)
    return {TRAIN: range(end), UNSEEN_FRAMES: range(end, count)}.get(split, range(0))


class Stretch(NamedTuple):
    """Frames of one sequence in a row, the scored ones and two before them, for what is measured over time.

    Attributes:
      sequence: its name.
      split: that the last frames are of.
      scored: how many of the last frames are of that split.
      samples: one per frame, in order.
    """

    sequence: str
    split: str
    scored: int
    samples: "MeshSource"


def stretches(config: ConfigDict, assets: Assets, *, most: int) -> list[Stretch]:
    """Of every sequence that has frames held out: these, and the two frames before them where there are.

    Args:
      config: the task's.
      assets: the task's.
      most: scored frames of a sequence, the first ones.
    """
    loaded, _ = load(config)
    found = []
    for split in eval_splits(config, assets):
        for sequence in loaded:
            frames = frames_of(config, split, sequence)[:most]
            if frames:
                chosen = [(sequence, frame) for frame in range(max(frames[0] - 2, 0), frames[-1] + 1)]
                samples = MeshSource(chosen, assets.names["sequences"], _history(config))
                found.append(Stretch(sequence.name, split, len(frames), samples))
    return found


def _history(config: ConfigDict) -> int:
    """Meshes per sample."""
    return 1 if config.model.condition_on == VERTEX else config.model.condition_frames


class MeshSource:
    """Random access to the samples of a split; see the module's docstring for what a sample holds."""

    def __init__(self, chosen: list[tuple[MeshSequence, int]], known: list[str], history: int):
        """Reads nothing yet.

        Args:
          chosen: sequence and frame of each sample.
          known: names of sequences, as the assets have them.
          history: meshes per sample.

        Raises:
          ValueError: a name is too long.
        """
        self._chosen, self._known, self._history = chosen, known, history
        self._names = [f"{sequence.name}/{sequence.frames[frame]}".encode() for sequence, frame in chosen]
        if long := [name for name in self._names if len(name) > NAME_BYTES]:
            raise ValueError(f"mesh_fit: names of a sequence and its frame must have {NAME_BYTES} bytes at most; got {long[0].decode()!r}.")

    def __len__(self) -> int:
        return len(self._chosen)

    def __repr__(self) -> str:
        return f"MeshSource({len({sequence.name for sequence, _ in self._chosen})} sequences, {len(self)} meshes)"

    @property
    def counts(self) -> dict[str, int]:
        """Samples listed; all of them can be read."""
        return {"listed": len(self)}

    def __getitem__(self, index: int) -> Batch:
        """A sample."""
        sequence, frame = self._chosen[index]
        first = frame - self._history + 1
        meshes = np.array(sequence.source[max(first, 0) : frame + 1])
        if first < 0:
            meshes = np.concatenate([np.repeat(meshes[:1], -first, axis=0), meshes])
        name = self._names[index]
        sample = {
            "source": meshes,
            "sequence": np.int32(self._known.index(sequence.name) if sequence.name in self._known else -1),
            "frame": np.int32(frame),
            "name": np.frombuffer(name.ljust(NAME_BYTES, b"\0"), np.uint8),
        }
        if sequence.target is not None:
            sample["target"] = np.array(sequence.target[frame])
        if sequence.joints is not None:
            sample["joints"] = np.array(sequence.joints[frame])
        return sample
