"""What linear blend skinning leaves out, as scans of people have it: muscles, skin that slides over joints, flesh that sags and lags.

- Muscles swell along the skin's normal with the turn of a joint, and skin slides towards a joint that bends; both follow the turn with a
  delay of `_MUSCLE_DELAY`. How much depends on the part of the body.
- Flesh hangs on the moved skin by a damped spring: with x its position, s that of the skin, x'' = -w^2 (x - s) - c (x' - s') - k x' + g.
  So it sags under gravity, by about g / w^2, and lags by k / w^2 of its velocity and 1 / w^2 of its acceleration, which one pose does not
  tell and three poses in a row do. How much of it is seen is its softness there.
"""

from collections.abc import Iterator

import numpy as np

from ava_jax.tasks.mesh_fit.synth import motions
from ava_jax.tasks.mesh_fit.synth.body import ARM
from ava_jax.tasks.mesh_fit.synth.skin import Body

SUBSTEPS = 4  # of the spring, per frame
_START = 0.5  # seconds before the first frame in which the spring settles
_MUSCLE_DELAY = 0.08  # seconds
_STIFFNESS = 28.0**2  # w^2, 1 / s^2: 4.5 swings per second
_DAMPING, _DRAG = 13.0, 32.0  # c and k, 1 / s: with w = 28, c + k = 45 is 0.8 of critical damping
_GRAVITY = np.array([0.0, -4.9, 0.0])  # m / s^2: half of it; the other half has shaped the body at rest
_FIRM = 0.55  # the softness of bone under skin, on a scale to 1
_FLESH = 0.53  # of the spring's deflection that is seen at softness 1

# Joint that turns, centre of the muscle at rest on the left, its radius (m), metres per radian.
_MUSCLES = (
    ("elbow", (0.27, 1.315, 0.01), 0.055, 0.0065),  # biceps
    ("elbow", (0.27, 1.325, -0.06), 0.055, -0.0030),  # triceps
    ("elbow", (0.44, 1.19, 0.0), 0.05, 0.0030),  # forearm
    ("shoulder", (0.17, 1.44, -0.02), 0.06, 0.0050),  # deltoid
    ("shoulder", (0.09, 1.32, 0.08), 0.07, 0.0040),  # chest
    ("shoulder", (0.11, 1.30, -0.10), 0.08, -0.0030),  # back
    ("hip", (0.09, 0.93, -0.12), 0.09, 0.0050),  # seat
    ("hip", (0.10, 0.87, 0.09), 0.06, 0.0060),  # fold of the groin
    ("knee", (0.11, 0.66, 0.075), 0.09, 0.0040),  # front of the thigh
    ("knee", (0.11, 0.66, -0.07), 0.09, 0.0035),  # its back
    ("knee", (0.118, 0.38, -0.06), 0.07, 0.0040),  # calf
    ("spine3", (0.0, 1.10, 0.09), 0.10, 0.0300),  # belly
)
# Joint that bends, and how far skin slides towards it: radius (m), metres per radian.
_SLIDES = (("elbow", 0.09, 0.0040), ("knee", 0.11, 0.0045), ("shoulder", 0.10, 0.0050), ("hip", 0.12, 0.0045), ("ankle", 0.07, 0.0040))


def scans(body: Body, name: str, frames: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Frames of a motion: the skin as linear blending has it, as a scan would show it (without noise), and the joints.

    Args:
      body: see there.
      name: of the motion.
      frames: how many.
      seed: of the motion's style.

    Returns:
      An iterator over f64 [V, 3], [V, 3], [J, 3], m.
    """
    step = 1.0 / (SUBSTEPS * motions.FRAMES_PER_SECOND)
    before = round(_START / step)
    time = step * np.arange(-before, (frames - 1) * SUBSTEPS + 1)
    rng = np.random.default_rng([seed, 1, list(motions.MOTIONS).index(name)])
    motion = motions.move(body.skeleton, name, time, rng)
    shapes, drivers = _shapes(body)
    effort = _delayed(motion.turns[:, drivers], step)
    softness = _FLESH * (_FIRM + (1 - _FIRM) * body.softness) * _patches(body.vertices, seed)
    flesh = velocity = anchor = None
    for i in range(len(time)):
        rest = body.vertices + np.tensordot(effort[i], shapes, 1)
        skin = motions.skin(rest, body.weights, body.skeleton, motion, i)
        if flesh is None:
            flesh, velocity, anchor = skin + _GRAVITY / _STIFFNESS, np.zeros_like(skin), skin
        pull = -_STIFFNESS * (flesh - skin) - _DAMPING * (velocity - (skin - anchor) / step) - _DRAG * velocity + _GRAVITY
        velocity = velocity + step * pull
        flesh, anchor = flesh + step * velocity, skin
        if i >= before and (i - before) % SUBSTEPS == 0:
            blended = motions.skin(body.vertices, body.weights, body.skeleton, motion, i)
            yield blended, skin + softness[:, None] * (flesh - skin), motion.positions[i]


def _delayed(turns: np.ndarray, step: float) -> np.ndarray:
    """Turns [T, D], followed with a delay of `_MUSCLE_DELAY`."""
    followed = turns.copy()
    for i in range(1, len(turns)):
        followed[i] = followed[i - 1] + step / _MUSCLE_DELAY * (turns[i] - followed[i - 1])
    return followed


def _shapes(body: Body) -> tuple[np.ndarray, list[int]]:
    """Offsets of the skin at rest per radian of a joint, f64 [D, V, 3], and which joint that is, D numbers."""
    normals = _normals(body.vertices, body.faces)
    shapes, drivers = [], []
    for sign, side in ((1.0, "left"), (-1.0, "right")):
        mirror = np.array([sign, 1.0, 1.0])
        for joint, centre, radius, size in _MUSCLES:
            in_the_middle = joint.startswith("spine")
            if in_the_middle and side == "right":
                continue
            near = _near(body.vertices, mirror * centre, radius)
            shapes.append(size * near[:, None] * normals)
            drivers.append(body.skeleton.index(joint if in_the_middle else f"{side}_{joint}"))
        for joint, radius, size in _SLIDES:
            index = body.skeleton.index(f"{side}_{joint}")
            centre = body.skeleton.positions[index]
            along = ARM * mirror if joint in ("elbow", "shoulder") else np.array([0.0, -1.0, 0.0])
            offset = (body.vertices - centre) @ along / radius
            # Towards the joint from both sides; not at the joint itself, and not far from it.
            amount = -size * 2.33 * offset * np.exp(-(offset**2)) * _near(body.vertices, centre, 1.6 * radius)
            tangent = along - normals * (normals @ along)[:, None]
            shapes.append(amount[:, None] * tangent)
            drivers.append(index)
    return np.array(shapes), drivers


def _near(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """1 at a centre, falling off over a radius: [V] of points [V, 3]."""
    return np.exp(-np.square((points - centre) / radius).sum(1))


def _patches(points: np.ndarray, seed: int) -> np.ndarray:
    """How much softer or firmer than usual a part is: [V], about 0.8 to 1.2, in waves of a hand's width or two."""
    rng = np.random.default_rng([seed, 2])
    waves = rng.normal(size=(6, 3)) * 12.0
    return 1.0 + 0.10 * np.sin(points @ waves.T + rng.uniform(0, 2 * np.pi, 6)).sum(1) / np.sqrt(3.0)


def _normals(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals of vertices, f64 [V, 3], outward."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    flat = np.cross(b - a, c - a)
    total = np.stack([np.bincount(faces.ravel(), np.repeat(flat[:, i], 3), len(points)) for i in range(3)], axis=1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
