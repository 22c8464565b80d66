"""Legends: what colours mean, in a line or more of swatches; pictures one under the other."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ava_jax.viz import sheet

Colour = tuple[int, int, int]

_SIDE, _GAP, _LINE, _MARGIN, _FONT = 12, 6, 20, 16, 13


def legend(entries: Sequence[tuple[str, Colour]], width: int) -> Image.Image:
    """Swatches with their names, in as many lines as `width` pixels need.

    Args:
      entries: name and colour of each.
      width: of the picture.
    """
    font = ImageFont.load_default(size=_FONT)
    places: list[tuple[int, int]] = []
    x, y = _MARGIN, 4
    for name, _ in entries:
        needed = _SIDE + _GAP + round(font.getlength(name))
        if x > _MARGIN and x + needed > width - _MARGIN:
            x, y = _MARGIN, y + _LINE
        places.append((x, y))
        x += needed + 2 * _MARGIN
    picture = Image.new("RGB", (width, y + _LINE + 4), sheet.PAPER)
    draw = ImageDraw.Draw(picture)
    for (name, colour), (x, y) in zip(entries, places, strict=True):
        draw.rectangle((x, y + 2, x + _SIDE, y + 2 + _SIDE), fill=colour)
        draw.text((x + _SIDE + _GAP, y), name, fill=sheet.INK, font=font)
    return picture


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one under the other, on the sheets' paper."""
    whole = Image.new("RGB", (max(one.width for one in pictures), sum(one.height for one in pictures)), sheet.PAPER)
    top = 0
    for one in pictures:
        whole.paste(one, (0, top))
        top += one.height
    return whole
