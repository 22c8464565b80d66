"""Chairs and tables."""

from typing import Any

import numpy as np

from ava_jax.tasks.ldif.procedural.parts import both_sides, box, chain, rod, slab, turned


def chair(rng: np.random.Generator) -> list[Any]:
    """Parts: legs, pedestal, runners or a star; a seat; a back of a panel, slats, spindles or a frame; arms; stretchers."""
    width, depth, height, back = rng.uniform((0.38, 0.38, 0.3, 0.35), (0.62, 0.58, 0.55, 0.75))
    thick = rng.uniform(0.025, 0.09)
    lean = rng.uniform(0, 0.16)  # of the back
    parts = [_seat(rng, width, depth, height, thick)]
    parts += _base(rng, width * 0.94, depth * 0.94, height)
    top = height + thick / 2
    parts += _back(rng, width, top - 0.02, back, -depth / 2, lean)
    if rng.random() < 0.45:
        parts += _arms(rng, width, depth, top, lean)
    return parts


def table(rng: np.random.Generator) -> list[Any]:
    """Parts: a round, oval or rectangular top; legs, pedestal, trestles or panels; a shelf; drawers; an apron."""
    width, depth, height, thick = rng.uniform((0.6, 0.4, 0.25, 0.02), (1.3, 0.85, 0.75, 0.07))
    round_top = rng.random() < 0.3
    if round_top:
        depth = min(depth, width) * rng.uniform(0.8, 1.0)
        parts = [turned([(0, 0), (0.5, 0), (0.5, thick), (0, thick)], 40).scale([width, 1, depth]).translate([0, height, 0])]
        width, depth = 0.66 * width, 0.66 * depth
    else:
        parts = [box((width, thick, depth), (0, height + thick / 2, 0))]
    kind = rng.choice(["legs", "pedestal", "trestle", "panels"], p=[0.5, 0.2, 0.2, 0.1])
    if kind == "panels" and not round_top:
        panel = rng.uniform(0.02, 0.05)
        parts += both_sides(box((panel, height + 0.01, depth * 0.96), (width / 2 - panel / 2 - 0.01, height / 2, 0)))
        if rng.random() < 0.7:
            parts.append(box((width * 0.95, height * rng.uniform(0.2, 0.6), 0.02), (0, height * 0.65, -depth * 0.3)))
    else:
        parts += _base(rng, width * 0.94, depth * 0.94, height, {"panels": "legs"}.get(kind, kind))
        if rng.random() < 0.35 and kind == "legs":
            parts.append(box((width * 0.88, rng.uniform(0.015, 0.04), depth * 0.88), (0, height * rng.uniform(0.2, 0.5), 0)))
    if rng.random() < 0.3 and not round_top:
        parts += _drawers(rng, width, depth, height)
    return parts


def _seat(rng: np.random.Generator, width: float, depth: float, height: float, thick: float) -> Any:
    kind = rng.choice(["board", "round", "tapered", "cushion"], p=[0.4, 0.15, 0.3, 0.15])
    if kind == "round":
        return turned([(0, 0), (0.5, 0), (0.5, thick), (0, thick)], 36).scale([width, 1, depth]).translate([0, height - thick / 2, 0])
    if kind == "tapered":
        rear = width * rng.uniform(0.7, 0.95) / 2
        return slab(
            [(-width / 2, height, depth / 2), (width / 2, height, depth / 2), (rear, height, -depth / 2), (-rear, height, -depth / 2)],
            thick,
        )
    if kind == "cushion":
        lower, upper = 0.9, thick * 1.6
        corners = [
            (i * width / 2 * s, height + y, k * depth / 2 * s)
            for s, y in ((lower, -thick / 2), (1, 0.2 * upper), (lower, upper / 2))
            for i in (-1, 1)
            for k in (-1, 1)
        ]
        return slab(corners, 0.004)
    return box((width, thick, depth), (0, height, 0))


def _base(rng: np.random.Generator, width: float, depth: float, height: float, kind: str = "") -> list[Any]:
    kind = kind or str(rng.choice(["legs", "pedestal", "star", "runners", "cantilever"], p=[0.58, 0.08, 0.16, 0.1, 0.08]))
    if kind == "legs":
        return _legs(rng, width, depth, height)
    radius, x, z = rng.uniform(0.014, 0.028), width / 2 - 0.02, depth / 2 - 0.02
    if kind == "pedestal":
        foot, stem = 0.36 * width, rng.uniform(0.02, 0.06)
        outline = [
            (0, 0),
            (foot, 0),
            (foot, 0.02),
            (stem * 1.5, 0.06),
            (stem, 0.12),
            (stem, height - 0.05),
            (stem * 2.5, height),
            (0, height),
        ]
        return [turned(outline)]
    if kind == "star":
        rays, reach = int(rng.integers(3, 6)), rng.uniform(0.4, 0.55) * width
        angles = np.pi / 2 + 2 * np.pi * np.arange(rays) / rays
        ends = [(reach * np.cos(a), 0.03, reach * np.sin(a)) for a in angles]
        spokes = [rod((0, 0.09, 0), end, radius * 1.2, radius * 0.8) for end in ends]
        return [rod((0, 0.05, 0), (0, height, 0), radius * 1.3), *spokes, *(rod((a, 0, c), (a, 0.05, c), 0.02) for a, _, c in ends)]
    if kind == "runners":  # a rocking chair's, or sledges
        bow = rng.uniform(0, 0.1)
        way = [(x, bow * t * t + radius, z * 1.25 * t) for t in np.linspace(-1, 1, 7)]
        posts = [rod((x, radius + bow * 0.6, k * z * 0.97), (x, height, k * z), radius) for k in (-1, 1)]
        return [part for one in (*chain(way, radius), *posts) for part in both_sides(one)]
    if kind == "trestle":
        parts = []
        for side in (-1, 1):
            at = side * width * 0.36
            parts += [rod((at, 0.01, k * z), (at, height, k * 0.25 * z), radius * 1.2) for k in (-1, 1)]
            parts.append(rod((at, 0.35 * height, -z * 0.7), (at, 0.35 * height, z * 0.7), radius * 0.8))
        return [*parts, rod((-width * 0.36, 0.35 * height, 0), (width * 0.36, 0.35 * height, 0), radius)]
    way = [(x, height, -z), (x, height, z), (x, radius, z), (x, radius, -z)]  # cantilever
    return [part for one in chain(way, radius) for part in both_sides(one)] + [rod((-x, radius, -z), (x, radius, -z), radius)]


def _legs(rng: np.random.Generator, width: float, depth: float, height: float) -> list[Any]:
    radius = rng.uniform(0.014, 0.045)
    taper, spread = rng.uniform(0.4, 1.0), rng.choice([1.0, rng.uniform(1.0, 1.25)])
    x, z = width / 2 - radius, depth / 2 - radius
    square = rng.random() < 0.4
    parts = []
    for k in (-1, 1):
        if square:
            foot, head, half = (x * spread, 0, k * z * spread), (x, height, k * z), radius
            corners = [(foot[0] + i * half * taper, 0, foot[2] + j * half * taper) for i in (-1, 1) for j in (-1, 1)]
            corners += [(head[0] + i * half, height, head[2] + j * half) for i in (-1, 1) for j in (-1, 1)]
            parts += both_sides(slab(corners, 0.002))
        else:
            parts += both_sides(rod((x * spread, 0, k * z * spread), (x, height, k * z), radius * taper, radius))
    if rng.random() < 0.4:  # stretchers
        at, thin = height * rng.uniform(0.2, 0.5), radius * rng.uniform(0.4, 0.8)
        out = 1 + (spread - 1) * (1 - at / height)
        parts += both_sides(rod((x * out, at, -z * out), (x * out, at, z * out), thin))
        if rng.random() < 0.5:
            parts += [rod((-x * out, at, 0), (x * out, at, 0), thin)]
        else:
            parts += [rod((-x * out, at, k * z * out), (x * out, at, k * z * out), thin) for k in (-1, 1)]
    return parts


def _back(rng: np.random.Generator, width: float, low: float, tall: float, rear: float, lean: float) -> list[Any]:
    half, thick = width / 2 * rng.uniform(0.8, 1.0), rng.uniform(0.02, 0.06)
    at = lambda x, t: (x, low + tall * t, rear + thick / 2 - lean * t)  # noqa: E731
    kind = rng.choice(["panel", "slats", "spindles", "ladder", "oval"], p=[0.25, 0.2, 0.2, 0.25, 0.1])
    if kind == "panel":
        top = half * rng.uniform(0.75, 1.05)
        return [slab([at(-half, 0), at(half, 0), at(top, 1), at(-top, 1)], thick, axis=2)]
    if kind == "oval":
        edge = [at(half * np.cos(a), 0.55 + 0.45 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 20, endpoint=False)]
        return [slab(edge, thick, axis=2), *both_sides(rod(at(half * 0.5, -0.02), at(half * 0.6, 0.4), 0.016))]
    post = rng.uniform(0.014, 0.028)
    parts = both_sides(rod(at(half - post, -0.01), at(half - post, 1), post))
    rail = 0.5 * rng.uniform(0.1, 0.22)
    edge = half - post
    if kind == "ladder":
        for t in np.linspace(rng.uniform(0.15, 0.4), 1 - rail, int(rng.integers(2, 5))):
            parts.append(
                slab(
                    [at(-edge, t - rail / 2), at(edge, t - rail / 2), at(edge, t + rail / 2), at(-edge, t + rail / 2)], thick * 0.6, axis=2
                )
            )
        return parts
    parts.append(slab([at(-edge, 1 - rail), at(edge, 1 - rail), at(edge, 1), at(-edge, 1)], thick, axis=2))
    count = int(rng.integers(3, 7))
    for x in np.linspace(-edge, edge, count + 2)[1:-1]:
        if kind == "slats":
            w = edge / (count + 1) * rng.uniform(0.4, 0.6)
            parts.append(slab([at(x - w, -0.01), at(x + w, -0.01), at(x + w, 1 - rail / 2), at(x - w, 1 - rail / 2)], 0.02, axis=2))
        else:
            parts.append(rod(at(x, -0.01), at(x, 1 - rail / 2), rng.uniform(0.008, 0.012), sections=10))
    return parts


def _arms(rng: np.random.Generator, width: float, depth: float, top: float, lean: float) -> list[Any]:
    tall, thick, x = rng.uniform(0.15, 0.26), rng.uniform(0.016, 0.03), width / 2 - 0.015
    front = depth / 2 * rng.uniform(0.5, 0.95)
    rear = -depth / 2 - lean * 0.3 + 0.02
    rest = box((rng.uniform(0.03, 0.07), 0.025, front - rear + 0.03), (x, top + tall, (front + rear) / 2))
    post = rod((x, top - 0.03, front - 0.02), (x, top + tall, front - 0.02), thick * 0.6)
    parts = [*both_sides(rest), *both_sides(post)]
    if rng.random() < 0.25:
        parts += both_sides(box((0.025, tall, front - rear), (x, top + tall / 2 - 0.01, (front + rear) / 2)))
    return parts


def _drawers(rng: np.random.Generator, width: float, depth: float, height: float) -> list[Any]:
    tall, deep = height * rng.uniform(0.2, 0.6), depth * 0.8
    if rng.random() < 0.5:
        parts = [box((width * 0.8, tall * 0.5, deep), (0, height - tall * 0.25, 0))]
        knobs = [(x * width * 0.2, height - tall * 0.25) for x in (-1, 1)]
    else:
        wide = width * 0.28
        parts = both_sides(box((wide, tall, deep), (width / 2 - wide / 2 - 0.04, height - tall / 2, 0)))
        knobs = [(side * (width / 2 - wide / 2 - 0.04), height - tall * t) for side in (-1, 1) for t in (0.3, 0.7)]
    return parts + [rod((x, y, deep / 2 - 0.005), (x, y, deep / 2 + 0.03), 0.014, sections=10) for x, y in knobs]
