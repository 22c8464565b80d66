"""A rig's recording to a capture: planned, reviewed, converted in pieces that survive a kill, put together, renamed."""

import contextlib
import json
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from ava_jax.captures import chart, writing
from ava_jax.captures.ava256 import TOPOLOGY
from ava_jax.captures.convert import page, plan, review, texture, work
from ava_jax.captures.convert.plan import Plan
from ava_jax.captures.convert.request import Request
from ava_jax.captures.convert.work import Done, Pictures
from ava_jax.core.mesh import Topology
from ava_jax.data import archive, files, images, mesh_files
from ava_jax.data.workers import Workers

META = "convert.json"  # in the capture's folder: what it was made from, and how
PICTURES = "pictures"  # there too: the page
_MOST_FAULTS = 0.05  # of the pictures or frames that cannot be read
_MEAN_OF = 64  # frames that the mean texture is of
_REVIEWED = 3  # frames on the page
_PRIMITIVES_PER_SIDE = 128  # of the full model, which the UV chart is held against


class Converted(NamedTuple):
    """What came of it: the capture's folder, the page of pictures, the report, and whether anything was written."""

    folder: pathlib.Path
    page: pathlib.Path
    lines: tuple[str, ...]
    written: bool


def convert(request: Request, say: Callable[[str], None] = print) -> Converted:
    """Writes a capture; run again after a kill, it goes on.

    Args:
      request: what to convert.
      say: is told the report, line by line, as it comes.

    Raises:
      ValueError: something is missing or cannot be right; one line that says what, and what to do.
    """
    out = request.out.expanduser()
    folder, partial = out / request.name, out / f".{request.name}.partial"
    if folder.exists():
        if _record(folder / META).get("request") == _plain(request.record()):
            return Converted(folder, folder / PICTURES / page.INDEX, (), False)
        raise ValueError(f"{folder}: is there already, made otherwise; remove it first, or choose another --out, --subject or --recorded.")
    made = plan.make(request)
    _require_topology(out / TOPOLOGY, made)
    if _record(partial / META) != _plain(request.record()):
        shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, exist_ok=True)
    files.replace(partial / META, json.dumps(request.record(), indent=1))
    lines = [*made.notes, *_chart(made)]
    lines += [f"pictures: {made.size[0]} x {made.size[1]} (height x width); {len(made.frames)} frames, {len(made.rig.cameras)} cameras"]
    _tell(say, lines)
    reviews = _review(made, partial / PICTURES, lines, say)
    unread = _work(made, partial)
    lines += unread
    _tell(say, unread)
    _assemble(made, partial, reviews, lines)
    _publish(made, partial, folder)
    return Converted(folder, folder / PICTURES / page.INDEX, tuple(lines), True)


def _chart(made: Plan) -> list[str]:
    """What the full model makes of the UV chart, and what is probably not meant of it.

    Raises:
      ValueError: UVs lie outside of 0..1, or islands upon each other.
    """
    chart.require(made.topology, f"topology {made.request.topology or made.request.meshes}")
    found = chart.measure(made.topology, made.surface(made.neutral)[0], per_side=_PRIMITIVES_PER_SIDE)
    return [f"UV chart: {found.line()}", *(f"warning: UV chart: {doubt}" for doubt in found.doubts())]


def _tell(say: Callable[[str], None], lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """As it is read again from JSON."""
    return json.loads(json.dumps(record))


def _record(path: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def _require_topology(path: pathlib.Path, made: Plan) -> None:
    """Captures of one folder have one topology: ValueError where another one is there."""
    if not path.exists():
        return
    there = mesh_files.read_topology(path, len(made.surface(made.neutral)[0]))
    if not _same(there, made.topology):
        raise ValueError(f"{path}: the captures there have meshes of another topology; choose another --out.")


def _same(a: Topology, b: Topology) -> bool:
    return (
        np.array_equal(a.faces, b.faces)
        and np.array_equal(a.face_uvs, b.face_uvs)
        and a.uvs.shape == b.uvs.shape
        and bool(np.abs(a.uvs - b.uvs).max() < 1e-5)
    )


def _review(made: Plan, folder: pathlib.Path, lines: list[str], say: Callable[[str], None]) -> list[review.Review]:
    """Looks at the neutral frame and some others, writes the page; ValueError where conventions cannot be right."""
    others = plan.thinned([frame for frame in made.frames if frame != made.neutral] or [made.neutral], _REVIEWED - 1)
    reviews = [review.look(made, frame, outlines=frame == made.neutral) for frame in dict.fromkeys([made.neutral, *others])]
    found = [f"frame {one.frame}: {line}" for one in reviews for line in (*review.table(one), *(f"doubt: {d}" for d in review.doubts(one)))]
    lines += found
    _tell(say, found)
    wrong = review.faults(made, reviews[0])
    shown = page.write(folder, made, reviews, [*lines, *(f"WRONG: {fault}" for fault in wrong)])
    say(f"look at {shown}")
    if wrong and not made.request.force:
        raise ValueError(f"the conventions cannot be right: {wrong[0]}. {shown} shows it; --force goes on.")
    lines += [f"forced, though {fault}" for fault in wrong]
    return reviews


def _work(made: Plan, partial: pathlib.Path) -> list[str]:
    """All pieces; lines on what could not be read."""
    cameras, frames = made.rig.cameras, made.frames
    for camera in cameras:
        work.pictures_path(partial, made.numbers[camera.name], 0).parent.mkdir(parents=True, exist_ok=True)
    work.frame_path(partial, 0).parent.mkdir(exist_ok=True)
    pieces = [Pictures(camera, first) for camera in range(len(cameras)) for first in range(0, len(frames), work.CHUNK)]
    listed = set(frames)
    total = sum(1 for camera, frame in made.rig.images if frame in listed)
    faults = []
    with _mapped(made, partial, None) as run:
        faults += _all(run(work.make_pictures, pieces), total, "pictures", "image")
        faults += _all(run(work.make_frame, list(frames)), len(frames), "textures", "frame")
    left = [frame for frame in frames if work.frame_path(partial, frame).exists()]
    if made.neutral not in left:
        raise ValueError(f"the neutral frame cannot be read: {faults[-1]}")
    with _mapped(made, partial, _mean(made, partial, left)) as run:
        _all(run(work.fill, left), len(left), "filled", "frame")
    return [f"left out: {fault}" for fault in faults]


@contextlib.contextmanager
def _mapped(made: Plan, partial: pathlib.Path, mean: np.ndarray | None) -> Iterator[Callable]:
    """Something like `map`, in as many processes as were asked for."""
    begin = (made, partial, mean)
    if made.request.jobs == 1:
        work.begin(*begin)
        yield map
        return
    with Workers(made.request.jobs, work.begin, begin) as pool:
        yield pool.map


def _all(done: Iterator[Done], total: int, name: str, unit: str) -> list[str]:
    """Waits for pieces; what could not be read. ValueError where that is too much."""
    faults: list[str] = []
    with tqdm.tqdm(total=total, desc=name, unit=unit, dynamic_ncols=True) as progress:
        for piece in done:
            progress.update(piece.count)
            faults += piece.faults
            if len(faults) > max(_MOST_FAULTS * total, 1):
                raise ValueError(f"{len(faults)} of {progress.n} cannot be read, the first: {faults[0]}")
    return faults


def _mean(made: Plan, partial: pathlib.Path, frames: list[int]) -> np.ndarray | None:
    """The mean texture of some frames, u8 [T, T, 3]; what none shows is filled from its surroundings."""
    if not made.request.fill:
        return None
    total, weight = 0.0, 0.0
    for frame in plan.thinned(frames, _MEAN_OF):
        found = work.read_frame(partial, frame)[2]
        total, weight = total + found.colour * found.coverage[..., None], weight + found.coverage
    mean = total / np.maximum(weight, 1e-9)[..., None]
    return np.clip(np.rint(texture.push_pull(mean, weight > 0)), 0, 255).astype(np.uint8)


def _assemble(made: Plan, partial: pathlib.Path, reviews: Sequence[review.Review], lines: Sequence[str]) -> None:
    """The pieces as a capture's files, in partial/capture."""
    whole = partial / "capture"
    shutil.rmtree(whole, ignore_errors=True)
    decoder = whole / "decoder"
    frames = [frame for frame in made.frames if work.frame_path(partial, frame).exists()]
    names = dict(zip(made.frames, made.segments, strict=True))
    writing.calibration(decoder, sorted((made.pinhole(c) for c in made.rig.cameras), key=lambda c: int(c.name)), made.size)
    writing.frame_list(decoder, ((names[frame], frame) for frame in frames))
    for camera in tqdm.tqdm(made.rig.cameras, desc="zips", unit="camera", dynamic_ncols=True):
        number = made.numbers[camera.name]
        writing.pictures(decoder, number, _staged(made, partial, number, ".avif"))
        if any(key[0] == camera.name for key in made.rig.masks):
            writing.segmentations(decoder, number, _staged(made, partial, number, ".png"))
    writing.poses(decoder, ((frame, work.read_frame(partial, frame)[1]) for frame in frames))
    writing.vertices(decoder, ((frame, work.read_frame(partial, frame)[0]) for frame in frames))
    writing.textures(decoder, _textures(partial, frames))
    archive.write(decoder / "uv_image" / "coverage.zip", ((f"coverage/{frame:06d}.png", _coverage(partial, frame)) for frame in frames))
    meta = {
        "request": made.request.record(),
        "colours": "linear" if made.request.linear else "as the images, sRGB as a rule",
        "unseen_texels": "filled from the mean texture" if made.request.fill else "0",
        "mm_per_unit": made.mm,
        "cameras": {camera.name: made.numbers[camera.name] for camera in made.rig.cameras},
        "neutral_frame": made.neutral,
        "report": list(lines),
    }
    files.replace(whole / META, json.dumps(meta, indent=1) + "\n")
    page.write(whole / PICTURES, made, reviews, lines)


def _staged(made: Plan, partial: pathlib.Path, number: str, suffix: str) -> Iterator[tuple[int, bytes]]:
    for first in range(0, len(made.frames), work.CHUNK):
        with zipfile.ZipFile(work.pictures_path(partial, number, first)) as pieces:
            for name in pieces.namelist():
                if name.endswith(suffix):
                    yield int(name.removesuffix(suffix)), pieces.read(name)


def _textures(partial: pathlib.Path, frames: Sequence[int]) -> Iterator[tuple[int, bytes, np.ndarray]]:
    for frame in frames:
        data = work.texture_path(partial, frame).read_bytes()
        yield frame, data, images.decode(data)


def _coverage(partial: pathlib.Path, frame: int) -> bytes:
    with zipfile.ZipFile(work.frame_path(partial, frame)) as pieces:
        return pieces.read("coverage.png")


def _publish(made: Plan, partial: pathlib.Path, folder: pathlib.Path) -> None:
    """The capture under its name, and the topology beside it."""
    topology = folder.parent / TOPOLOGY
    if not topology.exists():
        beside = topology.with_name(f".{topology.name}.{made.request.name}")
        mesh_files.write_topology(beside, made.topology, made.surface(made.neutral)[0])
        beside.replace(topology)
    (partial / "capture").rename(folder)
    shutil.rmtree(partial, ignore_errors=True)
