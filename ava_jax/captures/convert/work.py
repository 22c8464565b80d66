"""The work of a conversion, in pieces that processes take: pictures of a camera, a frame's mesh and texture, a texture filled.

Each piece writes one file, whole or not at all; one that is there is not done again.
"""

import io
import pathlib
import zipfile
from typing import NamedTuple

import numpy as np

from ava_jax.captures import writing
from ava_jax.captures.convert import straighten, texture
from ava_jax.captures.convert.plan import Plan
from ava_jax.captures.convert.straighten import Straightener
from ava_jax.captures.convert.texture import Texels, Unwrapped, View
from ava_jax.captures.rigs.types import RigCamera
from ava_jax.data import archive, files, images, mesh_files

CHUNK = 32  # frames of a camera in one piece
_BODY = 2  # the class that a mask's pixels get: any but 0 is foreground
_COVERED = 255.0  # a texel that one camera sees straight on


class Pictures(NamedTuple):
    """A piece: the pictures of a camera, by its place in the rig, of frames from number `first` of the plan's on."""

    camera: int
    first: int


class Done(NamedTuple):
    """What came of a piece: how many pictures or frames it was, and what could not be read, a line each."""

    count: int
    faults: tuple[str, ...] = ()


class _Process:
    """What a process keeps: the plan, the folder, one camera's map at a time."""

    plan: Plan
    folder: pathlib.Path
    chart: Texels
    mean: np.ndarray | None = None
    straightener: tuple[int, Straightener] | None = None


def begin(plan: Plan, folder: pathlib.Path, mean: np.ndarray | None = None) -> None:
    """Tells a process what the pieces are of.

    Args:
      plan: the conversion's.
      folder: where pieces are kept.
      mean: the capture's mean texture, u8 [T, T, 3], for `fill`.
    """
    _Process.plan, _Process.folder, _Process.mean = plan, folder, mean
    _Process.chart = texture.texels(plan.topology, plan.request.texture_size)
    _Process.straightener = None


def pictures_path(folder: pathlib.Path, number: str, first: int) -> pathlib.Path:
    """The zip of a piece of pictures."""
    return folder / "images" / f"cam{number}" / f"{first:07d}.zip"


def frame_path(folder: pathlib.Path, frame: int) -> pathlib.Path:
    """The zip of a frame's mesh and texture."""
    return folder / "frames" / f"{frame:06d}.zip"


def texture_path(folder: pathlib.Path, frame: int) -> pathlib.Path:
    """The AVIF of a frame's texture."""
    return folder / "textures" / f"{frame:06d}.avif"


def make_pictures(piece: Pictures) -> Done:
    """Straightens a camera's pictures and masks of some frames."""
    plan = _Process.plan
    camera = plan.rig.cameras[piece.camera]
    path = pictures_path(_Process.folder, plan.numbers[camera.name], piece.first)
    frames = [frame for frame in plan.frames[piece.first : piece.first + CHUNK] if (camera.name, frame) in plan.rig.images]
    if path.exists():
        return Done(len(frames))
    members, faults = [], []
    for frame in frames:
        try:
            picture, mask = straightened(plan, camera, frame, _straightener(piece.camera))
        except ValueError as e:
            faults.append(str(e))
            continue
        members.append((f"{frame:06d}.avif", images.encode(picture, "avif", **writing.AVIF | {"quality": plan.request.quality})))
        if mask is not None:
            members.append((f"{frame:06d}.png", images.encode(mask.astype(np.uint8) * _BODY, "png")))
    archive.write(path, members)
    return Done(len(frames), tuple(faults))


def straightened(plan: Plan, camera: RigCamera, frame: int, by: Straightener) -> tuple[np.ndarray, np.ndarray | None]:
    """A camera's picture u8 [H, W, 3] and mask, bool [H, W] or None, of a frame.

    Raises:
      ValueError: one cannot be read, or has another size than the camera's; the message names it.
    """
    path, mask_path = plan.rig.images[camera.name, frame], plan.rig.masks.get((camera.name, frame))
    mask = None
    try:
        picture = by.picture(straighten.read_picture(path), linear=plan.request.linear)
        if mask_path is not None:
            path = mask_path
            mask = by.mask(straighten.read_mask(path))
    except ValueError as e:
        raise ValueError(str(e) if str(e).startswith(str(path)) else f"{path}: {e}") from e
    return picture, mask


def make_frame(frame: int) -> Done:
    """Moves a frame's mesh into the head's axes and unwraps its texture."""
    plan, path = _Process.plan, frame_path(_Process.folder, frame)
    if path.exists():
        return Done(1)
    try:
        vertices, pose = plan.surface(frame)
    except ValueError as e:
        return Done(1, (str(e),))
    found = unwrapped(plan, _Process.chart, vertices, [(c, staged_view(plan, _Process.folder, c, frame, pose)) for c in plan.rig.cameras])
    colour = np.clip(np.rint(found.colour), 0, 255).astype(np.uint8)
    coverage = np.clip(np.rint(found.coverage * _COVERED), 0, 255).astype(np.uint8)
    # Seen so little that the byte would be 0 is seen all the same.
    coverage[(found.coverage > 0) & (coverage == 0)] = 1
    members = [
        ("mesh.ply", mesh_files.write_vertices(vertices.astype(np.float32))),
        ("pose.npy", writing.npy(pose)),
        ("texture.png", images.encode(colour, "png", compress_level=1)),
        ("coverage.png", images.encode(coverage, "png")),
    ]
    archive.write(path, members)
    return Done(1)


def unwrapped(plan: Plan, chart: Texels, vertices: np.ndarray, views: list[tuple[RigCamera, View | None]]) -> Unwrapped:
    """The texture of a mesh f64 [V, 3], head axes, from the cameras that have a picture."""
    return texture.unwrap(vertices, plan.topology.faces, chart, [view for _, view in views if view is not None])


def staged_view(plan: Plan, folder: pathlib.Path, camera: RigCamera, frame: int, pose: np.ndarray) -> View | None:
    """A camera's picture of a frame as the pieces have it, seen from the head of pose f64 [3, 4]; None where there is none."""
    at = plan.frames.index(frame) // CHUNK * CHUNK
    path = pictures_path(folder, plan.numbers[camera.name], at)
    with zipfile.ZipFile(path) as pieces:
        names = set(pieces.namelist())
        if f"{frame:06d}.avif" not in names:
            return None
        picture = images.decode(pieces.read(f"{frame:06d}.avif"))
        labels = images.decode_labels(pieces.read(f"{frame:06d}.png")) if f"{frame:06d}.png" in names else None
    return View(picture, plan.seen_from(camera, pose), None if labels is None else labels > 0)


def read_frame(folder: pathlib.Path, frame: int) -> tuple[np.ndarray, np.ndarray, Unwrapped]:
    """Vertices f32 [V, 3], pose f64 [3, 4] and texture of a frame, as its piece has them."""
    with zipfile.ZipFile(frame_path(folder, frame)) as pieces:
        vertices = mesh_files.read_vertices(pieces.read("mesh.ply"))
        pose = np.load(io.BytesIO(pieces.read("pose.npy")), allow_pickle=False)
        colour = images.decode(pieces.read("texture.png")).astype(np.float32)
        coverage = images.decode_labels(pieces.read("coverage.png")).astype(np.float32) / _COVERED
    return vertices, pose, Unwrapped(colour, coverage)


def fill(frame: int) -> Done:
    """Fills what no camera sees of a frame's texture."""
    path = texture_path(_Process.folder, frame)
    if path.exists():
        return Done(1)
    found = read_frame(_Process.folder, frame)[2]
    whole = texture.fill(found, _Process.mean) if _Process.plan.request.fill else found.colour.astype(np.uint8)
    data = images.encode(whole, "avif", **writing.AVIF | {"quality": _Process.plan.request.quality})
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, data)
    return Done(1)


def _straightener(camera: int) -> Straightener:
    kept = _Process.straightener
    if kept is None or kept[0] != camera:
        found = _Process.plan.rig.cameras[camera]
        kept = _Process.straightener = camera, Straightener(found, _Process.plan.targets[found.name])
    return kept[1]
