"""Cameras and heads of a capture in space, in axes of the viewer's: y up, z where the face looks, the head's middle at the origin; mm."""

import dataclasses

import numpy as np

from ava_jax.captures import shading
from ava_jax.captures.inspect import choice
from ava_jax.captures.inspect.coverage import THERE, UNREADABLE
from ava_jax.captures.inspect.subject import Frame, Subject

KINDS = ("shown", "other", "none", "unreadable")  # of cameras: overlays show it; others; without images; whose images cannot be read
_DEPTH = 0.13  # of a camera's pyramid, over the cameras' median distance from the head


@dataclasses.dataclass(frozen=True)
class Head:
    """A frame's mesh.

    Attributes:
      frame: id.
      segment: its name.
      vertices: f64 [V, 3]; faces: int [M, 3]; colours: f64 [V, 3], 0-255.
      keypoints: f64 [K, 3].
    """

    frame: int
    segment: str
    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    keypoints: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scene:
    """What stands in the space.

    Attributes:
      names: ids of the cameras; kinds: one of KINDS each.
      positions: f64 [C, 3]; corners: f64 [C, 4, 3], of their pictures, on the pyramids.
      heads: of the frames that are shown, those that have a mesh or keypoints.
      path: f64 [P, 3], where the head's origin is over the frames.
      origin: f64 [3], the first frame's head origin; axes: f64 [3, 3], its axes as rows. NaN without a head pose.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    positions: np.ndarray
    corners: np.ndarray
    heads: tuple[Head, ...]
    path: np.ndarray
    origin: np.ndarray
    axes: np.ndarray


def build(subject: Subject, frames: list[Frame], shown: list[int]) -> Scene:
    """The scene of some frames.

    Args:
      subject: the capture.
      frames: one or more; the first one's head is in the middle.
      shown: indices of the cameras whose pictures are shown.
    """
    capture, first = subject.capture, frames[0]
    middle, turn = choice.centre(subject, first), _axes(subject, first)

    def moved(points: np.ndarray) -> np.ndarray:
        return (points - middle) @ turn.T

    positions = choice.positions(subject)
    reach = float(np.median(np.linalg.norm(positions - middle, axis=1))) * _DEPTH
    corners = positions[:, None] + _corners(subject, reach)
    placed = np.flatnonzero(np.isfinite(corners).all((1, 2)))
    if len(placed) < len(positions):
        nowhere = [name for i, name in enumerate(capture.cameras) if i not in placed]
        subject.note(f"calibration: cameras whose pictures have no place in space, and are not drawn there: {', '.join(nowhere)}")
    heads = [head for frame in frames if (head := _head(subject, frame, moved)) is not None]
    none = np.full((3, 3), np.nan)
    return Scene(
        tuple(capture.cameras[i] for i in placed),
        tuple(_kind(subject, i, shown) for i in placed),
        moved(positions[placed]),
        moved(corners[placed]),
        tuple(heads),
        moved(subject.head_path()),
        none[0] if first.pose is None else moved(first.pose[:, 3]),
        none if first.pose is None else first.pose[:, :3].T @ turn.T,
    )


def decimated(head: Head, most: int) -> Head:
    """The head with `most` triangles or fewer: vertices that share a cell of a grid become one. Which side of a triangle is out is lost."""
    if len(head.faces) <= most:
        return head
    a, b = head.vertices[head.faces[:, 0]], head.vertices[head.faces[:, 1]]
    cell = float(np.linalg.norm(a - b, axis=1).mean())
    low = head.vertices.min(0)
    while True:
        at = np.floor((head.vertices - low) / cell).astype(np.int64)
        size = int(at.max()) + 1
        _, index = np.unique((at[:, 0] * size + at[:, 1]) * size + at[:, 2], return_inverse=True)
        corners = np.sort(index[head.faces], axis=1)
        corners = corners[(corners[:, 0] != corners[:, 1]) & (corners[:, 1] != corners[:, 2])]
        count = int(index.max()) + 1
        _, first = np.unique((corners[:, 0] * count + corners[:, 1]) * count + corners[:, 2], return_index=True)
        if len(first) <= most:
            break
        cell *= 1.2
    faces = corners[first]
    count = np.bincount(index)[:, None]
    mean = [np.stack([np.bincount(index, values[:, i]) for i in range(3)], -1) / count for values in (head.vertices, head.colours)]
    return dataclasses.replace(head, vertices=mean[0], colours=mean[1], faces=faces)


def _axes(subject: Subject, frame: Frame) -> np.ndarray:
    """World to the viewer's axes, f64 [3, 3]: y is the cameras' upward direction, z the face's forward one, levelled."""
    up = choice.up(subject.capture.rotation)
    forward = choice.forward(subject, frame)
    level = forward - (forward @ up) * up
    if np.linalg.norm(level) < 0.1:  # the face looks up: any level direction will do
        level = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    level /= np.linalg.norm(level)
    return np.stack([np.cross(up, level), up, level])


def _kind(subject: Subject, camera: int, shown: list[int]) -> str:
    states = subject.coverage.of("image", subject.capture.cameras[camera])
    if not (states == THERE).any():
        return "unreadable" if (states == UNREADABLE).any() else "none"
    return "shown" if camera in shown else "other"


def _corners(subject: Subject, depth: float) -> np.ndarray:
    """Of the pictures, `depth` mm in front of the cameras, from their positions: f64 [C, 4, 3], world; not finite where there is none."""
    capture = subject.capture
    height, width = capture.sensor
    at = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])
    with np.errstate(divide="ignore", invalid="ignore"):  # a focal length of 0, as a wrong calibration may have
        plane = (at - capture.principal[:, None]) / capture.focal[:, None]
    local = np.concatenate([plane, np.ones((*plane.shape[:2], 1))], axis=-1) * depth
    return np.einsum("cij,ckj->cki", np.linalg.pinv(capture.rotation), local)


def _head(subject: Subject, frame: Frame, moved) -> Head | None:
    """A frame's, in the viewer's axes; None where it has neither mesh nor keypoints."""
    keypoints = np.zeros((0, 3)) if frame.keypoints is None else moved(frame.keypoints[:, 1:4])
    topology = None if frame.vertices is None else subject.topology(len(frame.vertices))
    if topology is None:
        empty = np.zeros((0, 3))
        return Head(frame.number, frame.segment, empty, np.zeros((0, 3), int), empty, keypoints) if len(keypoints) else None
    count = len(frame.vertices)
    colours = np.tile(shading.SKIN, (count, 1))
    if frame.texture is not None:
        colours = shading.vertex_colours(topology, frame.texture, count)
    return Head(frame.number, frame.segment, moved(frame.vertices), topology.faces, colours, keypoints)
