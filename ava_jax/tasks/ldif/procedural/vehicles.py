"""Cars and planes."""

from typing import Any

import numpy as np

from ava_jax.tasks.ldif.procedural.parts import both_sides, box, extruded, joined, rod, slab, turned


def car(rng: np.random.Generator) -> list[Any]:
    """Parts: a body of an outline seen from the side, a cabin, wheels in arches, mirrors; a pickup's bed, a roof rack, a spoiler."""
    length, width = rng.uniform((0.9, 0.36), (1.25, 0.5))
    wheel = rng.uniform(0.075, 0.12)
    clear, hood, roof = wheel * rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.27), rng.uniform(0.33, 0.44)
    half = length / 2
    kind = rng.choice(["saloon", "van", "pickup", "hatch", "racer"], p=[0.3, 0.2, 0.2, 0.2, 0.1])
    if kind == "racer":
        hood, roof = 0.17, 0.26
    nose = rng.uniform(0.7, 0.95) * (hood - clear) + clear
    wheel = min(wheel, 0.41 * nose)  # arches end below the hood
    side = [(-half, clear), (half, clear), (half, nose), (half * 0.45, hood), (-half * 0.9, hood), (-half, hood * 0.92)]
    body = extruded([(z, y) for z, y in side], -width / 2, width / 2, "x")
    arch, front, rear = wheel * 1.25, half * rng.uniform(0.58, 0.68), -half * rng.uniform(0.58, 0.68)
    for z in (front, rear):
        body = body - rod((-width, wheel, z), (-width / 2 + 0.07, wheel, z), arch, sections=24)
        body = body - rod((width, wheel, z), (width / 2 - 0.07, wheel, z), arch, sections=24)
    parts = [body]
    back = {"saloon": -0.55, "van": -0.97, "pickup": -0.05, "hatch": -0.9, "racer": -0.35}[kind]
    start, slope = half * rng.uniform(0.3, 0.5), rng.uniform(0.12, 0.28) * half
    lower = [(start, hood), (back * half, hood)]
    upper = [(start - slope, roof), (back * half + (0.02 if kind in ("van", "pickup") else slope * 0.7), roof)]
    inset = rng.uniform(0.8, 0.94)
    corners = [(i * width / 2 * 0.97, y - 0.03, z) for z, y in lower for i in (-1, 1)] + [
        (i * width / 2 * inset, y, z) for z, y in upper for i in (-1, 1)
    ]
    parts.append(slab(corners, 0.002))
    if kind == "pickup":
        rim = 0.02
        bed = box((width - 2 * rim - 0.02, 0.2, half * 0.75), (0, hood - 0.08 + 0.1, -half * 0.55))
        parts[0] = parts[0] - bed
    for z in (front, rear):
        parts += both_sides(joined([
            rod((width / 2 - 0.075, wheel, z), (width / 2 + 0.005, wheel, z), wheel, sections=24),
            rod((0, wheel, z), (width / 2, wheel, z), wheel * 0.25, sections=12),
        ]))  # fmt: skip
    parts += _car_details(rng, width, half, hood, roof, upper, kind)
    return parts


def _car_details(
    rng: np.random.Generator, width: float, half: float, hood: float, roof: float, upper: list[tuple[float, float]], kind: str
) -> list[Any]:
    parts = []
    if rng.random() < 0.7:
        z = upper[0][0] + 0.1
        parts += both_sides(box((0.07, 0.025, 0.03), (width / 2 - 0.005, hood + 0.006, z)))
    if rng.random() < 0.3 and kind in ("van", "hatch", "saloon"):
        low, high = upper[1][0] + 0.04, upper[0][0] - 0.04
        parts += both_sides(rod((width * 0.33, roof + 0.035, low), (width * 0.33, roof + 0.035, high), 0.011))
        parts += [rod((-width * 0.33, roof + 0.035, z), (width * 0.33, roof + 0.035, z), 0.011) for z in np.linspace(low, high, 4)]
        parts += both_sides(rod((width * 0.33, roof - 0.02, low), (width * 0.33, roof + 0.04, low), 0.012))
        parts += both_sides(rod((width * 0.33, roof - 0.02, high), (width * 0.33, roof + 0.04, high), 0.012))
    if kind == "racer" or (kind == "saloon" and rng.random() < 0.3):
        z, y = -half + 0.05, hood + rng.uniform(0.06, 0.12)
        parts += [
            box((width * 0.95, 0.018, 0.09), (0, y, z)),
            *both_sides(box((0.018, y - hood + 0.04, 0.05), (width * 0.35, (y + hood) / 2 - 0.015, z))),
        ]
    if rng.random() < 0.6:  # bumpers
        parts += [box((width * 0.92, 0.05, 0.05), (0, 0.5 * hood, z)) for z in (-half, half)]
    return parts


def plane(rng: np.random.Generator) -> list[Any]:
    """Parts: a turned fuselage, tapered and swept wings (one pair or two), tail, engines or a propeller, floats or wheels."""
    length, radius, span, chord = rng.uniform((0.85, 0.04, 0.8, 0.1), (1.3, 0.085, 1.4, 0.24))
    t = np.linspace(0, 1, 15)
    swell = np.minimum(1, np.minimum((t / 0.16) ** 0.5, ((1 - t) / rng.uniform(0.35, 0.6)) ** 0.8)) * radius
    body = turned([(0, 0), *zip(np.maximum(swell[1:-1], 0.012), t[1:-1] * length), (0, length)], 20)
    parts = [body.rotate([-90, 0, 0]).translate([0, 0, length / 2])]  # its nose, where it begins, to +z
    wide, sweep = radius * rng.uniform(-0.8, 0.8), rng.uniform(-0.05, 0.45)
    biplane, dihedral = rng.random() < 0.15, rng.uniform(-0.02, 0.12)
    thick, taper, at = rng.uniform(0.016, 0.03), rng.uniform(0.25, 0.9), rng.uniform(0.0, 0.14)
    wing = _wing(span / 2, chord, taper, sweep, dihedral, thick)
    heights = (-radius, radius * 1.9) if biplane else (wide,)
    for y in heights:
        parts += both_sides(wing.translate([0, y, at]))
    if biplane:
        for x in (0.25, 0.42):
            z, low = at - sweep * x * span, dihedral * x * span
            parts += both_sides(rod((x * span, heights[0] + low, z), (x * span, heights[1] + low, z), 0.011))
        parts += [rod((0, 0, at), (0, heights[1] + 0.005, at), 0.02)]
    parts += _tail(rng, length, radius)
    kind = rng.choice(["jets", "propeller", "rear", "glider"], p=[0.4, 0.35, 0.1, 0.15])
    if kind == "jets":
        for x in np.linspace(0.28, 0.6, int(rng.integers(1, 3))) if rng.random() < 0.8 else (0.35,):
            place = (x * span / 2, heights[0] + dihedral * x * span / 2 - 0.045, at - sweep * x * span / 2)
            parts += both_sides(_engine(rng, place, chord))
    elif kind == "rear":
        parts += both_sides(_engine(rng, (radius + 0.05, 0.03, -length * 0.27), 0.15))
        parts += both_sides(box((0.08, 0.02, 0.08), (radius + 0.01, 0.03, -length * 0.27)))
    elif kind == "propeller":
        parts += [rod((0, 0, length / 2 - 0.08), (0, 0, length / 2 + 0.03), 0.028, 0.012)]
        turn, blades = rng.choice([0.0, np.pi / 2]), int(rng.choice([2, 4]))
        for angle in turn + 2 * np.pi * np.arange(blades) / blades:
            blade = box((0.026, rng.uniform(0.13, 0.2), 0.014), (0, 0.08, 0)).rotate([0, 0, float(np.degrees(angle))])
            parts.append(blade.translate([0, 0, length / 2 + 0.005]))
    if kind != "jets" and rng.random() < 0.5:
        x, y, r = 0.12 * span, heights[0] - rng.uniform(0.09, 0.14), rng.uniform(0.03, 0.045)
        parts += both_sides(
            joined([rod((radius * 0.3, heights[0] * 0.5, at), (x, y, at), 0.012), rod((x - 0.012, y, at), (x + 0.012, y, at), r)])
        )
    return parts


def _wing(half: float, chord: float, taper: float, sweep: float, dihedral: float, thick: float) -> Any:
    """The right one, from the middle outwards."""
    tip = chord * taper
    root_z, tip_z = (chord / 2, -chord / 2), (-sweep * half + tip / 2, -sweep * half - tip / 2)
    corners = [(-0.01, 0, root_z[0]), (-0.01, 0, root_z[1]), (half, dihedral * half, tip_z[0]), (half, dihedral * half, tip_z[1])]
    inner = [(-0.01, 0, root_z[0] - 0.3 * chord), (half, dihedral * half, tip_z[0] - 0.3 * tip)]
    return slab(corners + inner, [thick * 0.5, thick * 0.4, thick * 0.4, thick * 0.35, thick, thick * 0.6])


def _tail(rng: np.random.Generator, length: float, radius: float) -> list[Any]:
    rear, tall, chord = -length / 2 + 0.07, rng.uniform(0.12, 0.24), rng.uniform(0.09, 0.15)
    high = rng.random() < 0.3  # the tailplane on the fin
    fin = slab(
        [(0, 0, rear + chord / 2), (0, 0, rear - chord / 2), (0, tall, rear - chord * 0.9), (0, tall, rear - chord * 0.35)], 0.02, axis=0
    )
    wing = _wing(rng.uniform(0.13, 0.24), chord, rng.uniform(0.4, 0.9), rng.uniform(0, 0.5), 0.0, 0.02)
    place = [0, tall - 0.01, rear - chord * 0.6] if high else [0, 0, rear]
    return [fin, *both_sides(wing.translate(place))]


def _engine(rng: np.random.Generator, place: tuple[float, float, float], chord: float) -> Any:
    """A nacelle with an open front, and the pylon above it."""
    r, long = rng.uniform(0.03, 0.045), rng.uniform(0.13, 0.2)
    outline = [(0, 0.03), (r * 0.7, 0.03), (r * 0.8, 0), (r, 0.02), (r, long * 0.5), (r * 0.5, long), (0, long)]
    nacelle = turned(outline, 16).rotate([-90, 0, 0]).translate([place[0], place[1], place[2] + long * 0.65])
    return joined([nacelle, box((0.018, 0.06, chord * 0.45), (place[0], place[1] + 0.028, place[2]))])
