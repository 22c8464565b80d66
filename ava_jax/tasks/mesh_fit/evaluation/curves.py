"""Curves of training runs, read from their TensorBoard events and drawn on a logarithmic scale."""

import math
import pathlib
import struct
from collections.abc import Mapping

import numpy as np
from tensorboardX.proto import event_pb2

from ava_jax.viz import plot as plots


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
    plot = plots.Plot((0.0, right), (10.0**low, 10.0 ** max(high, low + 1)), logarithmic=True)
    plot.axes(title, across, up)
    for i, (name, (x, y)) in enumerate(curves.items()):
        plot.curve(x, y, plots.COLOURS[i % len(plots.COLOURS)])
        plot.entry(name, plots.COLOURS[i % len(plots.COLOURS)])
    for name, value in lines.items():
        plot.line(name, value)
        plot.entry(f"{name}, {value:.1e}", None)
    return np.asarray(plot.picture)


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running geometric means of values over 0, [N], over so many before and after."""
    logs = np.log(np.maximum(values, 1e-30))
    total = np.concatenate([[0.0], np.cumsum(logs)])
    at = np.arange(len(values))
    first, last = np.maximum(at - window, 0), np.minimum(at + window + 1, len(values))
    return np.exp((total[last] - total[first]) / (last - first))
