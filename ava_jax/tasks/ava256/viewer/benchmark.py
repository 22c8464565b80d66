"""How quick the page is: its parts, and what a client without a browser gets over the websocket. `ava view --benchmark`."""

import math
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from ava_jax.tasks.ava256.viewer.eyes import MM
from ava_jax.tasks.ava256.viewer.server import Server
from ava_jax.tasks.ava256.viewer.start import Viewer
from ava_jax.viz.live.client import Client

_SECONDS = 5.0  # of an orbit
_EVERY = 1 / 120  # seconds between two cameras of it: more than are drawn
_TURN = 0.02  # radians between them
_CHANGES = 12  # single changes whose first answers are timed
_WAIT = 60.0  # seconds for a picture
_QUIET = 0.7  # seconds
_ORBIT_DISTANCE = 1.0  # m


def run(viewer: Viewer, serving: Server, *, height: int = 1024, width: int = 667) -> str:
    """Measures, and says what was measured.

    Args:
      height, width: of the client's window, pixels; it chooses the shape of the pictures.
    """
    client = Client(serving.address, width=width, height=height)
    middle = viewer.avatar.middle / MM

    def orbit(angle: float) -> None:
        client.look(middle + _ORBIT_DISTANCE * np.array([math.sin(angle), 0.0, math.cos(angle)]), middle, serving.fov)

    orbit(0.0)
    _rest(client)
    slider = next(label for label in client.controls if label.startswith("1 ("))
    values = iter(np.linspace(-1.0, 1.0, _CHANGES).tolist())
    angles = iter(np.linspace(0.1, 1.0, _CHANGES).tolist())
    turned = _answers(client, lambda: orbit(next(angles)))
    moved = _answers(client, lambda: client.set(slider, next(values)))
    rate, size = _orbit(client, orbit)
    client.close()
    times = viewer.pipeline.times
    tiles = {layer: mean.value for (layer, _), mean in times.tile.items()}
    rows = [
        ("decode", f"{1e3 * times.decode.value:.1f} ms"),
        *((f"draw a tile, {layer}", f"{1e3 * seconds:.1f} ms") for layer, seconds in tiles.items()),
        ("JPEG of a whole picture", f"{1e3 * times.send.value:.1f} ms"),
        ("whole picture after a camera", f"{turned.whole:.0f} ms median"),
        ("first answer to a camera", f"{turned.text}"),
        ("first answer to a slider", f"{moved.text}"),
        ("orbit, received", f"{rate:.1f} pictures/s, {size / 1e3:.0f} kB each"),
    ]
    layout = viewer.pipeline.layout(width / height)
    whole, tile = (" x ".join(map(str, size)) for size in ((layout.levels[-1].height, layout.levels[-1].width), layout.tile))
    where = f"{jax.devices()[0].device_kind}: pictures of {whole} pixels (height x width), drawn in tiles of {tile}"
    return "\n".join([where, *(f"  {name:30} {value}" for name, value in rows)])


class _Answers:
    """Times of first answers, and of whole pictures, ms."""

    def __init__(self, first: list[float], whole: list[float]):
        self.first, self.whole = first, float(np.median(whole))
        self.text = f"{np.median(first):.0f} ms median, {np.max(first):.0f} ms worst of {len(first)}"


def _answers(client: Client, change: Callable[[], None]) -> _Answers:
    first, whole = [], []
    for _ in range(_CHANGES):
        count, begun = len(client.arrivals), time.perf_counter()
        change()
        _next_picture(client, count)
        first.append(1e3 * (client.arrivals[count][0] - begun))
        _rest(client)
        whole.append(1e3 * (client.arrivals[-1][0] - begun))
    return _Answers(first, whole)


def _orbit(client: Client, orbit: Callable[[float], None]) -> tuple[float, float]:
    """Pictures per second while the camera goes around, and their mean size in bytes."""
    count, begun = len(client.arrivals), time.perf_counter()
    for i, due in enumerate(_clock(begun)):
        orbit(_TURN * i)
        time.sleep(max(0.0, due - time.perf_counter()))
    came = client.arrivals[count:]
    return len(came) / (time.perf_counter() - begun), float(np.mean([size for _, size in came]))


def _clock(begun: float) -> Iterator[float]:
    """Moments at which the camera is moved."""
    return (begun + _EVERY * (i + 1) for i in range(round(_SECONDS / _EVERY)))


def _rest(client: Client) -> None:
    """Waits until no more pictures come: the last one is whole, as they come at least every fifth of a second until then."""
    _next_picture(client, 0)
    while client.wait(lambda c, count=len(client.arrivals): len(c.arrivals) > count, _QUIET):
        pass


def _next_picture(client: Client, count: int) -> None:
    if not client.wait(lambda c: len(c.arrivals) > count, _WAIT):
        raise RuntimeError(f"no picture came within {_WAIT:.0f} s.")
