"""Line charts as pictures: curves over a linear axis, with a linear or a logarithmic axis up, and a legend beside them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (960, 540)  # pixels, width and height
_MARGINS = (78, 46, 240, 52)  # left, top, right (the legend), bottom of the plot
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 32, 36), (110, 114, 122)
_GRID, _DECADE = (226, 228, 232), (190, 194, 200)
# Apart for readers who do not tell red from green (Okabe and Ito, 2008).
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (30, 32, 36))


class Plot:
    """A chart, drawn step by step."""

    def __init__(self, across: tuple[float, float], up: tuple[float, float], *, logarithmic: bool = False, size: tuple[int, int] = SIZE):
        """An empty one.

        Args:
          across: both ends of the horizontal axis.
          up: both ends of the vertical axis; where it is logarithmic, powers of ten.
          logarithmic: the vertical axis.
          size: width and height, pixels.
        """
        self._across, self._up, self._log = across, up, logarithmic
        self._box = box(size)
        self.picture = Image.new("RGB", size, _PAPER)
        self._pen, self._font = ImageDraw.Draw(self.picture), ImageFont.load_default(size=13)
        self._lines: list[float] = []  # rows of those drawn
        self._entries = 0

    def _at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point."""
        left, top, far, bottom = self._box
        y, low, high = (math.log10(v) for v in (y, *self._up)) if self._log else (y, *self._up)
        first, last = self._across
        return left + (far - left) * (x - first) / (last - first), bottom - (bottom - top) * (y - low) / (high - low)

    def axes(self, title: str, across: str, up: str) -> None:
        """Grid, numbers and the names of both axes."""
        left, top, far, bottom = self._box
        pen, font = self._pen, self._font
        pen.text((left, 14), title, fill=_INK, font=ImageFont.load_default(size=16))
        for value, text in self._levels():
            _, y = self._at(self._across[0], value)
            pen.line([(left, y), (far, y)], fill=_DECADE if text and self._log else _GRID)
            pen.text((left - 8, y), text, fill=_FAINT, font=font, anchor="rm")
        for tick in ticks(*self._across):
            x, _ = self._at(tick, self._up[0])
            pen.line([(x, bottom), (x, bottom + 4)], fill=_FAINT)
            pen.text((x, bottom + 8), f"{tick:g}", fill=_FAINT, font=font, anchor="mt")
        pen.text(((left + far) / 2, bottom + 28), across, fill=_FAINT, font=font, anchor="mt")
        pen.text((left - 8, top - 8), up, fill=_FAINT, font=font, anchor="rb")
        pen.rectangle([left, top, far, bottom], outline=_FAINT)

    def _levels(self) -> list[tuple[float, str]]:
        """Where lines run across, with their numbers; "" has none."""
        if not self._log:
            return [(value, f"{value:g}") for value in ticks(*self._up)]
        low, high = (round(math.log10(end)) for end in self._up)
        steps = [(step, exponent) for exponent in range(low, high + 1) for step in range(1, 10 if exponent < high else 2)]
        return [(step * 10.0**exponent, f"1e{exponent}" if step == 1 else "") for step, exponent in steps]

    def curve(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int], *, thick: int = 2) -> None:
        """Points [N] joined; a single one as a dot. A logarithmic axis leaves out what is not over 0."""
        points = [self._at(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True) if b > 0 or not self._log]
        if len(points) > 1:
            self._pen.line(points, fill=colour, width=thick, joint="curve")
        for at in points if len(points) == 1 else ():
            self._pen.ellipse([at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3], fill=colour)

    def line(self, name: str, value: float) -> None:
        """A dashed line all across, with its name."""
        left, _, far, _ = self._box
        _, y = self._at(self._across[0], value)
        for x in range(left, far, 12):
            self._pen.line([(x, y), (x + 6, y)], fill=_FAINT)
        beside = far - 4 - 100 * sum(abs(y - other) < 14 for other in self._lines)  # of lines that lie close, names stand side by side
        self._pen.text((beside, y - 2), name, fill=_FAINT, font=self._font, anchor="rb")
        self._lines.append(y)

    def entry(self, name: str, colour: tuple[int, int, int] | None) -> None:
        """One line of the legend; without a colour, dashed."""
        x, y = self._box[2] + 16, self._box[1] + 10 + 22 * self._entries
        for start, end in ((0, 22),) if colour else ((0, 8), (12, 20)):
            self._pen.line([(x + start, y), (x + end, y)], fill=colour or _FAINT, width=3 if colour else 1)
        self._pen.text((x + 30, y), name, fill=_INK, font=self._font, anchor="lm")
        self._entries += 1


def box(size: tuple[int, int] = SIZE) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the plot in a picture of this width and height, pixels."""
    left, top, right, bottom = _MARGINS
    return left, top, size[0] - right, size[1] - bottom


def lines(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str, across: str, up: str, size: tuple[int, int] = SIZE
) -> np.ndarray:
    """Curves over linear axes; the first one is thick and dark, what the others are held against.

    Args:
      curves: name -> where across, and values, [N] each.
      title: above them.
      across: name of the horizontal axis.
      up: name of the vertical axis, which begins at 0 where no value is below.
      size: width and height, pixels.

    Returns:
      u8 [H, W, 3].

    Raises:
      ValueError: there is no value to draw.
    """
    places = np.concatenate([np.asarray(x, np.float64) for x, _ in curves.values()] or [np.zeros(0)])
    values = np.concatenate([np.asarray(y, np.float64) for _, y in curves.values()] or [np.zeros(0)])
    if not len(values):
        raise ValueError("lines: curves must have a value; got none.")
    low, high = min(values.min(), 0.0), values.max()
    plot = Plot(
        (places.min(), max(places.max(), places.min() + 1)), (low, high + 0.05 * (high - low) if high > low else low + 1), size=size
    )
    plot.axes(title, across, up)
    shades = [COLOURS[-1], *(COLOURS[i % (len(COLOURS) - 1)] for i in range(len(curves) - 1))]
    for (x, y), colour in reversed(list(zip(curves.values(), shades, strict=True))):
        plot.curve(np.asarray(x), np.asarray(y), colour, thick=4 if colour == COLOURS[-1] else 2)
    for name, colour in zip(curves, shades, strict=True):
        plot.entry(name, colour)
    return np.asarray(plot.picture)


def ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers from `low` to `high`, four to nine of them where the ends are apart."""
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * i for i in range(first, math.floor(high / step + 1e-9) + 1)]
