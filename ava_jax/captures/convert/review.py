"""Whether the conventions of a rig can be right: its mesh held against its pictures, before hours are spent on all of them.

Of one frame, for each camera: how much of the mesh falls into the image and onto the mask, how its outline lies to the mask's (and which
mistake of importers would explain that, `rigs.reprojection`), and whether the colours that the camera sees on the surface are those that
the others see there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures import projection
from ava_jax.captures.convert import straighten, texture, work
from ava_jax.captures.convert.plan import Plan
from ava_jax.captures.convert.straighten import Straightener
from ava_jax.captures.convert.texture import Texels, Unwrapped, View
from ava_jax.captures.rigs import reprojection
from ava_jax.captures.rigs.types import RigCamera
from ava_jax.core import zbuffer

MOST_CAMERAS = 16  # of a rig that are looked at
_TEXELS = 256  # of the texture that colours are compared on
_FOREGROUND = 128  # of 255, from which a mask's pixel counts
_FEWEST = 500  # texels that two cameras must see
# Below these, on the median over the cameras, conventions cannot be right; between the two numbers they are doubted.
INSIDE, ON_MASK, IOU, AGREEMENT = (0.5, 0.9), (0.6, 0.9), (0.4, 0.9), (0.4, 0.75)
SURE = 0.65  # of the outlines' error that is left at most once a mistake is undone which was made; with more it is a doubt


class Seen(NamedTuple):
    """What one camera says of a frame's mesh.

    Attributes:
      camera: of the rig.
      view: its picture.
      inside: fraction of the vertices that fall into it.
      on_mask: fraction of the mesh's silhouette that lies on the mask; NaN without a mask.
      iou: of silhouette and mask, over both; NaN without.
      agreement: correlation of its colours with those that the other cameras see on the same texels; NaN where these are too few.
    """

    camera: RigCamera
    view: View
    inside: float
    on_mask: float
    iou: float
    agreement: float


class Review(NamedTuple):
    """What a frame says.

    Attributes:
      frame: its number.
      vertices: f64 [V, 3], mm, head axes.
      seen: by the cameras.
      unwrapped: the texture from their pictures.
      correlation: of it with them, the mean over the cameras.
      outlines: how the mesh's outlines lie to the masks', and which mistake explains it; None where that was not looked at.
    """

    frame: int
    vertices: np.ndarray
    seen: tuple[Seen, ...]
    unwrapped: Unwrapped
    correlation: float
    outlines: reprojection.Report | None

    def median(self, name: str) -> float:
        """Of an attribute of `Seen` over the cameras; NaN where none has it."""
        values = [value for one in self.seen if np.isfinite(value := getattr(one, name))]
        return float(np.median(values)) if values else float("nan")


def look(plan: Plan, frame: int, *, outlines: bool = True) -> Review:
    """Looks at a frame.

    Args:
      plan: the conversion's.
      frame: which.
      outlines: whether mistakes of importers are tried on outlines, which takes most of the time.

    Raises:
      ValueError: none of its pictures can be read, or its mesh cannot.
    """
    vertices, pose = plan.surface(frame)
    cameras = [camera for camera in plan.rig.cameras if (camera.name, frame) in plan.rig.images]
    chosen = [cameras[i] for i in np.unique(np.linspace(0, len(cameras) - 1, MOST_CAMERAS).round().astype(int))]
    views: list[tuple[RigCamera, View]] = []
    faults = []
    for camera in chosen:
        try:
            picture, mask = work.straightened(plan, camera, frame, Straightener(camera, plan.targets[camera.name]))
        except ValueError as e:
            faults.append(str(e))
            continue
        views.append((camera, View(picture, plan.seen_from(camera, pose), mask)))
    if not views:
        raise ValueError(faults[0])
    chart = texture.texels(plan.topology, min(_TEXELS, plan.request.texture_size))
    samples = [texture.sample(vertices, plan.topology.faces, chart, view) for _, view in views]
    whole = texture.blend(samples, chart)
    agreements = _agreements(samples, chart)
    seen = [_seen(plan, camera, view, vertices, value) for (camera, view), value in zip(views, agreements, strict=True)]
    return Review(
        frame, vertices, tuple(seen), whole, _correlation(samples, whole, chart), _outlines(plan, frame, chosen) if outlines else None
    )


def faults(plan: Plan, review: Review) -> list[str]:
    """What cannot be right, a line each; the most telling first."""
    lines = []
    if review.median("inside") < INSIDE[0]:
        lines.append(f"{review.median('inside'):.0%} of the mesh falls into the images (median of the cameras){_meant(plan, review.frame)}")
    if review.median("on_mask") < ON_MASK[0]:
        lines.append(f"{review.median('on_mask'):.0%} of the mesh's silhouette lies on the masks: are masks white where the person is?")
    elif review.median("iou") < IOU[0]:
        lines.append(f"the mesh covers {review.median('iou'):.0%} of what it and the masks cover (IoU): is the scale right?")
    for fault in review.outlines.faults if review.outlines else ():
        if fault.known and fault.after < SURE * fault.before:
            lines.insert(0, f"it looks like {fault.name}: outlines lie {fault.before:.2f} pixels apart, {fault.after:.2f} without")
    agreement = review.median("agreement")
    if agreement < AGREEMENT[0] or not np.isfinite(agreement):
        told = (
            "cameras see nothing of the surface in common" if not np.isfinite(agreement) else "cameras see other colours on the same skin"
        )
        why = f"frames out of step, axes or rotations of another convention?{_meant(plan, review.frame)}"
        lines.append(f"{told} (correlation {agreement:.2f}): {why}")
    return lines


def doubts(review: Review) -> list[str]:
    """What may be wrong, a line each: medians, then single cameras."""
    lines = review.outlines.lines()[1:] if review.outlines else []
    kinds = {"inside": (INSIDE, "of the mesh in the image"), "on_mask": (ON_MASK, "of the silhouette on the mask")}
    kinds |= {"iou": (IOU, "IoU of silhouette and mask"), "agreement": (AGREEMENT, "colours as the other cameras'")}
    for name, ((_, fair), words) in kinds.items():
        values = np.array([getattr(one, name) for one in review.seen])
        low = np.flatnonzero(values < fair)
        if len(low):
            named = ", ".join(f"{review.seen[i].camera.name} {values[i]:.2f}" for i in low[np.argsort(values[low])][:4])
            lines.append(f"{words}: below {fair:.2g} in {len(low)} of {len(values)} cameras ({named}): see the pictures")
    return lines


def table(review: Review) -> list[str]:
    """The figures, a line each."""
    names = {"inside": "mesh inside the image", "on_mask": "silhouette on the mask", "iou": "IoU of silhouette and mask"}
    names |= {"agreement": "colours as the other cameras see them (correlation)"}
    lines = []
    for name, words in names.items():
        values = [value for one in review.seen if np.isfinite(value := getattr(one, name))]
        if values:
            lines.append(f"{words}: {np.median(values):.3f} (median of {len(values)} cameras; {min(values):.3f} to {max(values):.3f})")
    if review.outlines:
        lines.append(f"outlines of mesh and masks: {review.outlines.lines()[0]}")
    covered = float((review.unwrapped.coverage > 0).mean())
    return [*lines, f"texture: {covered:.0%} of the texels seen; correlation with the pictures {review.correlation:.3f}"]


def _outlines(plan: Plan, frame: int, cameras: Sequence[RigCamera]) -> reprojection.Report | None:
    """Of the mesh as the tracker has it, and the masks as the cameras have them, through their lenses."""
    world, faces, found = plan.meshes.read(frame), plan.tracked.faces, []
    for camera in cameras:
        path = plan.rig.masks.get((camera.name, frame))
        if path is None:
            continue
        mask = straighten.read_mask(path)
        # What is empty, full or of another size is told of as a picture that cannot be used.
        if mask.shape == camera.size and mask.min() < _FOREGROUND <= mask.max():
            found.append(reprojection.Silhouette(camera.name, world, faces, mask))
    return reprojection.report(plan.rig.cameras, found) if found else None


def _seen(plan: Plan, camera: RigCamera, view: View, vertices: np.ndarray, agreement: float) -> Seen:
    height, width = view.image.shape[:2]
    column, row, depth = zbuffer.project(vertices[np.unique(plan.topology.faces)], view.camera).T
    inside = (depth > 0) & (column >= -0.5) & (column <= width - 0.5) & (row >= -0.5) & (row <= height - 0.5)
    on_mask = iou = float("nan")
    if view.mask is not None:
        covers = texture.silhouette(vertices, plan.topology.faces, view.camera, height, width)
        both = (covers & view.mask).sum()
        on_mask, iou = float(both / covers.sum()) if covers.any() else 0.0, float(both / max((covers | view.mask).sum(), 1))
    return Seen(camera, view, float(inside.mean()), on_mask, iou, agreement)


def _agreements(samples: Sequence[tuple], chart: Texels) -> list[float]:
    """Of each camera's colours with the weighted mean of the others'."""
    count = len(chart.at)
    total, colour = np.zeros(count), np.zeros((count, 3))
    for which, seen, weight, _ in samples:
        total[which] += weight
        colour[which] += weight[:, None] * seen
    found = []
    for which, seen, weight, _ in samples:
        rest = total[which] - weight
        common = rest > 1e-3 * weight
        if common.sum() < min(_FEWEST, count // 20):
            found.append(float("nan"))
            continue
        others = (colour[which] - weight[:, None] * seen)[common] / rest[common, None]
        found.append(_correlate(seen[common], others))
    return found


def _correlation(samples: Sequence[tuple], whole: Unwrapped, chart: Texels) -> float:
    """Of the texture, from all cameras, with what each sees; the mean over the cameras."""
    colours = whole.colour.reshape(-1, 3)[chart.at]
    return float(np.mean([_correlate(seen, colours[which]) for which, seen, _, _ in samples if len(which) > 2] or [0.0]))


def _correlate(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-12))


def _meant(plan: Plan, frame: int) -> str:
    """Another reading of the numbers under which the mesh falls into the images, in words for a message."""
    capture = plan.capture(plan.request.out)
    vertices, pose = plan.surface(frame)
    found = projection.Reference(frame, vertices @ pose[:, :3].T + pose[:, 3], pose)
    text = projection.other_reading(found, capture, np.arange(len(capture.cameras)))
    return f"; they would with {text}" if text else ""
