"""Expression codes of frames of captures: read in several threads, encoded in batches, whole captures of them resumably."""

import hashlib
import json
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tqdm
from ml_collections import ConfigDict

from ava_jax.captures import reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.captures.splits import Selection
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.data import files, pipeline
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import codes_file, source
from ava_jax.tasks.ava256.data.codes_file import Codes

RECORD = "encode.json"  # beside the files of codes: what model they are of
_SAVE_SECONDS = 20.0  # between two savings of a capture that is being encoded
_FACE = ("texture", "vertices", "neutral_texture", "neutral_vertices")


class Faces:
    """Frames of a capture as a source of samples: the face, the neutral face, the head pose; no photographs are read."""

    def __init__(self, captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture, frames: np.ndarray) -> None:
        """Looks up which frames are there.

        Args:
          capture: one of the captures.
          frames: int [F], indices in its frame list.

        Raises:
          ValueError: a zip is missing or damaged, or does not match the frame list; or there is no neutral face.
        """
        self._captures, self._capture, self._frames = captures, capture, np.asarray(frames)
        self._samples = source.CaptureSource(
            captures.archives,
            [capture],
            [Selection(np.zeros(1, np.int64), self._frames)],
            assets,
            at_hand=captures,
            downsample=config.data.downsample,
            texture_size=config.model.texture_size,
            segmentation=False,
            image=False,
            threads=max(config.data.read_threads, 1),
            fill_unseen=config.data.get("fill_unseen", True),
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __repr__(self) -> str:
        return f"Faces({self._capture.name}, {len(self)} frames)"

    @property
    def counts(self) -> dict[str, int]:
        """As of every source."""
        return self._samples.counts

    def __getitem__(self, index: int) -> Batch | None:
        """A frame, with its index in the frame list and its head pose [3, 4], head to world, mm; None where it cannot be read."""
        sample = self._samples[index]
        if sample is None:
            return None
        pose = reading.head_pose(self._captures.archives, self._capture, int(sample["frame"]))
        return {name: sample[name] for name in _FACE} | {"row": np.int64(self._frames[index]), "head_pose": pose.astype(np.float32)}


def neutral_face(captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture) -> tuple[np.ndarray, np.ndarray]:
    """Texture u8 [1, T, T, 3] and vertices f32 [1, V, 3], mm, of a person's neutral face.

    Raises:
      ValueError: the capture has none, or no frame of it can be read.
    """
    frames = np.flatnonzero(capture.segments == capture.neutral_segment)
    if not capture.neutral_segment:
        frames = np.flatnonzero(capture.frames == reading.neutral_frame(captures.archives, capture))
    faces = Faces(captures, config, assets, capture, frames)
    for sample in map(faces.__getitem__, range(len(faces))):
        if sample is not None:
            return sample["neutral_texture"][None], sample["neutral_vertices"][None]
    raise ValueError(f"{capture.decoder}: no frame of {capture.neutral_segment} can be read, so there is no neutral face.")


def batches(avatar: Avatar, faces: Faces, capture: Capture, *, batch_size: int, threads: int) -> Iterator[Codes]:
    """Codes of all frames that can be read, in order, a batch at a time. Host and device work at the same time.

    Args:
      batch_size: of every batch; the last is filled up for the device, not in what is given.
      threads: that read.
    """
    waiting = None
    for batch, count in pipeline.read_in_order(faces, batch_size, threads=threads):
        encoded = avatar.encode(*(batch[name] for name in _FACE))
        if waiting is not None:
            yield _codes(capture, *waiting)
        waiting = encoded, batch["row"][:count], batch["head_pose"][:count]
    if waiting is not None:
        yield _codes(capture, *waiting)


def _codes(capture: Capture, encoded: Any, rows: np.ndarray, poses: np.ndarray) -> Codes:
    names = np.full(len(rows), capture.name)
    segments, frames = capture.segments[rows].astype(str), capture.frames[rows].astype(np.int64)
    return codes_file.of(np.asarray(encoded)[: len(rows)], names, segments, frames, poses)


def joined(parts: Sequence[Codes]) -> Codes:
    """Sequences of one model, one after the other; head poses where all have them."""
    *fields, poses, models = zip(*parts, strict=True)
    return Codes(*map(np.concatenate, fields), None if any(pose is None for pose in poses) else np.concatenate(poses), models[0])


def encode(
    avatar: Avatar,
    captures: CaptureSet,
    config: ConfigDict,
    assets: Assets,
    capture: Capture,
    frames: np.ndarray,
    partial: pathlib.Path | None = None,
) -> Codes:
    """Codes of those of a capture's frames that can be read, with a progress bar.

    Args:
      frames: int [F], indices in its frame list.
      partial: what is done is saved here every 20 s, and gone on from where it is there already: of the same frames.

    Raises:
      ValueError: none can be read; or as `Faces`.
    """
    parts = [codes_file.read(partial)] if partial is not None and partial.is_file() else []
    start = 0
    if parts:
        segment, frame = parts[0].segment[-1], parts[0].frame[-1]
        start = 1 + int(np.flatnonzero((capture.segments[frames] == segment) & (capture.frames[frames] == frame))[-1])
    left, saved = frames[start:], time.monotonic()
    with tqdm.tqdm(total=len(frames), initial=start, desc=f"encode {capture.subject}", unit="frame") as bar:
        faces = Faces(captures, config, assets, capture, left) if len(left) else ()
        found = batches(avatar, faces, capture, batch_size=config.eval.batch_size, threads=config.data.read_threads) if len(left) else ()
        for part in found:
            if bar.n == bar.initial:
                bar.unpause()  # what came before was compiling, which says nothing of the time left
            parts.append(part)
            bar.update(len(part.codes))
            if partial is not None and time.monotonic() - saved > _SAVE_SECONDS:
                parts, saved = [joined(parts)], time.monotonic()
                codes_file.write(partial, parts[0])
    if not parts:
        raise ValueError(f"{capture.decoder}: none of the {len(frames)} frames asked for can be read.")
    return joined(parts)


class Folder:
    """A folder of codes, a file per capture, with a record of the model and the frames that they are of."""

    def __init__(self, folder: pathlib.Path, avatar: Avatar) -> None:
        """Makes it where it is not there.

        Raises:
          ValueError: it holds codes of another model.
          OSError: it cannot be written.
        """
        self._path, self._avatar = folder / RECORD, avatar
        folder.mkdir(parents=True, exist_ok=True)
        self._model = probe(avatar)
        self._about: dict[str, Any] = {"step": avatar.step, "model": self._model.astype(float).tolist(), "files": {}}
        if self._path.is_file():
            there = json.loads(self._path.read_text())
            if there["step"] != avatar.step or not same_model(there["model"], self._model):
                raise ValueError(f"{folder}: holds codes of another model (step {there['step']}): take another --out, or remove it.")
            self._about = there

    def encode(
        self, captures: CaptureSet, config: ConfigDict, assets: Assets, capture: Capture, frames: np.ndarray, suffix: str
    ) -> tuple[pathlib.Path, int]:
        """Encodes frames of a capture into `<capture>.<suffix>`, with a progress bar; goes on where an earlier call was stopped.

        What is done is saved every 20 s; the file itself appears when all are done. One that is there already is left as it is.

        Args:
          frames: int [F], indices in its frame list.
          suffix: "npz" or "csv".

        Returns:
          The file, and how many frames it has.

        Raises:
          ValueError: no frame can be read; or the file is there, and has other frames.
          OSError: it cannot be written.
        """
        path, asked = self._path.with_name(f"{capture.name}.{suffix}"), _digest(capture, frames)
        if path.is_file():
            if self._about["files"].get(path.name) != asked:
                raise ValueError(f"{path}: is there, and not of the frames asked for: take another --out, or remove it.")
            return path, len(codes_file.read(path).codes)
        partial = path.with_name(f".{capture.name}.{asked}.partial.npz")
        codes = encode(self._avatar, captures, config, assets, capture, frames, partial)
        codes_file.write(path, codes._replace(model=self._model))
        self._about["files"][path.name] = asked
        files.replace(self._path, json.dumps(self._about, indent=1) + "\n")
        partial.unlink(missing_ok=True)
        return path, len(codes.codes)


def _digest(capture: Capture, frames: np.ndarray) -> str:
    """Of which frames of a capture, in which order."""
    rows = "\n".join(f"{capture.segments[row]} {capture.frames[row]}" for row in frames)
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def probe(avatar: Avatar) -> np.ndarray:
    """f32 [16]: what a model makes of noise; others make something else of it."""
    rng, side, shape = np.random.default_rng(0), avatar.texture_size, avatar.mean_vertices.shape
    textures = rng.integers(0, 256, (2, 1, side, side, 3), np.uint8)
    vertices = avatar.mean_vertices + 5 * rng.standard_normal((2, 1, *shape), np.float32)
    code = avatar.encode(textures[0], vertices[0], textures[1], vertices[1])
    return np.asarray(code, np.float32).mean((0, 1, 2))


def same_model(one: Array, other: Array) -> bool:
    """Whether two of `probe`'s, [16], are of one model: another device computes a little differently; another model, altogether."""
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-2, atol=1e-2 * np.abs(other).max()))
