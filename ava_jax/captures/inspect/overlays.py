"""A frame's mesh, keypoints and segmentation over images of some cameras; and the contact sheet."""

import concurrent.futures
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image, ImageDraw, ImageFont

from ava_jax.captures import photographs
from ava_jax.captures.inspect.subject import Frame, Subject
from ava_jax.captures.parts import NOT_PERSON, PARTS
from ava_jax.core import zbuffer
from ava_jax.viz import legend, sheet, wire

# Of the parts, by number: apart in hue and in lightness; the background keeps the photograph's colours.
TINTS = (
    (0, 0, 0),
    (150, 90, 220),
    (255, 190, 120),
    (120, 120, 130),
    (60, 130, 255),
    (0, 220, 220),
    (255, 60, 110),
    (220, 20, 60),
    (255, 255, 160),
    (170, 220, 90),
    (255, 120, 200),
)
_UNKNOWN = (255, 0, 255)  # of class numbers that no part has
_TINT = 0.55  # how much of a colour shows over the photograph
LOW, HIGH = (255, 90, 60), (120, 255, 120)  # keypoints of confidence 0 and 1
_BEHIND = 15.0  # mm behind the mesh, from which a keypoint is hidden: landmarks lie in the flesh by a few
_WIRE = 0.33  # strength of the mesh: whole faces are under dense ones
_TWO_COLUMNS = 1  # strips of so many pictures stand side by side


class Overlay(NamedTuple):
    """A drawn frame.

    Attributes:
      sheet: the picture.
      cameras: what is said of each camera that is shown, by its id.
    """

    sheet: Image.Image
    cameras: dict[str, dict[str, float]]


def overlay(subject: Subject, frame: Frame, cameras: Sequence[int], height: int) -> Overlay:
    """Draws a frame: a strip a camera, of its image, the mesh, keypoints and segmentation over it; what there is none of is left out.

    Args:
      subject: the capture.
      frame: of it.
      cameras: indices, one or more.
      height: pixels of a picture, without the margin around it.
    """
    faces = _faces(subject, frame)
    inside = subject.inside(frame)
    labelled = any(subject.coverage.has("segmentation", subject.capture.cameras[i], frame.number) for i in cameras)
    strips, found, classes = [], {}, set()
    for camera in cameras:
        name = subject.capture.cameras[camera]
        picture = subject.photograph(camera, frame.number, height)
        why = "" if picture is not None else _why_none(subject, "image", name, frame.number)
        panels = [("image", np.asarray(wire.framed(blank(subject, height, why) if picture is None else picture, height)))]
        shown = blank(subject, height, "") if picture is None else picture
        figures: dict[str, float] = {}
        depth = None
        if faces is not None:
            pixels = photographs.project(frame.vertices, subject.capture, camera, len(shown))
            depth = _depth(pixels, faces, shown.shape[:2])
            figures["inside"] = float(inside[camera])
            panels.append((f"mesh: {percent(inside[camera])} inside", wire.overlay(shown, pixels, faces, height, _WIRE)))
        if frame.keypoints is not None:
            panels.append(_keypoints(subject, frame, camera, shown, depth, height))
        if labelled:
            labels = subject.labels(camera, frame.number, height)
            panels.append(_segmentation(subject, shown, labels, depth, name, frame.number, figures, height))
            classes |= set() if labels is None else set(np.unique(labels).tolist())
        strips.append(sheet.Strip(f"camera {name}", tuple(panels)))
        found[name] = figures
    panel_height = round(height * (1 + 2 * wire.MARGIN))
    whole = sheet.compose(strips, 2 if len(strips[0].panels) <= _TWO_COLUMNS else 1, panel_height)
    entries = _entries(classes, frame.keypoints is not None)
    return Overlay(legend.stacked([whole, legend.legend(entries, whole.width)]) if entries else whole, found)


def contact(subject: Subject, frames: Sequence[int], cameras: Sequence[int], height: int) -> Image.Image:
    """A strip a frame, of the images of some cameras.

    Args:
      subject: the capture.
      frames: ids, one or more, in order.
      cameras: indices, one or more.
      height: pixels of an image.
    """
    capture = subject.capture
    todo = [(camera, frame) for frame in frames for camera in cameras]
    with (
        tqdm.tqdm(total=len(todo), desc="contact sheet", unit="image", delay=2, dynamic_ncols=True, leave=False) as bar,
        concurrent.futures.ThreadPoolExecutor(subject.threads) as pool,
    ):

        def read(one: tuple[int, int]) -> np.ndarray:
            picture = subject.photograph(*one, height)
            bar.update()
            name = capture.cameras[one[0]]
            return blank(subject, height, _why_none(subject, "image", name, one[1])) if picture is None else picture

        pictures = list(pool.map(read, todo))
    strips = []
    for i, frame in enumerate(frames):
        segment = capture.segments[np.flatnonzero(capture.frames == frame)[0]]
        mine = pictures[i * len(cameras) : (i + 1) * len(cameras)]
        panels = tuple((capture.cameras[camera], picture) for camera, picture in zip(cameras, mine, strict=True))
        strips.append(sheet.Strip(f"{segment}, frame {frame}", panels))
    return sheet.compose(strips, _columns(strips, height), height)


def blank(subject: Subject, height: int, words: str) -> np.ndarray:
    """A dark picture of a photograph's size that says why there is none, u8 [H, W, 3]."""
    of = photographs.size(subject.capture, height)
    picture = Image.new("RGB", of[::-1], (40, 34, 36))
    font = ImageFont.load_default(size=max(of[0] // 13, 9))
    ImageDraw.Draw(picture).text((of[1] / 2, of[0] / 2), words, fill=(230, 140, 120), font=font, anchor="mm", align="center")
    return np.asarray(picture)


def tinted(picture: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A photograph, u8 [H, W, 3], in the colours of its parts, whose numbers are `labels`, u8 [H, W]: u8 [H, W, 3]."""
    table = np.full((256, 3), _UNKNOWN, np.float32)
    table[: len(TINTS)] = TINTS
    strength = np.where(labels == 0, 0.0, _TINT)[..., None]
    dim = np.where((labels == 0)[..., None], 0.45 * picture, picture)
    return np.rint(dim * (1 - strength) + table[labels] * strength).astype(np.uint8)


def percent(share: float) -> str:
    """A share, 0 to 1, in words; rounded down, so that 100% is all."""
    return f"{np.floor(1000 * share + 1e-9) / 10:.4g}%"


def _keypoints(
    subject: Subject, frame: Frame, camera: int, picture: np.ndarray, depth: np.ndarray | None, height: int
) -> tuple[str, np.ndarray]:
    """Caption and picture of a frame's keypoints. `depth`: of the mesh, f64 [H, W]; None where there is none."""
    rows = frame.keypoints
    pixels = photographs.project(rows[:, 1:4], subject.capture, camera, len(picture))
    hidden = np.zeros(len(rows), bool)
    if depth is not None:
        column, row = np.clip(np.nan_to_num(pixels[:, :2]), -1, 1 << 20).round().astype(int).T
        within = (column >= 0) & (row >= 0) & (column < picture.shape[1]) & (row < picture.shape[0])
        hidden[within] = pixels[within, 2] > depth[row[within], column[within]] + _BEHIND
    trust = np.clip(rows[:, 4] / np.maximum(rows[:, 5], 1), 0, 1)[:, None]
    colours = np.rint((1 - trust) * LOW + trust * np.array(HIGH)).astype(np.uint8)
    behind = f", {hidden.sum()} behind the mesh (rings)" if hidden.any() else ""
    return f"{len(rows)} keypoints{behind}", wire.dots(picture, pixels, colours, hidden, height)


def _segmentation(
    subject: Subject,
    picture: np.ndarray,
    labels: np.ndarray | None,
    depth: np.ndarray | None,
    camera: str,
    frame: int,
    figures: dict[str, float],
    height: int,
) -> tuple[str, np.ndarray]:
    """Caption and picture of a camera's segmentation; adds to `figures` how much of the mesh that it sees lies on the person."""
    if labels is None:
        drawn = blank(subject, height, _why_none(subject, "segmentation", camera, frame))
        return "segmentation", np.asarray(wire.framed(drawn, height))
    caption = "segmentation"
    covered = None if depth is None else np.isfinite(depth)
    if covered is not None and covered.any():
        figures["on_person"] = float((~np.isin(labels[covered], NOT_PERSON)).mean())
        caption = f"segmentation: {percent(figures['on_person'])} of the mesh on it"
    return caption, np.asarray(wire.framed(tinted(picture, labels), height))


def _depth(pixels: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth of the surface at each pixel, f64 [H, W], mm; infinite where there is none."""
    triangle, weights = zbuffer.rasterize(pixels, faces, *size)
    return np.where(triangle >= 0, (pixels[faces[triangle], 2] * weights).sum(-1), np.inf)


def _faces(subject: Subject, frame: Frame) -> np.ndarray | None:
    """Of a frame's mesh, int [M, 3]; None where it has no mesh, or nothing says its faces."""
    topology = None if frame.vertices is None else subject.topology(len(frame.vertices))
    return None if topology is None else topology.faces


def _why_none(subject: Subject, kind: str, camera: str, frame: int) -> str:
    at = subject.coverage.row(kind, camera)
    row = None if at is None else subject.coverage.rows[at]
    if row is None or not row.exists:
        return "no files"
    state = subject.coverage.of(kind, camera)[subject.capture.frames == frame]
    return "absent" if not state.any() else "unreadable"


def _entries(classes: set[int], keypoints: bool) -> list[tuple[str, legend.Colour]]:
    """Of the legend."""
    entries = [(PARTS[i] if i < len(PARTS) else f"class {i}", TINTS[i] if i < len(TINTS) else _UNKNOWN) for i in sorted(classes - {0})]
    return entries + ([("keypoint of confidence 0", LOW), ("of confidence 1", HIGH)] if keypoints else [])


def _columns(strips: Sequence[sheet.Strip], height: int) -> int:
    """Columns of a sheet of many strips, which is to be about as wide as high."""
    picture = strips[0].panels[0][1]
    width = len(strips[0].panels) * height * picture.shape[1] / picture.shape[0]
    return max(1, min(len(strips), round((len(strips) * (height + 56) / width) ** 0.5)))
