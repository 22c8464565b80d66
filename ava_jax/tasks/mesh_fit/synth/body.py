"""A person's body made from nothing: a skeleton of 83 joints, and the flesh around it, as round cones.

Lengths are in metres; x points to the body's left, y up, z to where it looks.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

ARM = np.array([0.766, -0.643, 0.0])  # direction of the left arm at rest, a unit vector
_ACROSS = np.array([0.643, 0.766, 0.0])  # at right angles to it, up


class Cone(NamedTuple):
    """Two spheres and what is between them, flattened.

    Attributes:
      chain: cones of one chain meet end to end.
      joint: name of the joint that moves it.
      start, end: centres, m.
      radii: at both.
      flat: the depth (z) over the width of a section.
      soft: how much flesh lies on it, in 0..1; 0 for nose and ears, which coarse grids may miss.
    """

    chain: str
    joint: str
    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radii: tuple[float, float]
    flat: float
    soft: float


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Joints at rest; a parent comes before its children.

    Attributes:
      names: of J joints.
      parents: int32 [J], -1 for the root.
      positions: f64 [J, 3], m.
    """

    names: tuple[str, ...]
    parents: np.ndarray
    positions: np.ndarray

    def index(self, name: str) -> int:
        """Of a joint's name."""
        return self.names.index(name)


@functools.cache
def skeleton() -> Skeleton:
    """Spine, head, arms with twist joints and all fingers, legs with feet: 83 joints."""
    joints: dict[str, tuple[str, np.ndarray]] = {}

    def add(name: str, parent: str, position: object) -> None:
        joints[name] = parent, np.array(position, np.float64)

    add("pelvis", "", (0, 0.96, 0))
    spine = [(1.04, 0.0), (1.12, -0.01), (1.20, -0.02), (1.29, -0.03), (1.38, -0.035)]
    parent = "pelvis"
    for i, (y, z) in enumerate(spine, 1):
        add(f"spine{i}", parent, (0, y, z))
        parent = f"spine{i}"
    for name, position in {"neck1": (0, 1.46, -0.03), "neck2": (0, 1.515, -0.015), "head": (0, 1.57, 0.0)}.items():
        add(name, parent, position)
        parent = name
    for name, position in {
        "head_top": (0, 1.76, 0),
        "jaw": (0, 1.575, 0.03),
        "left_eye": (0.032, 1.645, 0.08),
        "right_eye": (-0.032, 1.645, 0.08),
    }.items():
        add(name, "head", position)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for name, (parent, position) in {**_arm(), **_leg()}.items():
            add(f"{side}_{name}", parent if parent in ("spine5", "pelvis") else f"{side}_{parent}", position * [sign, 1, 1])
    names = tuple(joints)
    parents = np.array([names.index(parent) if parent else -1 for parent, _ in joints.values()], np.int32)
    return Skeleton(names, parents, np.array([position for _, position in joints.values()]))


def _arm() -> dict[str, tuple[str, np.ndarray]]:
    """The left arm's 26 joints: name -> (parent, position)."""
    shoulder = np.array([0.165, 1.405, -0.025])
    elbow = shoulder + 0.28 * ARM
    wrist = elbow + 0.25 * ARM
    joints = {
        "clavicle": ("spine5", np.array([0.03, 1.43, 0.0])),
        "shoulder": ("clavicle", shoulder),
        "upper_arm_twist": ("shoulder", (shoulder + elbow) / 2),
        "elbow": ("upper_arm_twist", elbow),
        "forearm_twist": ("elbow", (elbow + wrist) / 2),
        "wrist": ("forearm_twist", wrist),
    }
    front = np.array([0.0, 0.0, 1.0])
    fingers = {"index": (0.030, 0.075), "middle": (0.010, 0.082), "ring": (-0.010, 0.077), "little": (-0.029, 0.062)}
    for finger, (across, length) in fingers.items():
        parent, base = "wrist", wrist + 0.03 * ARM + 0.7 * across * front
        for i, along in enumerate((0.0, 0.06, 0.06 + 0.45 * length, 0.06 + 0.75 * length)):
            joints[f"{finger}{i}"] = parent, base + along * ARM + 0.3 * across * front * min(1.0, along / 0.06)
            parent = f"{finger}{i}"
    parent, direction = "wrist", 0.75 * ARM + 0.66 * front - 0.1 * _ACROSS
    for i, along in enumerate((0.025, 0.05, 0.08, 0.105)):
        joints[f"thumb{i}"] = parent, wrist + along * direction + 0.012 * front
        parent = f"thumb{i}"
    return joints


def _leg() -> dict[str, tuple[str, np.ndarray]]:
    """The left leg's 9 joints: name -> (parent, position)."""
    hip, knee, ankle = np.array([0.092, 0.915, 0.0]), np.array([0.112, 0.50, 0.012]), np.array([0.122, 0.085, -0.025])
    return {
        "hip": ("pelvis", hip),
        "thigh_twist": ("hip", (hip + knee) / 2),
        "knee": ("thigh_twist", knee),
        "calf_twist": ("knee", (knee + ankle) / 2),
        "ankle": ("calf_twist", ankle),
        "heel": ("ankle", np.array([0.122, 0.035, -0.055])),
        "ball": ("ankle", np.array([0.135, 0.025, 0.10])),
        "big_toe": ("ball", np.array([0.122, 0.02, 0.155])),
        "small_toe": ("ball", np.array([0.165, 0.02, 0.13])),
    }


@functools.cache
def cones() -> tuple[Cone, ...]:
    """The body's flesh: what its skin is the surface of."""
    at = dict(zip(skeleton().names, skeleton().positions, strict=True))
    found = [
        Cone("neck", "neck1", (0, 1.42, -0.03), (0, 1.51, -0.014), (0.066, 0.053), 1.0, 0.15),
        Cone("neck", "neck2", (0, 1.51, -0.014), (0, 1.60, 0.0), (0.053, 0.05), 1.0, 0.12),
        Cone("skull", "head", (0, 1.652, -0.014), (0, 1.668, -0.012), (0.078, 0.082), 1.16, 0.03),
        Cone("face", "head", (0, 1.595, 0.026), (0, 1.65, 0.032), (0.050, 0.062), 1.0, 0.1),
        Cone("nose", "head", (0, 1.64, 0.092), (0, 1.617, 0.104), (0.008, 0.013), 1.0, 0.0),
        Cone("jaw", "jaw", (0, 1.56, 0.052), (0, 1.58, 0.06), (0.028, 0.03), 1.0, 0.15),
    ]
    for across in (-1.0, 0.0, 1.0):  # three columns, from the hips up to the shoulders
        chain = f"torso{across:+.0f}"
        column = [(across * x, y, z) for x, y, z, _ in _TORSO]
        for joint, a, b, (*_, ra), (*_, rb), soft in zip(
            _SPINE, column[:-1], column[1:], _TORSO[:-1], _TORSO[1:], _TORSO_SOFT, strict=True
        ):
            found.append(Cone(chain, joint, a, b, (ra, rb), 1.0, soft))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        found += _side(side, sign, at)
    return tuple(found)


_SPINE = ("pelvis", "spine1", "spine2", "spine3", "spine4", "spine5")
# Across (of the columns to either side), up, forward and radius, m, at the ends of the six parts of a column.
_TORSO = (
    (0.072, 0.91, -0.012, 0.098),
    (0.068, 0.985, -0.008, 0.098),
    (0.052, 1.075, 0.002, 0.091),
    (0.050, 1.15, 0.0, 0.090),
    (0.058, 1.24, -0.006, 0.101),
    (0.066, 1.32, -0.018, 0.099),
    (0.070, 1.40, -0.03, 0.066),
)
_TORSO_SOFT = (0.8, 1.0, 1.0, 0.75, 0.6, 0.35)


def _side(side: str, sign: float, at: dict[str, np.ndarray]) -> list[Cone]:
    """Flesh of the left (sign 1) or the right (-1)."""

    def bone(chain: str, joint: str, to: str, radii: tuple[float, float], soft: float) -> Cone:
        a, b = (tuple(at[f"{side}_{name}"].tolist()) for name in (joint, to))
        return Cone(f"{side}_{chain}", f"{side}_{joint}", a, b, radii, 1.0, soft)

    def spot(joint: str, a: tuple, b: tuple, radii: tuple[float, float], soft: float) -> Cone:
        return Cone(f"{side}_{joint}_{a}", joint, (sign * a[0], *a[1:]), (sign * b[0], *b[1:]), radii, 1.0, soft)

    found = [
        spot("spine4", (0.074, 1.305, 0.045), (0.088, 1.33, 0.03), (0.056, 0.055), 0.85),  # chest
        spot("spine5", (0.105, 1.30, -0.055), (0.11, 1.36, -0.055), (0.05, 0.05), 0.3),  # back
        spot("pelvis", (0.072, 0.90, -0.072), (0.075, 0.935, -0.055), (0.068, 0.066), 1.0),  # seat
        spot("head", (0.081, 1.628, -0.012), (0.084, 1.652, -0.018), (0.007, 0.009), 0.0),  # ear
        spot(f"{side}_clavicle", (0.05, 1.43, -0.035), (0.15, 1.408, -0.028), (0.045, 0.054), 0.3),
        spot(f"{side}_thigh_twist", (0.105, 0.74, 0.022), (0.112, 0.62, 0.022), (0.056, 0.046), 0.8),
        spot(f"{side}_knee", (0.117, 0.40, -0.028), (0.119, 0.32, -0.03), (0.043, 0.034), 0.5),  # calf
        bone("arm", "shoulder", "upper_arm_twist", (0.057, 0.047), 0.6),
        bone("arm", "upper_arm_twist", "elbow", (0.047, 0.038), 0.5),
        bone("arm", "elbow", "forearm_twist", (0.038, 0.040), 0.35),
        bone("arm", "forearm_twist", "wrist", (0.040, 0.026), 0.25),
        bone("leg", "hip", "thigh_twist", (0.090, 0.077), 0.9),
        bone("leg", "thigh_twist", "knee", (0.077, 0.052), 0.75),
        bone("leg", "knee", "calf_twist", (0.052, 0.049), 0.4),
        bone("leg", "calf_twist", "ankle", (0.049, 0.035), 0.35),
        bone("foot", "ankle", "heel", (0.036, 0.033), 0.05),
        bone("instep", "ankle", "ball", (0.036, 0.027), 0.05),
        bone("sole", "heel", "ball", (0.033, 0.029), 0.05),
        bone("inner_toe", "ball", "big_toe", (0.028, 0.019), 0.02),
        bone("outer_toe", "ball", "small_toe", (0.026, 0.016), 0.02),
    ]
    for finger in ("index", "middle", "ring", "little", "thumb"):
        radii = (0.0155, 0.0125, 0.0115, 0.0105) if finger != "thumb" else (0.018, 0.0145, 0.0125, 0.011)
        found.append(bone(finger, "wrist", f"{finger}0", (0.024, radii[0]), 0.05))
        found += [bone(finger, f"{finger}{i}", f"{finger}{i + 1}", radii[i : i + 2], 0.02) for i in range(3)]
        tip = f"{side}_{finger}3"
        end = at[tip] + 0.25 * (at[tip] - at[f"{side}_{finger}1"])
        found.append(Cone(f"{side}_{finger}", tip, tuple(at[tip].tolist()), tuple(end.tolist()), (radii[3], 0.9 * radii[3]), 1.0, 0.02))
    return found
