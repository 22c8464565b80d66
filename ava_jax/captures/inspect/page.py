"""The page of a capture: one HTML file with all in it, pictures, figures, and the scene, which can be turned. No network is needed."""

import html
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ava_jax.captures.inspect import scene as scenes
from ava_jax.captures.inspect import views
from ava_jax.captures.inspect.scene import Scene
from ava_jax.viz import html as pages

MOST_BYTES = 5_000_000  # of a page
_PICTURES = 3_200_000  # of all pictures in it, before they become text
_LEGENDS = 300_000  # of these, for each drawing of lines
_TRIANGLES = 2400  # of a head
_NOTES = 4  # of a capture, on the page of several
_LACKING = 40  # files that the table names


def write(summary: Mapping[str, Any], scene: Scene, pictures: Mapping[str, Image.Image]) -> str:
    """The page's text.

    Args:
      summary: of `inspecting`.
      scene: cameras and heads.
      pictures: by their files' names.

    Raises:
      ValueError: pictures do not fit.
    """
    photos = [name for name in pictures if name not in ("cameras.png", "coverage.png")]
    share = (_PICTURES - 2 * _LEGENDS) // max(len(photos), 1)
    parts = [pages.table(_facts(summary)), *_notes(summary["notes"])]
    parts += ["<h2>Cameras and head</h2>", *_space(scene)]
    for name in photos:
        parts += [f"<h2>{html.escape(_title(name, summary))}</h2>", pages.inlined(pictures[name], share)]
    parts += [
        "<h2>What is there</h2>",
        "<p>A column for each frame of the list, a row for each file; how many there are, to the right.</p>",
    ]
    parts += [pages.inlined(pictures["coverage.png"], _LEGENDS, sharp=True), *_lacking(summary["files"])]
    return pages.document(summary["capture"], parts)


def overview(summaries: Sequence[Mapping[str, Any]], thumbnails: Mapping[str, Image.Image], failed: Mapping[str, str]) -> str:
    """The page of several captures, with a link to each one's.

    Args:
      summaries: of those that were drawn.
      thumbnails: by their names; those without a picture have none.
      failed: why others were not, by their names.
    """
    parts = []
    for one in summaries:
        name, images = one["capture"], one["counts"].get("image", {})
        words = f"{len(one['cameras'])} cameras, {one['frames']} frames, {len(one['segments'])} segments; images: {_counted(images)}"
        picture = pages.inlined(thumbnails[name], 40_000) if name in thumbnails else ""
        link = html.escape(f"{name}/index.html")
        notes = "".join(f"<br>{html.escape(line)}" for line in one["notes"][:_NOTES])
        notes += f"<br>and {len(one['notes']) - _NOTES} notes more" if len(one["notes"]) > _NOTES else ""
        parts.append(f"<h2><a style='color:inherit' href='{link}'>{html.escape(name)}</a></h2><p>{words}{notes}</p>{picture}")
    parts += [f"<h2>{html.escape(name)}</h2><p>Not drawn: {html.escape(why)}</p>" for name, why in failed.items()]
    return pages.document(f"{len(summaries) + len(failed)} captures", parts)


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    height, width = summary["sensor"]
    rows = [
        ("folder", summary["folder"]),
        ("kept as", summary["kept_as"]),
        ("sensor", f"{height} x {width} (height x width)"),
        ("cameras", f"{len(summary['cameras'])} calibrated"),
        ("frames", f"{summary['frames']} listed, in {len(summary['segments'])} segments"),
    ]
    return rows + [(kind, _counted(count)) for kind, count in summary["counts"].items()]


def _counted(count: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in count.items() if number) or "none"


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return ["<p>Nothing is lacking or broken in what was looked at.</p>"]
    return ["<h2>To know</h2>", "<ul>", *(f"<li>{html.escape(line)}</li>" for line in notes), "</ul>"]


def _title(name: str, summary: Mapping[str, Any]) -> str:
    if name == "contact.png":
        return "Contact sheet"
    shown = next(one for one in summary["overlays"] if one["file"] == name)
    return f"Frame {shown['frame']}, {shown['segment']}"


def _space(scene: Scene) -> list[str]:
    legend = "".join(
        f"<span style='color:rgb{colour}'>&#9632;</span> {html.escape(words)} &nbsp; " for words, colour in views.entries(scene)
    )
    code = importlib.resources.files(scenes.__package__).joinpath("scene.js").read_text()
    data = json.dumps(_data(scene), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return [
        "<p>Drag to turn, wheel to come closer, shift and drag to move, double click to start again; point at a camera for its name.</p>",
        f"<div id='buttons'></div><canvas id='space'></canvas><p>{legend}</p>",
        f"<script type='application/json' id='scene'>{data}</script><script>{code}</script>",
    ]


def _data(scene: Scene) -> dict[str, Any]:
    """What the page's script draws: mm, rounded."""
    heads = [scenes.decimated(head, _TRIANGLES) for head in scene.heads]
    everything = [scene.positions, *(points for head in heads for points in (head.vertices, head.keypoints))]
    reach = [np.linalg.norm(points, axis=-1).max() for points in everything if len(points)]
    known = bool(np.isfinite(scene.axes).all())
    return {
        "cameras": [
            {"name": name, "kind": kind, "tip": _rounded(tip), "ring": _rounded(ring)}
            for name, kind, tip, ring in zip(scene.names, scene.kinds, scene.positions, scene.corners, strict=True)
        ],
        "heads": [
            {
                "frame": head.frame,
                "segment": head.segment,
                "vertices": _rounded(head.vertices),
                "faces": head.faces.tolist(),
                "colours": np.rint(head.colours[head.faces].mean(1)).astype(int).tolist() if len(head.faces) else [],
                "keypoints": _rounded(head.keypoints),
            }
            for head in heads
        ],
        "path": _rounded(scene.path),
        "origin": _rounded(scene.origin) if known else [],
        "axes": _rounded(scene.origin + views.AXIS_MM * scene.axes) if known else [],
        "radius": float(max(reach)),
        "colours": {kind: f"rgb{colour}" for kind, colour in views.COLOURS.items()}
        | {"path": f"rgb{views.PATH}", "axes": [f"rgb{colour}" for colour in views.AXES]},
    }


def _rounded(points: np.ndarray) -> list[Any]:
    return np.round(points, 1).tolist()


def _lacking(files: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the files of which some frames are not there."""
    rows = [one for one in files if one["absent"] or one["unreadable"]]
    if not rows:
        return ["<p>No listed frame is absent.</p>"]
    cells = [("file", "there", "absent", "unreadable", "frames, or why")]
    for one in rows[:_LACKING]:
        why = one.get("fault") or ("there is no such file" if not one["exists"] else one["lacking"])
        cells.append((one["file"], str(one["there"]), str(one["absent"]), str(one["unreadable"]), why[:300]))
    more = [f"<p>And {len(rows) - _LACKING} more: summary.json has all.</p>"] if len(rows) > _LACKING else []
    return [pages.table(cells, header=True), *more]
