"""Curves of training runs, read from their TensorBoard events and drawn on a logarithmic scale."""

import math
import pathlib
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tensorboardX.proto import event_pb2

_SIZE = (960, 540)  # pixels
_BOX = (78, 46, 720, 488)  # left, top, right, bottom of the plot
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 32, 36), (110, 114, 122)
_GRID, _DECADE = (226, 228, 232), (190, 194, 200)
# Apart for readers who do not tell red from green (Okabe and Ito, 2008).
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (30, 32, 36))


def read_scalars(workdir: pathlib.Path, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values, f64 [N] each, of a tag in a run's events. What a resumed run took back is left out."""
    points: dict[int, float] = {}
    for path in sorted(workdir.glob("events*tfevents*")):
        for event in _events(path.read_bytes()):
            if event.session_log.status == event_pb2.SessionLog.START:
                points = {step: value for step, value in points.items() if step < event.step}
            for value in event.summary.value:
                if value.tag == tag and value.WhichOneof("value") == "simple_value":
                    points[event.step] = value.simple_value
    steps = sorted(points)
    return np.array(steps, np.float64), np.array([points[step] for step in steps], np.float64)


def _events(data: bytes):
    """Events of a file: records of a length, its check sum, the event, its check sum. One cut short by a crash ends it."""
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):
            return
        yield event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length


def draw(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], lines: Mapping[str, float], *, title: str, across: str, up: str
) -> np.ndarray:
    """A chart with a logarithmic vertical axis.

    Args:
      curves: name -> where across, and values over 0, [N] each.
      lines: name -> a value that is drawn all across, dashed.
      title: above it.
      across: name of the horizontal axis.
      up: name of the vertical axis.

    Returns:
      u8 [H, W, 3].

    Raises:
      ValueError: there is no value to draw.
    """
    values = np.concatenate([*(y[y > 0] for _, y in curves.values()), [y for y in lines.values() if y > 0]])
    if not len(values):
        raise ValueError("draw: curves must have a value over 0; got none.")
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    right = max([x.max() for x, _ in curves.values() if len(x)], default=1.0) or 1.0
    plot = _Plot(right, low, max(high, low + 1))
    plot.axes(title, across, up)
    for i, (name, (x, y)) in enumerate(curves.items()):
        plot.curve(x, y, _COLOURS[i % len(_COLOURS)])
        plot.entry(name, _COLOURS[i % len(_COLOURS)])
    for name, value in lines.items():
        plot.line(name, value)
        plot.entry(f"{name}, {value:.1e}", None)
    return np.asarray(plot.picture)


class _Plot:
    """A picture with a linear axis across, from 0 to `right`, and a logarithmic one up, from 10^low to 10^high."""

    def __init__(self, right: float, low: int, high: int):
        self._right, self._low, self._high = right, low, high
        self.picture = Image.new("RGB", _SIZE, _PAPER)
        self._pen, self._font = ImageDraw.Draw(self.picture), ImageFont.load_default(size=13)
        self._lines: list[float] = []  # rows of those drawn
        self._entries = 0

    def _at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point."""
        left, top, far, bottom = _BOX
        return left + (far - left) * x / self._right, bottom - (bottom - top) * (math.log10(y) - self._low) / (self._high - self._low)

    def axes(self, title: str, across: str, up: str) -> None:
        """Grid, numbers and names."""
        left, top, far, bottom = _BOX
        pen, font = self._pen, self._font
        pen.text((left, 14), title, fill=_INK, font=ImageFont.load_default(size=16))
        for exponent in range(self._low, self._high + 1):
            for step in range(1, 10 if exponent < self._high else 2):
                _, y = self._at(0, step * 10.0**exponent)
                pen.line([(left, y), (far, y)], fill=_GRID if step > 1 else _DECADE)
            pen.text((left - 8, self._at(0, 10.0**exponent)[1]), f"1e{exponent}", fill=_FAINT, font=font, anchor="rm")
        for tick in _ticks(self._right):
            x, _ = self._at(tick, 10.0**self._low)
            pen.line([(x, bottom), (x, bottom + 4)], fill=_FAINT)
            pen.text((x, bottom + 8), f"{tick:g}", fill=_FAINT, font=font, anchor="mt")
        pen.text(((left + far) / 2, bottom + 28), across, fill=_FAINT, font=font, anchor="mt")
        pen.text((left - 8, top - 8), up, fill=_FAINT, font=font, anchor="rb")
        pen.rectangle([left, top, far, bottom], outline=_FAINT)

    def curve(self, x: np.ndarray, y: np.ndarray, colour: tuple[int, int, int]) -> None:
        """Points [N] joined; a single one as a dot."""
        points = [self._at(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True) if b > 0]
        if len(points) > 1:
            self._pen.line(points, fill=colour, width=2, joint="curve")
        for at in points if len(points) == 1 else ():
            self._pen.ellipse([at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3], fill=colour)

    def line(self, name: str, value: float) -> None:
        """A dashed line all across, with its name."""
        left, _, far, _ = _BOX
        _, y = self._at(0, value)
        for x in range(left, far, 12):
            self._pen.line([(x, y), (x + 6, y)], fill=_FAINT)
        beside = far - 4 - 100 * sum(abs(y - other) < 14 for other in self._lines)  # of lines that lie close, names stand side by side
        self._pen.text((beside, y - 2), name, fill=_FAINT, font=self._font, anchor="rb")
        self._lines.append(y)

    def entry(self, name: str, colour: tuple[int, int, int] | None) -> None:
        """One line of the legend; without a colour, dashed."""
        x, y = _BOX[2] + 16, _BOX[1] + 10 + 22 * self._entries
        for start, end in ((0, 22),) if colour else ((0, 8), (12, 20)):
            self._pen.line([(x + start, y), (x + end, y)], fill=colour or _FAINT, width=3 if colour else 1)
        self._pen.text((x + 30, y), name, fill=_INK, font=self._font, anchor="lm")
        self._entries += 1


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running geometric means of values over 0, [N], over so many before and after."""
    logs = np.log(np.maximum(values, 1e-30))
    total = np.concatenate([[0.0], np.cumsum(logs)])
    at = np.arange(len(values))
    first, last = np.maximum(at - window, 0), np.minimum(at + window + 1, len(values))
    return np.exp((total[last] - total[first]) / (last - first))


def _ticks(right: float) -> Sequence[float]:
    """Round numbers from 0 on, four to nine of them."""
    rough = right / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * i for i in range(int(right / step) + 1)]
