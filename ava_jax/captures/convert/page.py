"""A page of pictures of a conversion, on which a wrong convention is seen at once: HTML and JPEGs in one folder."""

import html
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from ava_jax.captures import shading
from ava_jax.captures.convert.plan import Plan
from ava_jax.captures.convert.review import Review, Seen
from ava_jax.core import zbuffer
from ava_jax.core.cameras import look_at
from ava_jax.core.types import Cameras
from ava_jax.data import files
from ava_jax.viz import html as page
from ava_jax.viz import sheet, wire

INDEX = "index.html"
_CAMERAS = 4  # whose pictures are shown
_HEIGHT = 400  # pixels of a picture
_RIM = (255, 60, 200)  # of the mask
_FAR = 1000.0  # mm, of the views along the head's axes


def write(folder: pathlib.Path, plan: Plan, reviews: Sequence[Review], lines: Sequence[str]) -> pathlib.Path:
    """Writes the page.

    Args:
      folder: made where it is not there.
      plan: the conversion's.
      reviews: of one frame or more.
      lines: the report.

    Returns:
      The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for review in reviews:
        for name, picture, words in _pictures(plan, review):
            file = f"{name}_{review.frame:06d}.jpg"
            sheet.save(picture, folder / file)
            parts.append(f"<h2>Frame {review.frame}: {html.escape(words)}</h2>\n<img src='{file}'>")
    report = html.escape("\n".join(lines))
    files.replace(folder / INDEX, page.document(plan.request.name, [f"<pre>{report}</pre>", *parts]))
    return folder / INDEX


def _pictures(plan: Plan, review: Review) -> list[tuple[str, Image.Image, str]]:
    """Name, picture and title of each."""
    height = round(_HEIGHT * (1 + 2 * wire.MARGIN))
    shown = _shown(review)
    over = [(_caption(one), _overlay(plan, review, one)) for one in shown]
    title = "the tracked mesh over the undistorted images; the mask's rim in pink"
    square = _resized(review.unwrapped.colour)
    cover = _resized(np.repeat(np.clip(review.unwrapped.coverage * 128, 0, 255)[..., None], 3, axis=-1))
    seen = f"{(review.unwrapped.coverage > 0).mean():.0%} of the texels seen"
    maps = [(f"texture, v = 1 on top; {seen}", square), ("coverage: grey, one camera straight on; white, two or more", cover)]
    views = [(words, _along(plan, review, way)) for words, way in (("front: nose to you", (0, 0, 1)), ("its left side", (1, 0, 0)))]
    return [
        ("mesh", sheet.compose([sheet.Strip(title, tuple(over))], 1, height), "mesh over images"),
        ("texture", sheet.compose([sheet.Strip("unwrapped by visibility", tuple(maps))], 1, _HEIGHT), "texture"),
        ("head", sheet.compose([sheet.Strip("head axes: must stand upright and look so", tuple(views))], 1, _HEIGHT), "head axes"),
    ]


def _shown(review: Review) -> list[Seen]:
    """The cameras that agree least, most, and some between."""
    score = [np.nan_to_num(one.iou, nan=one.inside) + np.nan_to_num(one.agreement) for one in review.seen]
    order = np.argsort(score, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, _CAMERAS).round().astype(int))]
    return [review.seen[i] for i in sorted(chosen.tolist())]


def _caption(one: Seen) -> str:
    masked = "" if np.isnan(one.iou) else f", IoU {one.iou:.2f}"
    return f"{one.camera.name}: {one.inside:.0%} inside{masked}, colours {one.agreement:.2f}"


def _overlay(plan: Plan, review: Review, one: Seen) -> np.ndarray:
    picture = one.view.image
    if one.view.mask is not None:
        rim = one.view.mask ^ ndimage.binary_erosion(one.view.mask, iterations=max(1, round(picture.shape[0] / 300)))
        picture = np.where(rim[..., None], np.array(_RIM, np.uint8), picture)
    return wire.overlay(picture, zbuffer.project(review.vertices, one.view.camera), plan.topology.faces, _HEIGHT)


def _resized(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).resize((_HEIGHT, _HEIGHT), Image.Resampling.BILINEAR))


def _along(plan: Plan, review: Review, way: tuple[float, float, float]) -> np.ndarray:
    """The mesh shaded, seen from `way` in the head's axes, with the origin in the middle."""
    faces, vertices = plan.topology.faces, review.vertices
    size = 1.15 * 2 * np.abs(vertices[np.unique(faces)]).max()
    position = np.array(way, float) * _FAR * 10
    focal = np.full(2, _HEIGHT * 10 * _FAR / size)
    camera = Cameras(look_at(position, np.zeros(3), (0, 1, 0)), position, focal, np.full(2, (_HEIGHT - 1) / 2))
    picture, covered = shading.shaded(vertices, faces, camera, _HEIGHT, _HEIGHT, (np.array(way, float) + (0.2, 0.6, 0.2)) / 1.3)
    shade = np.where(covered[..., None], picture, np.array((30, 31, 36), np.uint8))
    shade[_HEIGHT // 2, :] = shade[:, _HEIGHT // 2] = (90, 92, 100)  # the axes through the origin
    return shade
