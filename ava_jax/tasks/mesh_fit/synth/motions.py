"""Motions of the skeleton: smooth turns of its joints over time, and what they do to joints and skin (linear blend skinning).

Every motion is a sum of slow waves whose speed and size vary a little, drawn from the seed: no two cycles are the same.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ava_jax.tasks.mesh_fit.synth.body import ARM, Skeleton

FRAMES_PER_SECOND = 30.0


class Motion(NamedTuple):
    """A skeleton over F frames.

    Attributes:
      rotations: f64 [F, J, 3, 3], of each joint from rest, in world axes.
      positions: f64 [F, J, 3], m.
      turns: f64 [F, J], the angle of each joint against its parent, radians.
    """

    rotations: np.ndarray
    positions: np.ndarray
    turns: np.ndarray


def move(skeleton: Skeleton, name: str, time: np.ndarray, rng: np.random.Generator) -> Motion:
    """A motion at some times.

    Args:
      skeleton: see there.
      name: one of `MOTIONS`.
      time: [F] seconds.
      rng: of its style.
    """
    script = _Script(time, rng)
    MOTIONS[name](script)
    joints = len(skeleton.names)
    local = np.tile(np.eye(3), (len(time), joints, 1, 1))
    turns = np.zeros((len(time), joints))
    for joint, parts in script.turns.items():
        total = Rotation.identity(len(time))
        for part in parts:  # each in the frame that the ones before it have turned
            total = total * Rotation.from_rotvec(part)
        local[:, skeleton.index(joint)] = total.as_matrix()
        turns[:, skeleton.index(joint)] = total.magnitude()
    rotations, positions = np.empty_like(local), np.empty((len(time), joints, 3))
    for j, parent in enumerate(skeleton.parents):
        if parent < 0:
            rotations[:, j], positions[:, j] = local[:, j], skeleton.positions[j] + script.travel
            continue
        offset = skeleton.positions[j] - skeleton.positions[parent]
        rotations[:, j] = rotations[:, parent] @ local[:, j]
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ offset
    return Motion(rotations, positions, turns)


def skin(points: np.ndarray, weights: np.ndarray, skeleton: Skeleton, motion: Motion, frame: int) -> np.ndarray:
    """Linear blend skinning of points [V, 3] at rest, bound by weights [V, J], in one frame: f64 [V, 3], m."""
    rotations, positions = motion.rotations[frame], motion.positions[frame]
    offsets = positions - np.einsum("jab,jb->ja", rotations, skeleton.positions)
    blended = weights @ np.concatenate([rotations.reshape(-1, 9), offsets], axis=1)
    return np.einsum("vab,vb->va", blended[:, :9].reshape(-1, 3, 3), points) + blended[:, 9:]


class _Script:
    """Turns of joints over time, as a motion writes them down. Angles in radians; `left` and `right` mirror each other."""

    def __init__(self, time: np.ndarray, rng: np.random.Generator):
        self.time, self._rng = time, rng
        self.turns: dict[str, list[np.ndarray]] = {}
        self.travel = np.zeros((len(time), 3))
        self._tempo, self._sway = rng.uniform(0.92, 1.08), rng.uniform(0, 2 * np.pi, 4)

    def wave(self, hertz: float, phase: float = 0.0) -> np.ndarray:
        """A sine, of -1 to 1, in cycles per second; its phase is in cycles, and its tempo and size sway by a tenth. [F]."""
        t = self.time
        warp = 0.05 * np.sin(0.9 * t + self._sway[0]) + 0.03 * np.sin(2.3 * t + self._sway[1])
        size = 1.0 + 0.07 * np.sin(1.3 * t + self._sway[2]) + 0.05 * np.sin(2.9 * t + self._sway[3])
        return size * np.sin(2 * np.pi * (hertz * self._tempo * t + warp + phase))

    def lift(self, hertz: float, phase: float = 0.0) -> np.ndarray:
        """As `wave`, of 0 to 1. [F]."""
        return 0.5 + 0.5 * self.wave(hertz, phase)

    def turn(self, joint: str, x=0.0, y=0.0, z=0.0) -> None:
        """Turns a joint about the axes of its rest pose."""
        vector = np.stack(np.broadcast_arrays(x, y, z, self.time)[:3], axis=-1).astype(np.float64)
        self.turns.setdefault(joint, []).append(vector)

    def mirrored(self, side: str, joint: str, x=0.0, y=0.0, z=0.0) -> None:
        """Turns the left joint, or the right one as in a mirror."""
        sign = 1.0 if side == "left" else -1.0
        self.turn(f"{side}_{joint}", x, sign * np.asarray(y), sign * np.asarray(z))

    def spine(self, x=0.0, y=0.0, z=0.0) -> None:
        """Bends forward (x), turns to the left (y), leans to the right (z), over all of the spine."""
        for i in range(1, 6):
            self.turn(f"spine{i}", 0.2 * np.asarray(x), 0.2 * np.asarray(y), 0.2 * np.asarray(z))

    def head(self, x=0.0, y=0.0) -> None:
        """Nods (x) and turns to the left (y)."""
        for joint in ("neck1", "neck2", "head"):
            self.turn(joint, np.asarray(x) / 3, np.asarray(y) / 3)

    def arm(self, side: str, swing=0.0, raised=0.0, twist=0.0, elbow=0.0, wrist=0.0, fist=0.3) -> None:
        """An arm: swung forward, raised from 40 degrees under the horizontal, twisted, the elbow bent, the wrist bent, the hand closed."""
        raised = np.asarray(raised)
        self.mirrored(side, "clavicle", z=0.15 * np.maximum(raised, 0.0))
        self.mirrored(side, "shoulder", x=-np.asarray(swing))
        self.mirrored(side, "shoulder", z=0.85 * raised)
        twists = [np.multiply.outer(0.5 * np.asarray(twist), ARM)[..., i] for i in range(3)]
        self.mirrored(side, "upper_arm_twist", *twists)
        self.mirrored(side, "forearm_twist", *twists)
        bend = np.multiply.outer(np.asarray(elbow), np.cross(ARM, [0, 0, 1.0]))
        self.mirrored(side, "elbow", *(bend[..., i] for i in range(3)))
        self.mirrored(side, "wrist", z=-np.asarray(wrist))
        for finger in ("index", "middle", "ring", "little"):
            for i in range(3):
                self.mirrored(side, f"{finger}{i}", z=-np.asarray(fist) * (0.9, 1.0, 0.7)[i])

    def leg(self, side: str, flex=0.0, spread=0.0, turn=0.0, knee=0.0, ankle=0.0, toes=0.0) -> None:
        """A leg: lifted forward, spread, turned outward, the knee bent, the foot's point lowered, the toes bent up."""
        self.mirrored(side, "hip", x=-np.asarray(flex))
        self.mirrored(side, "hip", z=np.asarray(spread))
        self.mirrored(side, "thigh_twist", y=np.asarray(turn))
        self.mirrored(side, "knee", x=np.asarray(knee))
        self.mirrored(side, "ankle", x=np.asarray(ankle))
        self.mirrored(side, "ball", x=-np.asarray(toes))


def _walk(s: _Script) -> None:
    for side, phase in (("left", 0.0), ("right", 0.5)):
        step = s.wave(0.85, phase)
        s.leg(
            side,
            flex=0.12 + 0.45 * step,
            knee=0.15 + 0.75 * s.lift(0.85, phase + 0.18) ** 2,
            ankle=0.15 * s.wave(0.85, phase + 0.4),
            spread=0.03,
        )
        s.arm(side, swing=-0.45 * step, raised=-0.72, elbow=0.35 - 0.2 * step)
    s.spine(x=0.06, y=0.16 * s.wave(0.85, 0.5), z=0.04 * s.wave(0.85, 0.25))
    s.head(x=0.04 * s.wave(1.7), y=-0.1 * s.wave(0.85, 0.5))
    s.travel[:] = np.stack([0.02 * s.wave(0.85, 0.25), 0.02 * s.wave(1.7, 0.1), 0 * s.time], axis=-1)


def _squat(s: _Script) -> None:
    depth = s.lift(0.55, -0.25)
    for side in ("left", "right"):
        s.leg(side, flex=1.45 * depth, knee=1.75 * depth, ankle=-0.35 * depth, spread=0.12 + 0.12 * depth, turn=0.15)
        s.arm(side, swing=1.0 * depth, raised=-0.65 + 0.15 * depth, elbow=0.3 + 0.25 * s.wave(0.55, 0.1))
    s.spine(x=0.55 * depth)
    s.head(x=-0.35 * depth)
    s.travel[:] = np.stack([0 * depth, -0.37 * depth, -0.14 * depth], axis=-1)


def _arms(s: _Script) -> None:
    for side, phase in (("left", 0.0), ("right", 0.3)):
        s.arm(side, swing=0.5 * s.wave(0.37, phase), raised=0.35 + 0.95 * s.wave(0.6, phase), twist=0.6 * s.wave(0.45, phase),
              elbow=0.7 + 0.65 * s.wave(0.8, phase + 0.2), wrist=0.4 * s.wave(0.7, phase), fist=0.7 * s.lift(0.5, phase))  # fmt: skip
        s.leg(side, spread=0.08, flex=0.04 * s.wave(0.4, phase), knee=0.1 + 0.06 * s.wave(0.4, phase))
    s.spine(x=0.05 * s.wave(0.5), z=0.12 * s.wave(0.6, 0.1))
    s.head(y=0.3 * s.wave(0.33))
    s.travel[:] = np.stack([0.02 * s.wave(0.6, 0.1), 0.006 * s.wave(0.8), 0.01 * s.wave(0.5)], axis=-1)


def _twist(s: _Script) -> None:
    around = s.wave(0.65)
    s.spine(x=0.15 * s.wave(0.4), y=0.75 * around, z=0.2 * s.wave(0.5, 0.2))
    s.head(y=0.4 * around)
    s.turn("pelvis", y=0.22 * around)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        s.arm(
            side,
            swing=0.35 * sign * around + 0.2,
            raised=0.1 + 0.4 * s.wave(0.5, 0.1),
            elbow=0.5 + 0.4 * s.wave(0.65, 0.2),
            twist=0.3 * around,
        )
        s.leg(side, spread=0.14, turn=-0.15 * sign * around, knee=0.22 + 0.14 * s.wave(0.65, 0.25 * sign), flex=0.12)
    s.travel[:] = np.stack([0.04 * around, 0.012 * s.wave(1.3), 0.02 * s.wave(0.4)], axis=-1)


def _box(s: _Script) -> None:
    for side, phase in (("left", 0.0), ("right", 0.5)):
        reach = s.lift(1.0, phase) ** 2
        s.arm(side, swing=0.55 + 0.75 * reach, raised=-0.5 + 0.45 * reach, elbow=2.0 - 1.6 * reach, twist=-0.3 - 0.5 * reach, fist=1.3)
        s.leg(side, spread=0.1, flex=0.3 + 0.12 * s.wave(1.0, phase), knee=0.5 + 0.15 * s.wave(1.0, phase), ankle=-0.12)
    s.spine(x=0.16, y=0.45 * s.wave(1.0, 0.5))
    s.head(x=0.05, y=-0.3 * s.wave(1.0, 0.5))
    s.travel[:] = np.stack([0.03 * s.wave(0.5), -0.05 + 0.025 * s.wave(2.0), 0.03 * s.wave(1.0, 0.1)], axis=-1)


def _kick(s: _Script) -> None:
    for side, phase in (("left", 0.0), ("right", 0.5)):
        up = np.maximum(s.wave(0.5, phase), 0.0) ** 2
        s.leg(side, flex=1.25 * up, knee=0.1 + 1.1 * up * s.lift(1.0, phase + 0.2), spread=0.05 + 0.25 * up * s.lift(0.3), ankle=0.3 * up)
        s.arm(
            side,
            swing=-0.6 * up + 0.3 * s.lift(0.5, phase + 0.5),
            raised=-0.3 + 0.3 * s.wave(0.5, phase),
            elbow=0.6 + 0.3 * s.wave(1.0, phase),
        )
    s.spine(x=0.12 * s.wave(1.0, 0.1), y=0.2 * s.wave(0.5), z=0.1 * s.wave(0.5, 0.5))
    s.travel[:] = np.stack([-0.05 * s.wave(0.5), 0.015 * s.wave(1.0, 0.2), 0 * s.time], axis=-1)


def _dance(s: _Script) -> None:
    """Some of everything, at tempos that never meet again."""
    bob = s.lift(1.1)
    for side, phase, tempo in (("left", 0.0, 1.0), ("right", 0.41, 1.07)):
        s.arm(side, swing=0.45 + 0.6 * s.wave(0.7 * tempo, phase), raised=-0.1 + 0.7 * s.wave(0.55 * tempo, phase + 0.3),
              elbow=0.9 + 0.7 * s.wave(0.85 * tempo, phase), twist=0.4 * s.wave(0.5, phase), fist=0.6 * s.lift(0.7, phase))  # fmt: skip
        s.leg(side, flex=0.25 + 0.35 * bob + 0.25 * s.wave(0.55 * tempo, phase), knee=0.35 + 0.6 * bob + 0.2 * s.wave(0.55, phase),
              spread=0.12 + 0.06 * s.wave(0.4, phase), ankle=-0.2 * bob, turn=0.1 * s.wave(0.5))  # fmt: skip
    s.spine(x=0.14 + 0.14 * s.wave(0.55), y=0.35 * s.wave(0.62, 0.2), z=0.18 * s.wave(0.47))
    s.head(x=0.1 * s.wave(1.1), y=0.3 * s.wave(0.39))
    s.travel[:] = np.stack([0.06 * s.wave(0.47), -0.08 * bob, 0.04 * s.wave(0.3)], axis=-1)


MOTIONS: dict[str, Callable[[_Script], None]] = {
    "walk": _walk,
    "squat": _squat,
    "arms": _arms,
    "twist": _twist,
    "box": _box,
    "kick": _kick,
    "dance": _dance,
}
