"""Which frames and cameras of a capture are shown."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.inspect.coverage import THERE
from ava_jax.captures.inspect.subject import Frame, Subject
from ava_jax.core import names

CAMERAS, OVERLAYS, OF_A_SEGMENT = 4, 2, 12  # shown by default; the last: frames of a segment that was named
_FACING = 0.25  # cosine of a camera's direction to the head's forward axis, from which it shows the face
_CLOSE = 1e-6


class Asked(NamedTuple):
    """What the user named; () and "" leave it to this module.

    Attributes:
      frames: ids; cameras: ids; segment: name.
    """

    frames: tuple[int, ...] = ()
    cameras: tuple[str, ...] = ()
    segment: str = ""


def require(asked: Asked, subject: Subject) -> None:
    """Checks what was named against a capture.

    Raises:
      ValueError: it has no such frame, camera or segment; the message gives the nearest.
    """
    capture = subject.capture
    where = f"capture {capture.name}"
    names.require("--cameras", asked.cameras, capture.cameras, where)
    if asked.segment:
        names.require("--segment", [asked.segment], set(capture.segments.tolist()), where)
    listed = np.unique(capture.frames)
    for frame in asked.frames:
        if frame not in listed:
            nearest = listed[np.argsort(np.abs(listed.astype(np.int64) - frame), kind="stable")[:3]]
            near = ", ".join(map(str, sorted(nearest.tolist())))
            raise ValueError(f"--frames={frame}: {where} lists no such frame; of {len(listed)}, the nearest are {near}.")


def positions(subject: Subject) -> np.ndarray:
    """Of all cameras, f64 [C, 3], world, mm."""
    capture = subject.capture
    return -np.einsum("cij,cj->ci", np.linalg.pinv(capture.rotation), capture.translation)


def centre(subject: Subject, frame: Frame) -> np.ndarray:
    """What the cameras look at, f64 [3], world, mm: the head's middle; without one, the point that is nearest to all optical axes."""
    if frame.vertices is not None:
        return (frame.vertices.min(0) + frame.vertices.max(0)) / 2
    if frame.pose is not None:
        return frame.pose[:, 3]
    forward = subject.capture.rotation[:, 2]
    forward = forward / np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), _CLOSE)
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    at = np.einsum("cij,cj->ci", across, positions(subject))
    return np.linalg.lstsq(across.sum(0), at.sum(0), rcond=None)[0]


def directions(subject: Subject, frame: Frame) -> np.ndarray:
    """Unit vectors from the head to the cameras, f64 [C, 3], world."""
    way = positions(subject) - centre(subject, frame)
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), _CLOSE)


def forward(subject: Subject, frame: Frame) -> np.ndarray:
    """Where the face looks, f64 [3], world; without a head pose, to where most cameras are."""
    if frame.pose is not None:
        return frame.pose[:, 2]
    mean = directions(subject, frame).mean(0)
    return mean / max(np.linalg.norm(mean), _CLOSE)


def cameras(asked: Asked, subject: Subject, frame: Frame) -> list[int]:
    """Indices of the cameras to show: those named, or the one in front of the face and others around it, as far apart as can be."""
    capture = subject.capture
    if asked.cameras:
        return [capture.cameras.index(name) for name in asked.cameras]
    with_images = [i for i, name in enumerate(capture.cameras) if (subject.coverage.of("image", name) == THERE).any()]
    if not with_images:
        return []
    way = directions(subject, frame)
    facing = way @ forward(subject, frame)
    possible = [i for i in with_images if facing[i] > _FACING]
    possible = possible if len(possible) >= CAMERAS else with_images
    chosen = [max(possible, key=lambda i: facing[i])]
    while len(chosen) < min(CAMERAS, len(possible)):
        rest = [i for i in possible if i not in chosen]
        chosen.append(min(rest, key=lambda i: float((way[chosen] @ way[i]).max())))
    right = np.cross(_up(subject), forward(subject, frame))
    return sorted(chosen, key=lambda i: float(way[i] @ right))


def _up(subject: Subject) -> np.ndarray:
    """The cameras' common upward direction, f64 [3]."""
    return up(subject.capture.rotation)


def up(rotation: np.ndarray) -> np.ndarray:
    """The upward direction that cameras, f64 [C, 3, 3] world to camera, have in common: f64 [3], unit length; y where they have none."""
    mean = -rotation[:, 1].mean(0)
    length = np.linalg.norm(mean)
    return mean / length if length > 0.2 else np.array([0.0, 1.0, 0.0])


def overlay_frames(asked: Asked, subject: Subject) -> list[int]:
    """Ids of the frames that overlays are drawn of: those named, or the neutral one and one from the middle of the rest."""
    if asked.frames:
        return list(dict.fromkeys(asked.frames))
    listed, wanted = _frames_of(asked, subject)
    score = _completeness(subject)[wanted]
    if not len(listed):
        return []
    best = np.flatnonzero(score >= score.max() - _CLOSE)
    neutral = subject.capture.segments[wanted][best] == subject.capture.neutral_segment
    first = best[np.argmax(neutral)]
    others = best[subject.capture.segments[wanted][best] != subject.capture.segments[wanted][first]]
    others = others if len(others) else best[best != first]
    chosen = [first, *others[[len(others) // 2]]] if len(others) else [first]
    return [int(listed[i]) for i in chosen[:OVERLAYS]]


def contact_frames(asked: Asked, subject: Subject) -> list[int]:
    """Ids of the frames of the contact sheet, in the order of the list: one from the middle of each segment; some of one that was named."""
    capture = subject.capture
    score = _completeness(subject)
    if asked.segment:
        at = np.flatnonzero(capture.segments == asked.segment)
        at = at[np.unique(np.linspace(0, len(at) - 1, OF_A_SEGMENT).round().astype(int))]
        return capture.frames[at].tolist()
    chosen = []
    for segment in dict.fromkeys(capture.segments.tolist()):
        at = np.flatnonzero(capture.segments == segment)
        best = at[score[at] >= score[at].max() - _CLOSE]
        chosen.append(int(capture.frames[best[len(best) // 2]]))
    return chosen


def _frames_of(asked: Asked, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the frames to choose of, int [M], and their places in the list."""
    capture = subject.capture
    wanted = np.flatnonzero(capture.segments == asked.segment) if asked.segment else np.arange(len(capture.frames))
    return capture.frames[wanted], wanted


def _completeness(subject: Subject) -> np.ndarray:
    """How much of a frame is there, f64 [N]: first its mesh and pose, then images, then all else."""
    coverage = subject.coverage
    surface = (coverage.of("mesh") == THERE) & (coverage.of("head pose") == THERE)
    kinds = coverage.kinds()
    weights = {"image": 1.0, "segmentation": 0.1, "keypoints": 0.01, "texture": 0.01}
    return 2.0 * surface + sum(weight * (kinds[kind] == THERE).mean(0) for kind, weight in weights.items() if kind in kinds)


def named(asked: Sequence[str]) -> tuple[int, ...]:
    """Frame ids as they were typed.

    Raises:
      ValueError: one is not a whole number.
    """
    for word in asked:
        if not (word.strip().isascii() and word.strip().isdigit()):
            raise ValueError(f"--frames={word}: must be frame ids, whole numbers with commas between, as in --frames=1000,1030.")
    return tuple(int(word) for word in asked)
