"""Procedural heads: colour. Paints skin, hair, eyes, mouth and clothes at any points of the generic head.

Colours are sRGB, 0-255; places are `synth_head.Surface` coordinates, so that what is painted follows the mesh in every face.
"""

from typing import NamedTuple

import numpy as np

from ava_jax.synth.heads.geometry import EYE, MOUTH, MOUTH_HALF_WIDTH, Expression, Identity, Surface, bump, smoothstep

# Classes of `segmentation_parts`.
HAIR, BODY, APPAREL, UPPER_LIP, LOWER_LIP, UPPER_TEETH, LOWER_TEETH, TONGUE = 1, 2, 4, 6, 7, 8, 9, 10

_HAIRLINES = {  # angle from the front, degrees -> level down to which hair grows
    "short": ([0, 35, 52, 68, 78, 88, 97, 112, 126, 180], [0.225, 0.235, 0.29, 0.35, 0.46, 0.52, 0.45, 0.50, 0.66, 0.75]),
    "long": ([0, 30, 48, 62, 72, 82, 180], [0.205, 0.24, 0.33, 0.46, 0.72, 0.93, 0.955]),
    "bob": ([0, 30, 50, 64, 74, 84, 180], [0.27, 0.275, 0.34, 0.46, 0.66, 0.80, 0.82]),
    "receding": ([0, 25, 45, 60, 76, 88, 97, 112, 126, 180], [0.10, 0.08, 0.12, 0.24, 0.44, 0.50, 0.45, 0.50, 0.65, 0.73]),
}
_THICKNESS = {"short": 9.0, "long": 13.0, "bob": 14.0, "receding": 3.0}  # mm

# Skin, hair, iris, clothes, style, curls, beard: people to start from; colours and shapes then vary.
_PEOPLE = (
    ((226, 178, 148), (62, 40, 28), (92, 64, 40), (58, 86, 120), "short", 0.2, 0.7),
    ((146, 98, 68), (30, 24, 22), (58, 38, 26), (178, 84, 62), "short", 1.0, 0.0),
    ((240, 203, 180), (188, 154, 108), (84, 122, 150), (86, 122, 98), "long", 0.1, 0.0),
    ((196, 146, 108), (34, 28, 28), (70, 46, 30), (190, 166, 120), "bob", 0.0, 0.0),
    ((102, 66, 48), (26, 22, 22), (50, 32, 24), (88, 74, 118), "receding", 0.8, 0.75),
    ((236, 192, 164), (150, 70, 34), (88, 128, 96), (70, 70, 78), "long", 0.6, 0.0),
    ((214, 164, 130), (142, 138, 134), (92, 110, 122), (122, 54, 60), "receding", 0.1, 0.35),
    ((176, 124, 88), (46, 34, 28), (76, 54, 34), (60, 110, 116), "bob", 0.9, 0.0),
)


class Paint(NamedTuple):
    """What an identity always looks like, at Q points.

    Attributes:
      colour: f32 [Q, 3]; label: uint8 [Q]; gloss: f32 [Q], strength of highlights, 0..1.
    """

    colour: np.ndarray
    label: np.ndarray
    gloss: np.ndarray


def look(index: int, rng: np.random.Generator) -> dict:
    """Colours and style of the person of this index: the next of a list of varied people, each a little different every time."""
    skin, hair, iris, clothes, style, curls, beard = _PEOPLE[index % len(_PEOPLE)]

    def vary(colour: tuple[int, int, int], amount: float) -> np.ndarray:
        return np.clip(np.array(colour) * (1 + amount * rng.standard_normal()) + 60 * amount * rng.standard_normal(3), 12, 250)

    return {
        "skin": vary(skin, 0.04), "hair": vary(hair, 0.06), "iris": vary(iris, 0.08), "clothes": vary(clothes, 0.15),
        "style": style, "curls": curls, "beard": beard, "brow": rng.uniform(0.8, 1.3), "lips": rng.uniform(0.4, 1),
        "freckles": max(0.0, rng.normal(0.2, 0.4)),
    }  # fmt: skip


def hair_thickness(s: Surface, identity: Identity) -> np.ndarray:
    """How far hair stands off the head, mm [Q]."""
    c = identity.look
    depth = _hairline(s, c["style"]) - s.level
    thick = _THICKNESS[c["style"]] * smoothstep((depth - 0.005) / 0.13) * (1 + 0.9 * c["curls"])
    if c["style"] in ("long", "bob"):
        thick *= 1 + 1.1 * smoothstep((s.level - 0.58) / 0.2)
    else:
        thick *= 0.35 + 0.65 * smoothstep((s.y + 20) / 80)  # trimmed around the ears
    waves = noise(np.stack([s.x, s.y, s.z], -1) / 14, identity.seed, octaves=1)
    return thick * (1 + (0.10 + 0.22 * c["curls"]) * waves)


def paint(s: Surface, identity: Identity) -> Paint:
    """Everything that does not move: skin, brows, beard, hair, clothes."""
    c = identity.look
    colour = _skin(s, identity)
    label = np.full(s.x.shape, BODY, np.uint8)
    gloss = np.full(s.x.shape, 0.5)
    points = np.stack([s.x, s.y, s.z], -1)

    strands = noise(np.stack([s.angle * 26, s.level * 5, s.x / 20], -1), identity.seed + 1, octaves=3)
    curls = noise(points / 4.5, identity.seed + 2, octaves=2)
    texture = (1 - c["curls"]) * strands + c["curls"] * curls
    hair_colour = c["hair"] * (1 + 0.20 * texture[:, None]) + 6
    fuzz = noise(points / 1.4, identity.seed + 3, octaves=2)

    ax = np.abs(s.x)
    arch = 35 + 2.8 * np.sin((ax - 12) / 38 * np.pi) - 0.05 * np.clip(ax - 40, 0, None) ** 2
    half = 3.4 * c["brow"] * np.clip(1.15 - ((ax - 27) / 22) ** 2, 0, 1)
    brows = smoothstep((half - np.abs(s.y - arch) + 0.4) / 1.6) * (s.z > 20) * (0.8 + 0.2 * fuzz)
    colour = _mix(colour, 0.8 * c["hair"] + 0.08 * c["skin"], np.clip(brows, 0, 0.9))

    if c["beard"]:
        stubble = np.clip(c["beard"] * _beard(s) * (1 + 0.14 * fuzz), 0, 0.92)
        colour = _mix(colour, hair_colour, stubble)
        gloss *= 1 - 0.6 * stubble

    edge = smoothstep((_hairline(s, c["style"]) - s.level + 0.007 * texture) / 0.022)
    cover = edge * (0.72 + 0.28 * np.clip(fuzz, -1, 1) if c["style"] == "receding" else 1)
    colour = _mix(colour, hair_colour, np.clip(cover, 0, 1))
    gloss = np.where(edge > 0.5, 0.55 * (1 - 0.8 * c["curls"]), gloss)
    label[edge > 0.5] = HAIR

    neckline = 0.95 - 0.012 * np.cos(s.angle)
    clothes = smoothstep((s.level - neckline) / 0.006) * (1 - (label == HAIR) * edge)
    weave = 1 + 0.06 * noise(points / 3, identity.seed + 4, octaves=1)
    seam = 1 - 0.35 * np.exp(-(((s.level - neckline - 0.012) / 0.004) ** 2))
    colour = _mix(colour, c["clothes"] * (weave * seam)[:, None], clothes)
    gloss *= 1 - 0.9 * clothes
    label[clothes > 0.5] = APPAREL
    return Paint(np.clip(colour, 0, 255).astype(np.float32), label, gloss.astype(np.float32))


def animate(base: Paint, s: Surface, jaw: np.ndarray, identity: Identity, e: Expression) -> Paint:
    """Adds all that moves: eyes, mouth, wrinkles, blush.

    Args:
      base: what `paint` gave for the same points.
      jaw: [Q], `synth_head.jaw_weight` as the mesh interpolates it, so that lips part where the surface does.
    """
    colour, label, gloss = base.colour.copy(), base.label.copy(), base.gloss.copy()
    face = np.flatnonzero((s.z > 5) & (s.y < 80) & (s.level < 0.86) & (label != HAIR))
    local = Surface(*(field[face] for field in s))
    part = Paint(colour[face].astype(np.float64), label[face], gloss[face])
    skin_label = part.label.copy()
    shade = _wrinkles(local, e)
    part = part._replace(colour=part.colour * shade[:, None])
    part = _mouth(part, local, jaw[face], identity, e)
    for side in (-1, 1):
        part = _eye(part, local, side, identity, e)
    colour[face], gloss[face] = np.clip(part.colour, 0, 255), part.gloss
    label[face] = np.where(skin_label == APPAREL, APPAREL, part.label)
    return Paint(colour, label, gloss)


def noise(points: np.ndarray, seed: int, octaves: int) -> np.ndarray:
    """Smooth noise of about unit deviation at points [Q, 3]: a sum of waves, the same for the same seed."""
    rng = np.random.default_rng([seed, 77])
    total, weight = np.zeros(len(points)), 0.0
    for octave in range(octaves):
        for _ in range(6):
            direction = rng.standard_normal(3)
            frequency = 2.0**octave / np.linalg.norm(direction) * rng.uniform(0.7, 1.4)
            total += 0.7**octave * np.sin(points @ (direction * frequency) + rng.uniform(0, 2 * np.pi))
        weight += 3 * 0.49**octave
    return total / np.sqrt(weight)


def _mix(under: np.ndarray, over: np.ndarray, amount: np.ndarray) -> np.ndarray:
    return under + (over - under) * amount[..., None]


def _hairline(s: Surface, style: str) -> np.ndarray:
    angles, levels = _HAIRLINES[style]
    return np.interp(np.rad2deg(np.abs(s.angle)), angles, levels)


def _beard(s: Surface) -> np.ndarray:
    ax = np.abs(s.x)
    cheek_line = -34 + 22 * smoothstep((ax - 30) / 40)
    region = smoothstep((cheek_line - s.y) / 9) * smoothstep((0.865 - s.level) / 0.03) * smoothstep((s.z - 2) / 18)
    upper, lower = _lips(s)
    bare = smoothstep((upper + 0.5 - s.y) / 1.5) * smoothstep((s.y - lower + 0.5) / 1.5) * (ax < 26)
    philtrum = 0.35 * bump(s.x, s.y, (0, -39), (3, 6))
    return region * (1 - bare) * (1 - philtrum)


def _lips(s: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower edge of the red of the lips, y in mm."""
    across = np.clip(1 - (s.x / (MOUTH_HALF_WIDTH + 1.5)) ** 2, 0, 1)
    upper = MOUTH + 7.2 * across**0.8 - 1.5 * np.exp(-((s.x / 3.2) ** 2))
    lower = MOUTH - 9.0 * np.clip(1 - (s.x / (MOUTH_HALF_WIDTH - 1)) ** 2, 0, 1) ** 0.7
    return upper, lower


def _skin(s: Surface, identity: Identity) -> np.ndarray:
    """Bare skin with lips, blush and the shade of folds that light rarely reaches."""
    c = identity.look
    ax = np.abs(s.x)
    points = np.stack([s.x, s.y, s.z], -1)
    front = s.z > 10
    mottle = 0.022 * noise(points / 9, identity.seed + 5, octaves=2) + 0.012 * noise(points / 2.5, identity.seed + 6, octaves=1)
    colour = c["skin"] * (1 + mottle)[:, None]
    blush = 0.9 * bump(ax, s.y, (44, -14), (20, 15)) + 0.7 * bump(s.x, s.y, (0, -22), (13, 9)) + 0.4 * bump(s.x, s.y, (0, -84), (18, 10))
    blush = blush * front + 0.8 * bump(s.y, s.z, (4, -12), (30, 20)) * (ax > 60)
    colour = colour * (1 + blush[:, None] * np.array([0.02, -0.09, -0.10]))
    spots = np.clip(noise(points / 1.8, identity.seed + 7, octaves=1) - 1.3, 0, 1) * bump(s.x, s.y, (0, -6), (48, 22)) * front
    colour = colour * (1 - 0.35 * c["freckles"] * spots[:, None] * np.array([0.6, 1.0, 1.2]))

    shade = 0.16 * bump(ax, s.y, (EYE[0] - 8, EYE[1] - 9), (13, 4)) + 0.14 * bump(ax, s.y, (EYE[0] - 4, EYE[1] + 11), (17, 5))
    shade += 0.13 * bump(ax, s.y, (15, 12), (5, 12)) + 0.75 * bump(ax, s.y, (6.2, -29.5), (4.2, 2.4))
    shade += 0.28 * bump(ax, s.y, (17.5, -25), (2.6, 7))
    shade += 0.22 * bump(s.x, s.y, (0, -63.5), (17, 3)) + 0.16 * bump(s.x, s.y, (0, -33), (11, 3))
    shade = shade * front
    below = smoothstep((s.level - 0.845) / 0.03) * (1 - smoothstep((s.level - 0.90) / 0.07))
    shade += 0.42 * below * np.clip(np.cos(s.angle), 0, 1) ** 0.5
    shade += (0.55 * bump(s.y, s.z, (3, -9), (13, 5)) + 0.30 * bump(s.y, s.z, (2, 6), (20, 3))) * (ax > 60)
    colour = colour * (1 - np.clip(shade, 0, 0.9)[:, None] * np.array([0.85, 1.0, 1.05]))

    upper, lower = _lips(s)
    red = smoothstep((upper - s.y) / 1.2) * smoothstep((s.y - lower) / 1.2) * front
    lip = c["skin"] * np.array([0.86, 0.60, 0.60]) + c["lips"] * np.array([14, -12, -6])
    return _mix(colour, lip * (1 - 0.10 * (s.y > MOUTH))[:, None], 0.9 * red)


def _wrinkles(s: Surface, e: Expression) -> np.ndarray:
    """Factor [Q] on colour: folds that deepen with the expression."""
    ax = np.abs(s.x)
    along = np.clip((-26 - s.y) / 32, 0, 1)
    fold = np.exp(-(((ax - (17 + 15 * along**0.8)) / 2.2) ** 2)) * smoothstep((-22 - s.y) / 8) * smoothstep((s.y + 66) / 12)
    forehead = np.exp(-((np.mod(s.y - 50 + 3 * np.cos(s.x / 18), 9) - 4.5) ** 2) / 1.6) * bump(s.x, s.y, (0, 60), (38, 13))
    frown = np.exp(-(((ax - 6) / 1.6) ** 2)) * bump(0, s.y, (0, 33), (1, 9))
    crow = np.exp(-((np.mod(s.y - EYE[1] + 0.3 * (ax - 48), 5) - 2.5) ** 2) / 1.0) * bump(ax, s.y, (53, EYE[1]), (5, 9))
    lids = bump(ax, s.y, (EYE[0], EYE[1] + 8), (14, 3))
    depth = 0.28 * max(e.smile, 0) * fold + 0.24 * max(e.brow, 0) * forehead + 0.35 * max(-e.brow, 0) * frown
    depth += 0.18 * max(e.smile, 0) * crow + 0.10 * max(e.brow, 0) * lids
    depth += 0.22 * e.pucker * np.exp(-((np.mod(s.x, 5) - 2.5) ** 2)) * bump(s.x, s.y, (0, -40), (18, 5))
    return 1 - np.clip(depth, 0, 0.6)


def _mouth(p: Paint, s: Surface, jaw: np.ndarray, identity: Identity, e: Expression) -> Paint:
    """The line between closed lips; the inside, teeth and tongue between parted ones."""
    ax = np.abs(s.x)
    near = np.abs(s.y - MOUTH) < 16
    upper, lower = _lips(s)
    red = (s.y < upper) & (s.y > lower) & (s.z > 10)
    label = np.where(red & (jaw < 0.5), UPPER_LIP, np.where(red, LOWER_LIP, p.label)).astype(np.uint8)
    line = np.exp(-((s.y - MOUTH - 0.02 * ax) ** 2) / 1.1) * smoothstep((MOUTH_HALF_WIDTH + 3 + 2 * e.smile - ax) / 4) * near
    colour = _mix(p.colour, identity.look["skin"] * np.array([0.34, 0.2, 0.2]), 0.75 * line)

    parted = 0.44 * smoothstep(np.array(e.jaw / 0.3))
    inside = smoothstep((parted - np.abs(jaw - 0.5)) / 0.06 + 0.5) * smoothstep((MOUTH_HALF_WIDTH - ax) / 3) * near * (parted > 0.02)
    gap = max(28 * e.jaw, 3.0)  # mm between the lips
    depth = (jaw - (0.5 - parted)) / max(2 * parted, 1e-3)  # 0 at the upper lip, 1 at the lower
    arch = 1 - 0.5 * (s.x / MOUTH_HALF_WIDTH) ** 2
    upper_teeth = smoothstep((min(7 / gap, 0.62) * arch - depth) / 0.05 + 0.5)
    lower_teeth = smoothstep((depth - 1 + min(4 / gap, 0.22) * arch) / 0.05 + 0.5)
    tongue = smoothstep(1.3 - 2 * np.hypot(s.x / 15, (depth - 0.82) / 0.42)) * (e.jaw > 0.3)
    gums = np.array([70, 22, 24]) * (0.5 + 0.5 * smoothstep(np.abs(depth - 0.5) * 2))[:, None]
    cavity = _mix(gums, np.array([186.0, 92, 92]), tongue)
    gaps = 1 - 0.16 * np.exp(-((np.mod(s.x, 5.4) - 2.7) ** 2) / 0.25) - 0.35 * (ax / MOUTH_HALF_WIDTH) ** 3
    enamel = np.array([240.0, 234, 222]) * gaps[:, None]
    cavity = _mix(cavity, 0.82 * enamel, lower_teeth)
    cavity = _mix(cavity, enamel, upper_teeth)
    colour = _mix(colour, cavity, inside)
    kind = np.select([upper_teeth > 0.5, lower_teeth > 0.5, tongue > 0.5], [UPPER_TEETH, LOWER_TEETH, TONGUE], BODY)
    label = np.where(inside > 0.5, kind, label).astype(np.uint8)
    gloss = np.where(red, 0.9, p.gloss)
    return Paint(colour, label, np.where(inside > 0.5, 0.25, gloss))


def _eye(p: Paint, s: Surface, side: int, identity: Identity, e: Expression) -> Paint:
    """One eye: sclera, iris and lids that close."""
    x, y = s.x - side * EYE[0], s.y - EYE[1]
    lids = np.clip(1 - (x / 16.0) ** 2, 0, 1) * (s.z > 20)
    tilt = 0.06 * side * x  # the outer corner stands a little higher
    bottom = tilt - 4.6 * lids**0.8 + 1.2 * max(e.smile, 0) * lids
    rest = tilt + (7.8 + 1.6 * max(e.brow, 0) - 1.4 * max(-e.brow, 0) - 0.8 * max(e.smile, 0)) * lids**0.65
    top = bottom + (rest - bottom) * (1 - 0.97 * e.blink)
    opened = smoothstep((top - y) / 1.0 + 0.3) * smoothstep((y - bottom) / 1.0 + 0.3) * (lids > 0.02)
    centre_x, centre_y = 4.5 * e.gaze_x, 1.0 + 2.6 * e.gaze_y
    radius = np.hypot(x - centre_x, y - centre_y)
    lid_shadow = 0.30 * smoothstep(1 - (top - y) / 3.0)
    white = np.array([236.0, 232, 228]) * (1 - 0.10 * (x / 16.0) ** 2 - lid_shadow)[:, None]
    rays = 1 + 0.14 * np.sin(13 * np.arctan2(y - centre_y, x - centre_x) + side)
    iris = identity.look["iris"] * (rays * (1.15 - 0.6 * smoothstep((radius - 4.6) / 2.4)) - lid_shadow)[:, None]
    ball = _mix(white, iris, smoothstep((7.2 - radius) / 1.0 + 0.5))
    ball = _mix(ball, np.array([14.0, 11, 10]), smoothstep((3.0 - radius) / 0.8 + 0.5))
    glint = smoothstep((1.5 - np.hypot(x - centre_x + 1.9, y - centre_y - 2.3)) / 0.8 + 0.5)
    ball = _mix(ball, np.array([252.0, 252, 252]), 0.9 * glint)
    tear = bump(x, y, (-side * 14.4, -0.5), (2.2, 1.6))
    ball = _mix(ball, np.array([206.0, 140, 130]), 0.7 * tear)
    lash = np.exp(-((y - top - 0.5) ** 2)) * smoothstep(lids / 0.2)
    lash += 0.35 * np.exp(-(((y - bottom + 0.4) / 0.7) ** 2)) * smoothstep(lids / 0.3)
    crease = np.exp(-(((y - rest - 4.0) / 1.1) ** 2)) * smoothstep(lids / 0.25) * (1 - 0.6 * e.blink)
    colour = p.colour * (1 - 0.30 * crease)[:, None]
    colour = _mix(colour, ball, opened)
    colour = _mix(colour, 0.25 * identity.look["hair"] + 8, np.clip(0.85 * lash, 0, 1))
    return Paint(colour, p.label, np.where(opened > 0.5, 1.0, p.gloss))
