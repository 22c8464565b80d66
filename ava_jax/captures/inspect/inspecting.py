"""Draws a capture and writes what is drawn: pictures, a page, a summary."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ava_jax.captures.inspect import chart, choice, overlays, page, scene, views
from ava_jax.captures.inspect.choice import Asked
from ava_jax.captures.inspect.coverage import ABSENT, THERE, UNREADABLE, ranges
from ava_jax.captures.inspect.subject import Frame, Subject
from ava_jax.data import files

SUMMARY, INDEX, THUMBNAIL = "summary.json", "index.html", "thumbnail.jpg"
FORMAT = 1
_VIEW = 480  # pixels of a view of the cameras
_SMALL = 160
_LISTED = 400  # letters of the frames that a file lacks


class Request(NamedTuple):
    """What is to be drawn.

    Attributes:
      asked: frames, cameras and segment.
      size: height of a picture, pixels.
      decode: whether every image is decoded, for the coverage.
    """

    asked: Asked = Asked()
    size: int = 400
    decode: bool = False


class Drawn(NamedTuple):
    """What was made of a capture. `pictures`: by file name; `thumbnail`: None of a capture without images."""

    summary: dict[str, Any]
    pictures: dict[str, Image.Image]
    page: str
    thumbnail: Image.Image | None


def draw(subject: Subject, request: Request) -> Drawn:
    """Draws a capture.

    Raises:
      ValueError: it lacks what was named, or has no frame.
    """
    asked = request.asked
    choice.require(asked, subject)
    frames = [subject.frame(number) for number in choice.overlay_frames(asked, subject)]
    subject.doubt_calibration(frames[0])
    cameras = choice.cameras(asked, subject, frames[0])
    pictures: dict[str, Image.Image] = {}
    if cameras:
        pictures["contact.png"] = overlays.contact(subject, choice.contact_frames(asked, subject), cameras, max(request.size // 2, 64))
    drawn = []
    for frame in frames if cameras else ():
        name = f"overlay_{frame.number:06d}.png"
        found = overlays.overlay(subject, frame, cameras, request.size)
        pictures[name] = found.sheet
        drawn.append({"file": name, "frame": frame.number, "segment": frame.segment, "cameras": found.cameras} | _figures(subject, frame))
    space = scene.build(subject, frames, cameras)
    pictures["cameras.png"] = views.draw(space, _VIEW)
    if request.decode:
        subject.decode_all()
    subject.tell_absent()
    pictures["coverage.png"] = chart.draw(subject.coverage)
    thumbnail = _thumbnail(subject, frames[0], cameras)
    written = [*pictures, *([THUMBNAIL] if thumbnail else []), INDEX, SUMMARY]
    summary = _summary(subject, request, frames[0], cameras) | {"overlays": drawn, "written": written}
    return Drawn(summary, pictures, page.write(summary, space, pictures), thumbnail)


def write(drawn: Drawn, folder: pathlib.Path) -> pathlib.Path:
    """Writes it into a folder, which is made; of one that this wrote before, what is not written anew is removed.

    Returns:
      The page's path.

    Raises:
      ValueError: the folder holds something else.
      OSError: the disk is full, or the folder cannot be written.
    """
    before, text = require_ours(folder), json.dumps(drawn.summary, indent=1, allow_nan=False) + "\n"
    if not before:
        with files.new_folder(folder, SUMMARY, text) as partial:
            _write_into(drawn, partial)
        return folder / INDEX
    for name in set(before) - set(drawn.summary["written"]):
        (folder / pathlib.PurePath(name).name).unlink(missing_ok=True)
    _write_into(drawn, folder)
    files.replace(folder / SUMMARY, text)
    return folder / INDEX


def _write_into(drawn: Drawn, folder: pathlib.Path) -> None:
    """Writes all but the summary, each file whole or not at all."""
    for name, picture in drawn.pictures.items():
        with files.writing(folder / name, durable=False) as file:
            picture.save(file, "PNG")
    if drawn.thumbnail:
        with files.writing(folder / THUMBNAIL, durable=False) as file:
            drawn.thumbnail.save(file, "JPEG", quality=90)
    files.replace(folder / INDEX, drawn.page)


def require_ours(folder: pathlib.Path) -> list[str]:
    """Names of the files that were written into a folder before; [] where it is not there, or empty.

    Raises:
      ValueError: it is a file, or holds what this did not write.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; --out names a folder.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    try:
        return [str(name) for name in json.loads((folder / SUMMARY).read_text())["written"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder}: not empty, and not written by ava inspect; choose another --out.") from None


def _summary(subject: Subject, request: Request, frame: Frame, cameras: list[int]) -> dict[str, Any]:
    capture, coverage = subject.capture, subject.coverage
    inside, positions = subject.inside(frame), choice.positions(subject)
    images = coverage.kinds()["image"] == THERE
    return {
        "format": FORMAT,
        "capture": capture.name,
        "folder": str(subject.folder),
        "kept_as": subject.kept_as,
        "request": record(request),
        "sensor": list(capture.sensor),
        "frames": len(capture.frames),
        "frames_without_images": int((~images.any(0)).sum()),
        "segments": {
            str(name): {"frames": int((capture.segments == name).sum()), "images": int(images[:, capture.segments == name].sum())}
            for name in dict.fromkeys(capture.segments.tolist())
        },
        "counts": {kind: coverage.count(kind) for kind in coverage.kinds()},
        "cameras": [
            {
                "id": name,
                "shown": i in cameras,
                "images": int((coverage.of("image", name) == THERE).sum()),
                "inside": None if np.isnan(inside[i]) else round(float(inside[i]), 4),
                "position_mm": np.round(positions[i], 1).tolist(),
            }
            for i, name in enumerate(capture.cameras)
        ],
        "files": _files(subject),
        "notes": list(subject.notes),
    }


def _files(subject: Subject) -> list[dict[str, Any]]:
    """Of each zip or stream, how much is there, and which frames are not."""
    capture, found = subject.capture, []
    for row, state in zip(subject.coverage.rows, subject.coverage.state, strict=True):
        counts = {name: int((state == value).sum()) for name, value in (("there", THERE), ("absent", ABSENT), ("unreadable", UNREADABLE))}
        lacking = "" if not row.exists or row.fault else ranges(capture.frames[state != THERE], capture.frames)
        lacking = lacking if len(lacking) <= _LISTED else lacking[:_LISTED].rpartition(",")[0] + ", ..."
        file = str(row.path).removeprefix(f"{subject.folder}/")
        found.append({"file": file, "exists": row.exists, **counts, "lacking": lacking} | ({"fault": row.fault} if row.fault else {}))
    return found


def _figures(subject: Subject, frame: Frame) -> dict[str, Any]:
    """A frame's keypoints: how many, medians of their inliers and of their distances from the mesh; None of what there is not."""
    rows, off = frame.keypoints, subject.keypoints_off(frame)
    return {
        "keypoints": None if rows is None else len(rows),
        "keypoint_inliers": None if rows is None or not len(rows) else float(np.median(rows[:, 5])),
        "keypoints_to_mesh_mm": None if off is None else round(off, 2),
    }


def _thumbnail(subject: Subject, frame: Frame, cameras: list[int]) -> Image.Image | None:
    """The frame from the camera that is most in front of the face."""
    if not cameras:
        return None
    facing = choice.directions(subject, frame) @ choice.forward(subject, frame)
    picture = subject.photograph(max(cameras, key=lambda i: facing[i]), frame.number, _SMALL)
    return None if picture is None else Image.fromarray(picture)


def record(request: Request) -> dict[str, Any]:
    """The request as a summary has it."""
    return request.asked._asdict() | {"size": request.size, "decode": request.decode}


def lines(summary: Mapping[str, Any]) -> list[str]:
    """What a command prints of a capture."""
    counts = summary["counts"]["image"]
    images = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    first = (
        f"{summary['capture']}: {len(summary['cameras'])} cameras, {summary['frames']} frames, {len(summary['segments'])} segments; "
        f"images: {images or 'none'}"
    )
    return [first, *(f"  {line}" for line in summary["notes"])]
