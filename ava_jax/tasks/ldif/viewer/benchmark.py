"""How quick the page is: what a client without a browser gets over the websocket. `ava ldif view --benchmark`."""

import os
import time

import numpy as np

from ava_jax.tasks.ldif.viewer.worker import COARSE
from ava_jax.viz.live.client import Client
from ava_jax.viz.live.page import Page

_CHANGES = 20  # of a slider, whose answers are timed
_WAIT = 120.0  # seconds for a surface
_SETTLE = 1.0  # seconds until its sliders are those of the element
_LABEL = "Move x"


def run(page: Page, number: int) -> str:
    """Moves an element of the first shape to and fro, and says how long the surfaces took.

    Args:
      page: that is served.
      number: the element, from 1.

    Raises:
      TimeoutError: none came.
    """
    client = Client(page.address)
    client.look((1.0, 1.0, 2.0), (0.0, 0.0, 0.0), 0.75)  # the page begins with it
    _at_rest(client, 0)
    client.set("Number", number)
    time.sleep(_SETTLE)
    first, whole, sizes = [], [], []
    used = time.process_time()
    for value in np.linspace(-0.3, 0.3, _CHANGES):
        count, begun = len(client.meshes), time.perf_counter()
        client.set(_LABEL, round(float(value), 3))
        _at_rest(client, count)
        times = [at - begun for at, _ in client.meshes[count:]]
        first.append(times[0])
        whole.append(times[-1])
        sizes.append(len(client.meshes[-1][1]))
    used = (time.process_time() - used) / _CHANGES
    client.close()
    rows = [
        (f"first surface ({COARSE}^3 points) after a slider", first),
        ("whole surface after a slider", whole),
    ]
    lines = [f"  {name:48} {1e3 * np.median(t):.0f} ms in the median, {1e3 * max(t):.0f} at worst" for name, t in rows]
    where = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {_CHANGES} changes; surfaces of {np.mean(sizes) / 1e3:.0f} kB"
    return "\n".join([where, *lines, f"  {'processor time per change, all of it':48} {1e3 * used:.0f} ms"])


def _at_rest(client: Client, count: int) -> None:
    """Waits until more than `count` surfaces have come, and the page says that the last one is whole."""
    if not client.wait(lambda c: len(c.meshes) > count and any(text.endswith(" ms*") for text in c.texts.values()), _WAIT):
        raise TimeoutError("the page showed no surface.")
