"""Draws the picture of docs/guide/inspect.md: of a capture of a procedural head, what `ava inspect` draws.

ava synth --out=captures && python scripts/draw_inspect.py captures
"""

import pathlib
import sys

from PIL import Image

from ava_jax.captures.inspect import choice, inspecting, overlays
from ava_jax.captures.inspect.subject import Subject
from ava_jax.viz import legend, sheet

PICTURE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "images" / "inspect.jpg"
WIDTH, HEIGHT = 1180, 330  # pixels


def main(captures: pathlib.Path) -> None:
    subject = Subject(sorted(captures.glob("*--*--*"))[0], topology=None, threads=2)
    drawn = inspecting.draw(subject, inspecting.Request())
    frame = subject.frame(drawn.summary["overlays"][1]["frame"])
    cameras = choice.cameras(choice.Asked(), subject, frame)[:2]
    parts = [overlays.overlay(subject, frame, cameras, HEIGHT).sheet, drawn.pictures["cameras.png"], drawn.pictures["coverage.png"]]
    scaled = [part.resize((WIDTH, round(part.height * WIDTH / part.width)), Image.Resampling.LANCZOS) for part in parts]
    sheet.save(legend.stacked(scaled), PICTURE)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
