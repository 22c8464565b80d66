"""How long the parts of an avatar take: encode, decode, render, and all of them in one program, on the device at hand."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ava_jax.metrics import table
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data.neutrals import Neutral

PARTS = {
    "encode identity": "texture and mesh of neutral faces to identity codes, once per person",
    "encode": "textures and meshes to expression codes",
    "decode": "codes to primitives and meshes",
    "render": "primitives to calibrated pictures with alpha",
    "whole": "encode, decode and render in one program, the identity's code known",
    "whole, to the host": "the same, and the pictures as bytes in the host's memory",
}
_GIB = 2.0**30


class Timing(NamedTuple):
    """A part's time.

    Attributes:
      part: of PARTS.
      batch: frames at a time.
      ms: median over the rounds, per batch.
      spread_ms: from the first quartile to the third.
      frames_per_s: batch over the median.
      first_s: of the first call, which compiles the part or finds it compiled; not in the others.
    """

    part: str
    batch: int
    ms: float
    spread_ms: float
    frames_per_s: float
    first_s: float


def measure(avatar: Avatar, faces: Neutral, batch: int, height: int, width: int, *, rounds: int) -> list[Timing]:
    """Times every part.

    Args:
      avatar: whose.
      faces: of one or more people, repeated to the batch.
      batch: frames at a time.
      height, width: of pictures, pixels.
      rounds: timed calls of each part, after one that is not.
    """
    index = np.arange(batch) % len(faces.texture)
    texture, vertices = jax.device_put((faces.texture[index], faces.vertices[index]))
    turned = np.linspace(-30.0, 30.0, batch) if batch > 1 else 0.0
    cameras = jax.device_put(avatar.portrait(height, width, azimuth=turned))

    @jax.jit
    def whole(identity: Any, texture: Any, vertices: Any, cameras: Any) -> jax.Array:
        code = avatar.encode(texture, vertices, texture, vertices)
        drawn = avatar.render(avatar.decode(identity, code, cameras.position), cameras, height, width)
        return jax.numpy.clip(jax.numpy.round(drawn * np.float32([1, 1, 1, 255])), 0, 255).astype(np.uint8)

    timings = []

    def timed(part: str, call: Callable[..., Any], *args: Any) -> Any:
        timing, result = time_calls(part, batch, lambda: call(*args), rounds)
        timings.append(timing)
        return result

    identity = timed("encode identity", avatar.encode_identity, texture, vertices)
    code = timed("encode", avatar.encode, texture, vertices, texture, vertices)
    decoded = timed("decode", avatar.decode, identity, code, cameras.position)
    timed("render", avatar.render, decoded, cameras, height, width)
    timed("whole", whole, identity, texture, vertices, cameras)
    timed("whole, to the host", lambda *args: np.asarray(whole(*args)), identity, texture, vertices, cameras)
    return timings


def time_calls(part: str, batch: int, call: Callable[[], Any], rounds: int) -> tuple[Timing, Any]:
    """Times calls, each waited for, after one that is not timed; and what that one gave."""
    begin = time.perf_counter()
    result = jax.block_until_ready(call())
    first, seconds = time.perf_counter() - begin, []
    for _ in range(rounds):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - begin)
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive") if rounds > 1 else 3 * seconds
    low, median, high = quartiles
    return Timing(part, batch, 1e3 * median, 1e3 * (high - low), batch / median, first), result


def peak_gib() -> float | None:
    """The most memory that the device has held so far in this process, GiB; None where the backend does not tell."""
    peak = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return None if peak is None else peak / _GIB


def text(timings: list[Timing]) -> str:
    """A table, a line per batch and part."""
    lines = [
        [timing.part, str(timing.batch), _digits(timing.ms), _digits(timing.spread_ms), _digits(timing.frames_per_s)] for timing in timings
    ]
    return table.format_table(["part", "batch", "ms", "quartiles apart", "frames/s"], lines, ["", "frames", "per batch", "ms", ""])


def _digits(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
