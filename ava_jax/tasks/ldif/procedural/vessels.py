"""Lamps and vases."""

from typing import Any

import numpy as np

from ava_jax.tasks.ldif.procedural.parts import box, chain, joined, lathe, rod, turned, wave


def lamp(rng: np.random.Generator) -> list[Any]:
    """Parts of a standing lamp, a desk lamp with an arm, a tripod, or a lamp that hangs; shades are hollow."""
    kind = rng.choice(["standing", "desk", "tripod", "hanging"], p=[0.4, 0.25, 0.2, 0.15])
    if kind == "desk":
        return _desk(rng)
    tall = rng.uniform(0.55, 1.2)
    stem = rng.uniform(0.012, 0.03)
    if kind == "hanging":
        tall *= 0.5
        shade = _shade(rng, 0.0, rng.uniform(0.16, 0.36))
        rose = turned([(0, tall), (rng.uniform(0.04, 0.1), tall), (0.03, tall + 0.04), (0, tall + 0.04)])
        return [shade, rod((0, 0.1, 0), (0, tall + 0.01, 0), stem * 0.7), rose]
    parts = [rod((0, tall * 0.5 if kind == "tripod" else 0.01, 0), (0, tall + 0.04, 0), stem)]
    if kind == "tripod":
        reach = rng.uniform(0.18, 0.32)
        angles = np.pi / 2 + np.array([0, 2, 4]) * np.pi / 3
        parts += [rod((reach * np.cos(a), 0, reach * np.sin(a)), (0, tall * 0.8, 0), stem * 0.7) for a in angles]
        parts.append(turned([(0, tall * 0.7), (stem * 2.2, tall * 0.74), (stem * 2.2, tall * 0.84), (0, tall * 0.88)]))
    elif rng.random() < 0.5:  # a turned foot
        heights = np.linspace(0, tall * rng.uniform(0.3, 0.75), 14)
        radii = wave(rng, 14, stem, rng.uniform(0.07, 0.2), 2.5)
        parts.append(turned([(0, 0), *zip(radii, heights), (0, heights[-1])]))
        parts.append(turned([(0, 0), (radii[0] + 0.05, 0), (radii[0] + 0.05, 0.02), (0, 0.02)]))
    else:
        foot = rng.uniform(0.12, 0.24)
        if rng.random() < 0.3:
            parts.append(box((2 * foot, 0.03, 2 * foot), (0, 0.015, 0)))
        else:
            parts.append(turned([(0, 0), (foot, 0), (foot, 0.02), (stem, 0.02 + rng.uniform(0.01, 0.08)), (0, 0.1)]))
    parts.append(_shade(rng, tall, tall))
    return parts


def vase(rng: np.random.Generator) -> list[Any]:
    """Parts of a vessel: turned, or with flat sides, flutes or a twist; with a foot, handles or a spout."""
    tall, widest = rng.uniform(0.5, 1.1), rng.uniform(0.18, 0.4)
    heights = np.linspace(0, tall, 18)
    outer = wave(rng, 18, widest * rng.uniform(0.25, 0.6), widest, rng.uniform(0.7, 2.0))
    solid = lathe(outer, heights, rng.uniform(0.02, 0.04), 0.04)
    kind = rng.choice(["plain", "fluted", "square", "twisted"], p=[0.45, 0.25, 0.15, 0.15])
    if kind != "plain":
        flutes, deep = int(rng.integers(5, 12)), rng.uniform(0.04, 0.1)
        twist = rng.uniform(1.0, 3.0) if kind == "twisted" else 0.0
        solid = solid.refine_to_length(0.05).warp_batch(lambda places: _pressed(places, kind, flutes, deep, twist / tall))
    parts = [solid]
    if rng.random() < 0.35:
        foot = max(outer[0] * rng.uniform(0.9, 1.3), 0.08)
        parts.append(turned([(0, -0.04), (foot, -0.04), (foot * 0.9, 0.02), (0, 0.02)]))
    if rng.random() < 0.45:
        parts += _handles(rng, outer, heights, both=rng.random() < 0.6)
    return parts


def _desk(rng: np.random.Generator) -> list[Any]:
    """A foot, an arm of two or three rods in the plane x = 0, and a hollow shade that looks down."""
    foot, stem = rng.uniform(0.1, 0.18), rng.uniform(0.011, 0.02)
    elbow = np.array([0, rng.uniform(0.35, 0.6), rng.uniform(-0.3, -0.1)])
    head = elbow + [0, rng.uniform(0.05, 0.3), rng.uniform(0.35, 0.6)]
    parts = [turned([(0, 0), (foot, 0), (foot, 0.025), (0, 0.04)]), *chain([(0, 0.02, 0), elbow, head], stem)]
    if rng.random() < 0.5:  # a second rod beside it
        parts += chain([(0, 0.02, 0.05), elbow + [0, 0.0, 0.05], head], stem * 0.7)
    parts.append(turned([(0, -0.02), (0.03, -0.02), (0.03, 0.02), (0, 0.02)]).rotate([0, 0, 90]).translate(elbow.tolist()))
    long, wide = rng.uniform(0.14, 0.24), rng.uniform(0.09, 0.16)
    cone = turned([(0, 0.03), (0.035, 0.03), (0.035, -0.02), (wide, -long), (wide - 0.02, -long), (0.02, -0.03), (0, -0.03)])
    return [*parts, cone.rotate([float(rng.uniform(-50, 10)), 0, 0]).translate(head.tolist())]


def _shade(rng: np.random.Generator, at: float, room: float) -> Any:
    """A hollow shade around the stem's upper end at a height, with the spider that holds it; `room` is how low it may reach."""
    tall = min(rng.uniform(0.16, 0.34), 0.8 * room)
    low, high = rng.uniform(0.14, 0.3), rng.uniform(0.06, 0.2)
    wall, bow = rng.uniform(0.014, 0.024), rng.uniform(-0.04, 0.06)
    t = np.linspace(0, 1, 7)
    radii, heights = low + (high - low) * t + bow * np.sin(np.pi * t), at - 0.3 * tall + tall * t
    if rng.random() < 0.25:  # a globe
        ball = rng.uniform(0.11, 0.2)
        return turned([(ball * np.sin(a), at + ball * 0.8 - ball * np.cos(a)) for a in np.linspace(0, np.pi, 16)])
    shell = turned([*zip(radii, heights), *zip(radii[::-1] - wall, heights[::-1])])
    spider = [rod((-radii[2] + wall / 2, heights[2], 0), (radii[2] - wall / 2, heights[2], 0), 0.011)]
    return joined([shell, *spider, rod((0, at - 0.3 * tall, 0), (0, heights[2] + 0.02, 0), 0.025)])


def _pressed(places: np.ndarray, kind: str, flutes: int, deep: float, twist: float) -> np.ndarray:
    """Places [P, 3] of a vessel around y, with its radii changed by their angle."""
    angle = np.arctan2(places[:, 2], places[:, 0]) + twist * places[:, 1]
    if kind == "square":  # between a circle and a square
        ratio = 0.5 * (1 + 1 / np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle))))
    else:
        ratio = 1 + deep * np.cos(flutes * angle)
    return np.stack([places[:, 0] * ratio, places[:, 1], places[:, 2] * ratio], axis=1)


def _handles(rng: np.random.Generator, outer: np.ndarray, heights: np.ndarray, *, both: bool) -> list[Any]:
    """Bows from a lower point of the wall to a higher one, in the plane z = 0."""
    a, b = int(rng.integers(4, 8)), int(rng.integers(11, 16))
    reach, thick = rng.uniform(0.05, 0.14), rng.uniform(0.014, 0.024)
    t = np.linspace(0, 1, 7)
    x = outer[a] + (outer[b] - outer[a]) * t - 0.02 + np.sin(np.pi * t) * (reach + max(outer[a : b + 1].max() - max(outer[a], outer[b]), 0))
    way = [(float(p), float(q), 0.0) for p, q in zip(x, heights[a] + (heights[b] - heights[a]) * t)]
    bow = chain(way, thick)
    return bow + ([part.mirror([1.0, 0, 0]) for part in bow] if both else [])
