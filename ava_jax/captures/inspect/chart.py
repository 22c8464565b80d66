"""The coverage of a capture as a picture: a row for each file, a column for each frame of the list, or for some of a long list."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ava_jax.captures.inspect.coverage import ABSENT, THERE, UNREADABLE, Coverage
from ava_jax.viz import legend, sheet

COLOURS = {THERE: (70, 150, 110), ABSENT: (52, 54, 62), UNREADABLE: (255, 70, 60)}
_WIDTH, _MOST_CELL = 1180, 40  # pixels: of all frames at most, of one
_GAP = 10  # between kinds
_TEXT, _HEAD, _MARGIN = 11, 34, 12
_SHADES = ((70, 74, 88), (104, 110, 128))  # of neighbouring segments


def draw(coverage: Coverage) -> Image.Image:
    """Draws the coverage, with the segments above it and a legend below."""
    capture, state = coverage.capture, coverage.state
    frames = state.shape[1]
    columns = min(frames, _WIDTH)
    cell = min(max(_WIDTH // frames, 1), _MOST_CELL)
    tall = 15 if len(coverage.rows) <= 60 else 12
    font = ImageFont.load_default(size=_TEXT)
    words = [_label(row.kind, row.camera) for row in coverage.rows]
    left = _MARGIN + round(max(font.getlength(text) for text in words)) + 8
    counts = [f"{int((row == THERE).sum())}" for row in state]
    right = 8 + round(max(font.getlength(text) for text in counts)) + _MARGIN
    tops, top = [], _HEAD
    for i, row in enumerate(coverage.rows):
        top += _GAP if i and row.kind != coverage.rows[i - 1].kind and (row.camera or coverage.rows[i - 1].camera) else 0
        tops.append(top)
        top += tall
    picture = Image.new("RGB", (max(left + columns * cell + right, 560), top + 8), sheet.PAPER)
    pen = ImageDraw.Draw(picture)
    for text, count, at, colours in zip(words, counts, tops, _colours(state, columns), strict=True):
        pen.text((left - 8, at + tall / 2), text, fill=sheet.FAINT, font=font, anchor="rm")
        pen.text((left + columns * cell + 8, at + tall / 2), count, fill=sheet.FAINT, font=font, anchor="lm")
        band = Image.fromarray(colours[None]).resize((columns * cell, tall - 1), Image.Resampling.NEAREST)
        picture.paste(band, (left, at))
        for x in range(cell, columns * cell, cell) if cell > 3 else ():
            pen.line((left + x - 1, at, left + x - 1, at + tall - 2), fill=sheet.PAPER)
    _segments(pen, capture.segments, left, columns * cell, font)
    lines = [("there", COLOURS[THERE]), ("absent", COLOURS[ABSENT]), ("unreadable", COLOURS[UNREADABLE])]
    return legend.stacked([picture, legend.legend(lines, picture.width)])


def _label(kind: str, camera: str) -> str:
    return f"{kind} {camera}" if camera else kind


def _colours(state: np.ndarray, columns: int) -> np.ndarray:
    """Of each row and column, u8 [R, columns, 3]. Several frames in a column: red if any is unreadable, else as green as are there."""
    edges = np.linspace(0, state.shape[1], columns + 1).round().astype(int)
    there = np.add.reduceat(state == THERE, edges[:-1], axis=1, dtype=np.float64) / np.diff(edges)
    broken = np.maximum.reduceat(state == UNREADABLE, edges[:-1], axis=1)
    absent, present = (np.array(COLOURS[value], np.float64) for value in (ABSENT, THERE))
    # One absent frame of many would not be seen as a shade: what is not whole is half at most.
    share = np.where(there < 1, 0.5 * there, 1.0)[..., None]
    mixed = np.rint(absent + share * (present - absent)).astype(np.uint8)
    return np.where(broken[..., None], np.array(COLOURS[UNREADABLE], np.uint8), mixed)


def _segments(pen: ImageDraw.ImageDraw, segments: np.ndarray, left: int, width: int, font: ImageFont.ImageFont) -> None:
    """Bars above the columns, with names where they fit."""
    starts = np.flatnonzero(np.concatenate([[True], segments[1:] != segments[:-1]]))
    ends = np.append(starts[1:], len(segments))
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        a, b = (left + round(at * width / len(segments)) for at in (start, end))
        pen.rectangle((a, 8, max(b - 2, a), 26), fill=_SHADES[i % 2])
        name = sheet.shortened(str(segments[start]), b - a - 6, font)
        if len(name) > 3:
            pen.text((a + 3, 17), name, fill=sheet.INK, font=font, anchor="lm")
