"""Whether the conventions of a rig can be right: its mesh held against its pictures, before hours are spent on all of them.

Of one frame, for each camera: how much of the mesh falls into the image and onto the mask, how its outline agrees with the mask's, and
whether the colours that the camera sees on the surface are those that the others see there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures import projection
from ava_jax.captures.convert import texture, work
from ava_jax.captures.convert.plan import Plan
from ava_jax.captures.convert.straighten import Straightener
from ava_jax.captures.convert.texture import Texels, Unwrapped, View
from ava_jax.captures.rigs.types import RigCamera
from ava_jax.core import zbuffer

MOST_CAMERAS = 16  # of a rig that are looked at
_TEXELS = 256  # of the texture that colours are compared on
_FEWEST = 500  # texels that two cameras must see
# Below these, on the median over the cameras, conventions cannot be right; between the two numbers they are doubted.
INSIDE, ON_MASK, IOU, AGREEMENT = (0.5, 0.9), (0.6, 0.9), (0.4, 0.9), (0.4, 0.75)
# Where silhouettes and masks are of one thing (IoU over OF_ONE), they tell fractions of pixels: more than these are doubted.
OF_ONE, OFFSET, GROWTH = 0.93, 0.3, 0.006


class Seen(NamedTuple):
    """What one camera says of a frame's mesh.

    Attributes:
      camera: of the rig.
      view: its picture.
      inside: fraction of the vertices that fall into it.
      on_mask: fraction of the mesh's silhouette that lies on the mask; NaN without a mask.
      iou: of silhouette and mask, over both; NaN without.
      offset: f64 [2], right and down, from the silhouette's middle to the mask's, pixels of the camera's own images; NaN without.
      growth: of the mask's area over the silhouette's, as a length: 0 where they are equal; NaN without.
      agreement: correlation of its colours with those that the other cameras see on the same texels; NaN where these are too few.
    """

    camera: RigCamera
    view: View
    inside: float
    on_mask: float
    iou: float
    offset: np.ndarray
    growth: float
    agreement: float


class Review(NamedTuple):
    """A frame's: `frame`; vertices f64 [V, 3], mm, head axes; the cameras' views; the texture from them; its correlation with the pictures."""

    frame: int
    vertices: np.ndarray
    seen: tuple[Seen, ...]
    unwrapped: Unwrapped
    correlation: float

    def median(self, name: str) -> float:
        """Of an attribute of `Seen` over the cameras; NaN where none has it."""
        values = [value for one in self.seen if np.isfinite(value := getattr(one, name))]
        return float(np.median(values)) if values else float("nan")


def look(plan: Plan, frame: int) -> Review:
    """Looks at a frame.

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
    return Review(frame, vertices, tuple(seen), whole, _correlation(samples, whole, chart))


def faults(plan: Plan, review: Review) -> list[str]:
    """What cannot be right, a line each; the most telling first."""
    lines = []
    if review.median("inside") < INSIDE[0]:
        lines.append(f"{review.median('inside'):.0%} of the mesh falls into the images (median of the cameras){_meant(plan, review.frame)}")
    if review.median("on_mask") < ON_MASK[0]:
        lines.append(f"{review.median('on_mask'):.0%} of the mesh's silhouette lies on the masks: are masks white where the person is?")
    elif review.median("iou") < IOU[0]:
        lines.append(f"the mesh covers {review.median('iou'):.0%} of what it and the masks cover (IoU): is the scale right?")
    agreement = review.median("agreement")
    if agreement < AGREEMENT[0] or not np.isfinite(agreement):
        told = (
            "cameras see nothing of the surface in common" if not np.isfinite(agreement) else "cameras see other colours on the same skin"
        )
        lines.append(
            f"{told} (correlation {agreement:.2f}): frames out of step, axes or rotations of another convention?{_meant(plan, review.frame)}"
        )
    return lines


def doubts(review: Review) -> list[str]:
    """What may be wrong, a line each: medians, then single cameras."""
    lines = []
    kinds = {"inside": (INSIDE, "of the mesh in the image"), "on_mask": (ON_MASK, "of the silhouette on the mask")}
    kinds |= {"iou": (IOU, "IoU of silhouette and mask"), "agreement": (AGREEMENT, "colours as the other cameras'")}
    for name, ((_, fair), words) in kinds.items():
        values = np.array([getattr(one, name) for one in review.seen])
        low = np.flatnonzero(values < fair)
        if len(low):
            named = ", ".join(f"{review.seen[i].camera.name} {values[i]:.2f}" for i in low[np.argsort(values[low])][:4])
            lines.append(f"{words}: below {fair:.2g} in {len(low)} of {len(values)} cameras ({named}): see the pictures")
    return lines + _fine_doubts(review)


def _fine_doubts(review: Review) -> list[str]:
    """What outlines tell of lenses and principal points, where mesh and mask are of one thing."""
    if not review.median("iou") > OF_ONE:
        return []
    offsets = np.stack([one.offset for one in review.seen if np.isfinite(one.growth)])
    common = np.median(offsets, axis=0)
    alike = float(np.linalg.norm(common))
    apart = float(np.median(np.linalg.norm(offsets - common, axis=1)))
    growth = review.median("growth")
    lines = []
    if alike > OFFSET and alike > apart:
        lines.append(
            f"masks lie ({common[0]:+.2f}, {common[1]:+.2f}) pixels (right, down) from the mesh in all cameras alike: where is pixel (0, 0), "
            "at the corner or at the centre of the first pixel; is cy counted from above?"
        )
    if apart > OFFSET:
        lines.append(f"masks lie {apart:.2f} pixels from the mesh, in each camera elsewhere: principal points, or p1 and p2 exchanged?")
    if abs(growth) > GROWTH:
        lines.append(f"masks are {growth:+.1%} larger than the mesh: focal lengths, distortion, or the scale of the cameras alone?")
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
    covered = float((review.unwrapped.coverage > 0).mean())
    return [*lines, f"texture: {covered:.0%} of the texels seen; correlation with the pictures {review.correlation:.3f}"]


def _seen(plan: Plan, camera: RigCamera, view: View, vertices: np.ndarray, agreement: float) -> Seen:
    height, width = view.image.shape[:2]
    column, row, depth = zbuffer.project(vertices[np.unique(plan.topology.faces)], view.camera).T
    inside = (depth > 0) & (column >= -0.5) & (column <= width - 0.5) & (row >= -0.5) & (row <= height - 0.5)
    on_mask = iou = growth = float("nan")
    offset = np.full(2, np.nan)
    if view.mask is not None:
        covers = texture.silhouette(vertices, plan.topology.faces, view.camera, height, width)
        both = (covers & view.mask).sum()
        if covers.any() and view.mask.any():
            offset = (_middle(view.mask) - _middle(covers)) / plan.targets[camera.name].scale
            growth = float(np.sqrt(view.mask.sum() / covers.sum()) - 1)
        on_mask, iou = float(both / covers.sum()) if covers.any() else 0.0, float(both / max((covers | view.mask).sum(), 1))
    return Seen(camera, view, float(inside.mean()), on_mask, iou, offset, growth, agreement)


def _middle(mask: np.ndarray) -> np.ndarray:
    """Column and row of a region's middle, f64 [2]."""
    return np.argwhere(mask).mean(0)[::-1]


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
