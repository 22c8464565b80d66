"""Pictures laid out on a sheet, with titles and captions in small type."""

import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PANEL_HEIGHT = 256  # pixels, of each picture on a sheet
SHEET_BYTES = 500_000  # a README's picture has to load at once
_MARGIN, _GAP, _LINE, _FONT_SIZE = 16, 4, 20, 13
PAPER, INK, FAINT = (16, 17, 20), (235, 235, 235), (150, 152, 158)


class Strip(NamedTuple):
    """Pictures that belong together, side by side.

    Attributes:
      title: above them all.
      panels: (caption, u8 [H, W, 3]) each, of one size.
    """

    title: str
    panels: tuple[tuple[str, np.ndarray], ...]


def compose(strips: Sequence[Strip], columns: int, height: int = PANEL_HEIGHT) -> Image.Image:
    """Strips on a dark sheet, row by row; each picture is brought to `height` pixels.

    Raises:
      ValueError: there is no strip.
    """
    if not strips:
        raise ValueError("compose: a sheet needs at least one strip of pictures; got none.")
    font = ImageFont.load_default(size=_FONT_SIZE)
    width = max(_width(picture, height) for strip in strips for _, picture in strip.panels)
    most = max(len(strip.panels) for strip in strips)
    cell = (most * (width + _GAP) - _GAP + _MARGIN, 2 * _LINE + height + _MARGIN)
    rows = -(-len(strips) // columns)
    used = min(columns, len(strips))
    sheet = Image.new("RGB", (used * cell[0] + _MARGIN, rows * cell[1] + _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, strip in enumerate(strips):
        left, top = _MARGIN + (i % columns) * cell[0], _MARGIN + (i // columns) * cell[1]
        draw.text((left, top), shortened(strip.title, cell[0] - _MARGIN, font), fill=INK, font=font)
        for j, (caption, picture) in enumerate(strip.panels):
            x = left + j * (width + _GAP)
            draw.text((x, top + _LINE), shortened(caption, width, font), fill=FAINT, font=font)
            size = (_width(picture, height), height)
            sheet.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (x, top + 2 * _LINE))
    return sheet


def shortened(text: str, width: float, font: ImageFont.ImageFont) -> str:
    """`text`, its end left out where it would be wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    kept = text
    while kept and font.getlength(kept + "…") > width:
        kept = kept[:-1]
    return kept + "…"


def save(sheet: Image.Image, path: pathlib.Path) -> None:
    """Writes a JPEG of SHEET_BYTES at most, at the best quality that fits.

    Raises:
      ValueError: it fits at no quality.
    """
    found = jpeg(sheet, SHEET_BYTES)
    if found is None:
        raise ValueError(f"{path}: a sheet of {sheet.width} x {sheet.height} does not fit into {SHEET_BYTES} bytes; show fewer pictures.")
    path.write_bytes(found)


def jpeg(picture: Image.Image, most: int) -> bytes | None:
    """A JPEG of `most` bytes at most, at the best quality that fits; None where none does."""
    for quality in (95, 90, 85, 75, 60, 40):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, subsampling=0 if quality > 80 else 2)
        if buffer.tell() <= most:
            return buffer.getvalue()
    return None


def _width(picture: np.ndarray, height: int) -> int:
    """Of a picture brought to `height` pixels."""
    return round(picture.shape[1] * height / picture.shape[0])
