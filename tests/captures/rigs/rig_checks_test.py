"""Units and plausibility: scales from what is given, lengths of heads, mirrors."""

import dataclasses

import numpy as np
import pytest
from rig_writers import rig
from scipy.spatial.transform import Rotation

from ava_jax.captures.rigs import checks
from ava_jax.captures.rigs.types import Rig, RigCamera

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-1, 1, (30, 3)) * [0.08, 0.12, 0.1]


def cameras(scale: float = 1.0) -> tuple[RigCamera, ...]:
    found = []
    for name, c in rig().items():
        pose = c.matrix.copy()
        pose[:3, 3] *= scale
        found.append(RigCamera(name, (32, 22), c.k, pose))
    return tuple(found)


def test_a_similarity_is_found_again():
    turn, move = Rotation.from_euler("xyz", [0.3, 1.0, -2.0]).as_matrix(), np.array([5.0, 6, 7])
    found = checks.similarity(POINTS, 1000 * POINTS @ turn.T + move)
    assert found.scale == pytest.approx(1000) and found.error < 1e-9 and not found.mirrored
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    np.testing.assert_allclose(found.translation, move, atol=1e-9)
    noisy = checks.similarity(POINTS, 1000 * POINTS @ turn.T + move + RNG.standard_normal(POINTS.shape))
    assert noisy.scale == pytest.approx(1000, rel=0.01) and 1 < noisy.error < 2


def test_mirrored_points_are_seen():
    mirrored = POINTS * [-1, 1, 1]
    assert checks.similarity(mirrored, POINTS).mirrored
    assert np.linalg.det(checks.similarity(mirrored, POINTS).rotation) == pytest.approx(1)
    flat = POINTS * [1, 1, 0]
    assert not checks.similarity(flat * [-1, 1, 1], flat).mirrored  # a turn about the other axis does it
    with pytest.raises(ValueError, match="mirror image"):
        checks.mm_of_points(mirrored, 1000 * POINTS)
    assert checks.mm_of_points(POINTS, 25.4 * POINTS) == pytest.approx(25.4)
    for wrong in (POINTS[:2], np.outer(np.arange(5), [1, 2, 3]), np.zeros((4, 3)), np.full((4, 3), np.nan), POINTS[:, :2]):
        with pytest.raises(ValueError, match="rigs.checks.similarity: "):
            checks.similarity(wrong, wrong)


def test_scales_of_two_cameras():
    held = Rig(cameras())
    centres = {name: c.centre for name, c in rig().items()}
    distance = np.linalg.norm(centres["a7"] - centres["c5"])
    factor = checks.mm_of_distance(held, "a7", "c5", 730.0)
    assert factor == pytest.approx(730.0 / distance)
    moved = checks.cameras_in_mm(held, factor)
    new = [-c.world_to_camera[:3, :3].T @ c.world_to_camera[:3, 3] for c in moved]
    assert np.linalg.norm(new[0] - new[2]) == pytest.approx(730.0)
    np.testing.assert_array_equal(moved[1].world_to_camera[:3, :3], held.cameras[1].world_to_camera[:3, :3])
    assert checks.cameras_in_mm(dataclasses.replace(held, mm_per_unit=1000.0))[0].world_to_camera[2, 3] == pytest.approx(
        1000 * held.cameras[0].world_to_camera[2, 3]
    )
    for call, text in (
        (lambda: checks.mm_of_distance(held, "a7", "x", 1.0), "camera 'x' is not in the rig, which has a7, b3, c5"),
        (lambda: checks.mm_of_distance(held, "a7", "a7", 1.0), "must be apart"),
        (lambda: checks.mm_of_distance(held, "a7", "b3", -1.0), "must be apart"),
        (lambda: checks.cameras_in_mm(held), "give a scale, or the distance of two cameras"),
        (lambda: checks.cameras_in_mm(held, 0.0), "give a scale"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_lengths_of_heads():
    head = np.array([[x, y, z] for x in (-80, 80) for y in (-120.0, 120) for z in (-100, 100)])
    eyes, up = np.array([[-46.0, 30, 80], [46, 30, 80]]), [0, 1, 0]
    checks.require_plausible(cameras(1000), head, eyes=eyes, up=up)
    checks.require_plausible(cameras(1000), head)
    for factor, text in ((0.001, "1000"), (0.1, "10"), (0.01, "100"), (1 / 25.4, "25.4"), (1000, "0.001"), (2.0, "0.5")):
        with pytest.raises(
            ValueError, match=r"lengths must be a head's in mm; .*a scale of ([0-9.]+) times the present one would fit"
        ) as e:
            checks.require_plausible(cameras(1000 * factor), factor * head, eyes=factor * eyes, up=up)
        assert float(str(e.value).split("a scale of ")[1].split()[0]) == pytest.approx(float(text), rel=0.2)
        assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="cameras' distance from the head 1.0.* mm, not 300 to 3000: no one scale fits all"):
        checks.require_plausible(cameras(1), head, eyes=eyes, up=up)
    with pytest.raises(ValueError, match="outer corners of the eyes apart 46 mm, not 80 to 105"):
        checks.require_plausible(cameras(1000), head, eyes=eyes / 2, up=up)
    with pytest.raises(ValueError, match="head's height 480 mm, not 200 to 280"):
        checks.require_plausible(cameras(1000), head * [1, 2, 1], up=[0, 0.5, 0])


def test_rotations_that_are_none_are_named():
    good = cameras()
    bad = good[1].world_to_camera.copy()
    bad[0, :3] *= -1
    stretched = good[2].world_to_camera.copy()
    stretched[1, :3] *= 1.1
    listed = [good[0], dataclasses.replace(good[1], world_to_camera=bad), dataclasses.replace(good[2], world_to_camera=stretched)]
    assert checks.rotation_faults(good) == []
    faults = checks.rotation_faults(listed)
    assert len(faults) == 2 and "'b3'" in faults[0] and "mirrors" in faults[0] and "'c5'" in faults[1] and "orthonormal" in faults[1]


def test_spread_of_poses():
    pose = cameras()[0].world_to_camera
    small = np.eye(4)
    small[:3, :3] = Rotation.from_rotvec([0, np.radians(1e-5), 0]).as_matrix()
    turned, moved = pose @ small, pose.copy()
    moved[:3, 3] += pose[:3, :3] @ [0.0, 0.03, 0.0]
    angle, distance, _ = checks.spread(np.stack([pose, turned]))
    assert angle == pytest.approx(1e-5, rel=1e-3) and distance < 1e-6
    angle, distance, worst = checks.spread(np.stack([pose, pose, moved]))
    assert angle < 1e-9 and distance == pytest.approx(0.03) and worst == 2
    half = np.eye(4)
    half[:3, :3] = np.diag([-1.0, 1, -1])
    assert checks.spread(np.stack([pose, pose @ half]))[0] == pytest.approx(180)
