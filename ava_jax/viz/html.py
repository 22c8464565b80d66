"""Pages of pictures that need nothing beside them: plain HTML, pictures as data in it where that is asked for."""

import base64
import html
import io
from collections.abc import Sequence

from PIL import Image

from ava_jax.viz import sheet

STYLE = (
    "body{background:#101114;color:#ebebeb;font:15px/1.5 sans-serif;margin:2em;max-width:75em}img{max-width:100%}pre{color:#9698a0}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.1em 1.2em .1em 0;vertical-align:top}th{color:#9698a0;font-weight:normal}"
    "canvas{width:100%;height:34em;background:#18191d;touch-action:none;cursor:grab}"
    "button{background:#26282f;color:#ebebeb;border:0;padding:.3em .8em;margin:0 .3em .3em 0;cursor:pointer}button.on{background:#35606e}"
)
_SMALLEST = 480  # pixels, of a side that a picture is brought to at least, however few bytes it may have


def document(title: str, parts: Sequence[str]) -> str:
    """A page. `title` is text; `parts` are HTML."""
    name = html.escape(title)
    head = f"<!doctype html><meta charset='utf-8'><title>{name}</title><style>{STYLE}</style>"
    return "\n".join([head, f"<h1>{name}</h1>", *parts]) + "\n"


def inlined(picture: Image.Image, most: int, *, sharp: bool = False) -> str:
    """An `img` with the picture in it, as a JPEG of `most` bytes at most: smaller where no quality fits.

    Args:
      picture: of any size.
      most: bytes, before they become text, which takes a third more.
      sharp: a PNG of few colours instead, for drawings, where that fits.

    Raises:
      ValueError: it does not fit at the smallest size.
    """
    if sharp:
        buffer = io.BytesIO()
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= most:
            return _tag("png", buffer.getvalue(), picture)
    shown = picture
    while True:
        data = sheet.jpeg(shown, most)
        if data is not None:
            return _tag("jpeg", data, picture)
        if min(shown.size) < _SMALLEST:
            raise ValueError(f"a picture of {picture.width} x {picture.height} does not fit into {most} bytes; show fewer pictures.")
        shown = shown.resize((round(shown.width * 0.75), round(shown.height * 0.75)), Image.Resampling.LANCZOS)


def table(rows: Sequence[Sequence[str]], *, header: bool = False) -> str:
    """A table of texts; with `header`, the first row names the columns, else the first column the rows."""
    lines = []
    for i, row in enumerate(rows):
        cells = [html.escape(cell) for cell in row]
        named = [f"<th>{cell}</th>" if (i == 0 if header else j == 0) else f"<td>{cell}</td>" for j, cell in enumerate(cells)]
        lines.append(f"<tr>{''.join(named)}</tr>")
    return "<table>" + "".join(lines) + "</table>"


def _tag(kind: str, data: bytes, picture: Image.Image) -> str:
    return f"<img width='{picture.width}' style='height:auto' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'>"
