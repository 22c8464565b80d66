"""Where points of the world fall in pictures, and which misreading of a calibration explains that they are seen elsewhere.

Each mistake that importers make is undone in turn; what brings points nearer by more than chance, and by most, is named. Other changes
(a longer focal length, a shift of a whole pixel) are tried as well, so that none of the named takes the blame for what it merely reduces.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.rigs import lens, outline
from ava_jax.captures.rigs.types import Distortion, RigCamera
from ava_jax.captures.rigs.values import OPENGL

LARGE = 5.0  # pixels at full size: a camera above is better left out
_ROUNDS = 3  # mistakes that may come together
_FEWER = 0.93  # of the error that must be left at most, for a mistake to be named
_SURE = 12.0  # of the gain in log likelihood
_FLOOR = 2e-3  # pixels: what files' digits give
_CORRELATED = 8.0  # neighbours along an outline, which err alike


class Landmarks(NamedTuple):
    """Points that were found in a camera's picture. `points`: f64 [P, 3], world; `pixels`: f64 [P, 2], distorted, integer centres."""

    camera: str
    points: np.ndarray
    pixels: np.ndarray


class Silhouette(NamedTuple):
    """A mesh and the mask of it in a camera's picture.

    Attributes:
      camera: its name.
      vertices: f64 [V, 3], world.
      faces: int [T, 3].
      mask: [H, W] of the distorted picture, bool, or 0..255 of which 128 and above is inside.
    """

    camera: str
    vertices: np.ndarray
    faces: np.ndarray
    mask: np.ndarray


class Fault(NamedTuple):
    """What explains an error. `known`: whether it is a mistake of importers; `before`, `after`: mean error, pixels."""

    name: str
    known: bool
    before: float
    after: float


class Report(NamedTuple):
    """What `report` finds. `cameras`: median error per camera as it is read, pixels; `faults`: in the order in which they were undone."""

    cameras: Mapping[str, float]
    faults: tuple[Fault, ...]

    def lines(self) -> list[str]:
        """The report as text, a line per finding."""
        worst = sorted(self.cameras.items(), key=lambda item: -item[1])
        found = [f"median reprojection error {np.median([e for _, e in worst]):.2f} pixels; worst camera {worst[0][0]!r} {worst[0][1]:.2f}"]
        for fault in self.faults:
            how = "looks like" if fault.known else "no known mistake; nearest is"
            found.append(f"{how}: {fault.name} (mean error {fault.before:.2f} pixels, {fault.after:.2f} without)")
        large = [name for name, error in worst if error > LARGE]
        if large and not self.faults:
            found.append(f"cameras over {LARGE:g} pixels, better left out: {', '.join(large[:8])}{', ...' if len(large) > 8 else ''}")
        return found


_Change = Callable[[RigCamera], RigCamera | None]


def report(cameras: Sequence[RigCamera], seen: Sequence[Landmarks | Silhouette]) -> Report:
    """Names the mistakes that explain where points fall.

    Args:
      cameras: in the unit of the points.
      seen: what was observed; cameras without observations are not looked at.

    Raises:
      ValueError: there is no observation, or one names no camera, or its shapes are wrong.
    """
    named = {camera.name: camera for camera in cameras}
    _require(named, seen)
    tools = [outline.Outline(one.vertices, one.faces, one.mask) if isinstance(one, Silhouette) else None for one in seen]

    def errors(change: _Change) -> list[np.ndarray] | None:
        found = []
        changed = {one.camera: change(named[one.camera]) for one in seen}
        if all(camera is None for camera in changed.values()):
            return None
        for one, tool in zip(seen, tools, strict=True):
            found.append(_errors(one, tool, changed[one.camera] or named[one.camera]))
        return found

    as_read = errors(lambda camera: camera)
    medians: dict[str, list[np.ndarray]] = {}
    for one, error in zip(seen, as_read, strict=True):
        medians.setdefault(one.camera, []).append(error)
    faults, undone, current = [], [], as_read
    for _ in range(_ROUNDS):
        best = _best(errors, undone, current, seen)
        if best is None:
            break
        name, known, change, left = best
        faults.append(Fault(name, known, _mean(current), _mean(left)))
        undone, current = [*undone, change], left
        if not known:
            break
    return Report({name: float(np.median(np.concatenate(found))) for name, found in medians.items()}, tuple(faults))


def _best(
    errors: Callable[[_Change], list[np.ndarray] | None],
    undone: Sequence[_Change],
    current: list[np.ndarray],
    seen: Sequence[Landmarks | Silhouette],
) -> tuple[str, bool, _Change, list[np.ndarray]] | None:
    """The change that leaves the least error, where that is less than chance would have it; None where none does."""
    best, least = None, _FEWER * _mean(current)
    # Independent numbers: two of each point, a fraction of one along an outline.
    count = sum(len(e) * (2.0 if isinstance(one, Landmarks) else 1 / _CORRELATED) for e, one in zip(current, seen, strict=True))
    for name, known, change in _changes():
        left = errors(_chain([*undone, change]))
        if left is None or any(change is done for done in undone):
            continue
        mean = _mean(left)
        if mean < least and count * np.log(_mean(current) / mean) > _SURE:
            best, least = (name, known, change, left), mean
    return best


def _chain(changes: Sequence[_Change]) -> _Change:
    def change(camera: RigCamera) -> RigCamera | None:
        for one in changes[:-1]:
            camera = one(camera) or camera
        return changes[-1](camera)

    return change


def _mean(errors: Sequence[np.ndarray]) -> float:
    return float(np.concatenate(errors).mean()) + _FLOOR


def _errors(one: Landmarks | Silhouette, tool: "outline.Outline | None", camera: RigCamera) -> np.ndarray:
    """Distances f64 [P], pixels, at most the picture's diagonal."""
    most = float(np.hypot(*camera.size)) if camera.size[0] else 1e4
    with np.errstate(all="ignore"):
        if tool is not None:
            return np.minimum(tool.distances(camera), most)
        off = np.linalg.norm(lens.project(one.points, camera) - one.pixels, axis=-1)
    return np.minimum(np.where(np.isfinite(off), off, most), most)


# What importers do wrong, each with what undoes it.


def _with_k(camera: RigCamera, *, shift: tuple[float, float] = (0.0, 0.0), focal: float = 1.0, cy: float | None = None) -> RigCamera:
    k = camera.k.copy()
    k[:2, :2] *= focal
    k[:2, 2] += shift
    if cy is not None:
        k[1, 2] = cy
    return dataclasses.replace(camera, k=k)


def _swapped(camera: RigCamera) -> RigCamera | None:
    pair = {"opencv": (2, 3), "metashape": (4, 5)}.get(camera.distortion.model)
    terms = list(camera.distortion.coefficients)
    if pair is None or len(terms) <= pair[1] or terms[pair[0]] == terms[pair[1]]:
        return None
    terms[pair[0]], terms[pair[1]] = terms[pair[1]], terms[pair[0]]
    return dataclasses.replace(camera, distortion=Distortion(camera.distortion.model, tuple(terms)))


def _posed(camera: RigCamera, rotation: np.ndarray, translation: np.ndarray) -> RigCamera:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return dataclasses.replace(camera, world_to_camera=pose)


def _parts(camera: RigCamera) -> tuple[np.ndarray, np.ndarray]:
    return camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3]


def _scaled(factor: float) -> _Change:
    return lambda camera: _posed(camera, _parts(camera)[0], factor * _parts(camera)[1])


def _transposed(camera: RigCamera) -> RigCamera:
    return _posed(camera, _parts(camera)[0].T, _parts(camera)[1])


def _transposed_about_centre(camera: RigCamera) -> RigCamera:
    rotation, translation = _parts(camera)
    return _posed(camera, rotation.T, rotation.T @ rotation.T @ translation)


def _inverted(camera: RigCamera) -> RigCamera:
    rotation, translation = _parts(camera)
    return _posed(camera, rotation.T, -rotation.T @ translation)


def _centred(camera: RigCamera) -> RigCamera:
    rotation, translation = _parts(camera)
    return _posed(camera, rotation, -rotation @ translation)


def _opengl(camera: RigCamera) -> RigCamera:
    rotation, translation = _parts(camera)
    return _posed(camera, OPENGL @ rotation, OPENGL @ translation)


def _shifted(x: float, y: float) -> _Change:
    return lambda camera: _with_k(camera, shift=(x, y))


def _longer(factor: float) -> _Change:
    return lambda camera: _with_k(camera, focal=factor)


def _flipped(camera: RigCamera) -> RigCamera | None:
    return _with_k(camera, cy=camera.size[0] - camera.k[1, 2]) if camera.size[0] else None


def _flipped_centres(camera: RigCamera) -> RigCamera | None:
    return _with_k(camera, cy=camera.size[0] - 1 - camera.k[1, 2]) if camera.size[0] else None


_KNOWN: tuple[tuple[str, _Change], ...] = (
    ("p1 and p2 swapped", _swapped),
    ("half a pixel: cx and cy are 0.5 too large", _shifted(-0.5, -0.5)),
    ("half a pixel: cx and cy are 0.5 too small", _shifted(0.5, 0.5)),
    ("cy flipped: it is h - cy", _flipped),
    ("cy flipped: it is h - 1 - cy", _flipped_centres),
    ("scale x 1000: translations are 1000 times too small for the points", _scaled(1000.0)),
    ("scale x 1000: translations are 1000 times too large for the points", _scaled(0.001)),
    *((f"units: translations are {t:g} times too small for the points", _scaled(t)) for t in (10.0, 100.0, 25.4)),
    *((f"units: translations are {t:g} times too large for the points", _scaled(1 / t)) for t in (10.0, 100.0, 25.4)),
    ("R transposed", _transposed),
    ("R transposed, camera to world taken for world to camera, about the right centre", _transposed_about_centre),
    ("pose inverted: camera to world taken for world to camera", _inverted),
    ("translation is the camera's centre", _centred),
    ("axes of OpenGL: y up, z backwards", _opengl),
)
_SHIFTS = ((0.25, 0.25), (-0.25, -0.25), (1, 1), (-1, -1), (0.5, -0.5), (-0.5, 0.5), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
_OTHERS: tuple[tuple[str, _Change], ...] = (
    *((f"cx and cy off by {x:g}, {y:g} pixels", _shifted(-x, -y)) for x, y in _SHIFTS),
    *((f"focal lengths {100 * (f - 1):+g}% off", _longer(1 / f)) for f in (0.95, 0.98, 0.995, 1.005, 1.02, 1.05)),
)


def _changes() -> list[tuple[str, bool, _Change]]:
    return [(name, True, change) for name, change in _KNOWN] + [(name, False, change) for name, change in _OTHERS]


def _require(named: Mapping[str, RigCamera], seen: Sequence[Landmarks | Silhouette]) -> None:
    if not seen:
        raise ValueError("rigs.reprojection.report: needs landmarks or silhouettes; got none.")
    for one in seen:
        if one.camera not in named:
            raise ValueError(f"rigs.reprojection.report: camera {one.camera!r} is not in the rig, which has {', '.join(list(named)[:8])}.")
        if isinstance(one, Landmarks):
            if (
                np.ndim(one.points) != 2
                or np.shape(one.points)[1] != 3
                or np.shape(one.pixels) != (len(one.points), 2)
                or not len(one.points)
            ):
                raise ValueError(
                    f"rigs.reprojection.report: landmarks must be points [P, 3] and pixels [P, 2]; got {np.shape(one.points)} and "
                    f"{np.shape(one.pixels)} of camera {one.camera!r}."
                )
        elif np.shape(one.mask) != named[one.camera].size:
            raise ValueError(
                f"rigs.reprojection.report: a mask must be of its camera's size {named[one.camera].size}; got {np.shape(one.mask)} of "
                f"camera {one.camera!r}."
            )
