"""Bodies made from nothing: closed, moving smoothly, with flesh that one pose does not tell; the same bytes every time."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ava_jax.data import obj_files
from ava_jax.tasks.mesh_fit.data import sequences, synthesize
from ava_jax.tasks.mesh_fit.synth import motions, skin, tissue
from ava_jax.tasks.mesh_fit.synth.body import skeleton

FRAMES = 40


@pytest.fixture(scope="module")
def body():
    return skin.build(1000)


@pytest.fixture(scope="module")
def recordings(body):
    """Motion -> (linear blending [F, V, 3], scan without noise [F, V, 3], joints [F, J, 3])."""
    return {name: tuple(map(np.array, zip(*tissue.scans(body, name, FRAMES, 0), strict=True))) for name in motions.MOTIONS}


@pytest.mark.parametrize("vertices", [1000, 3000, 7000])
def test_the_skin_is_closed_without_handles(vertices):
    body = skin.build(vertices)
    points, faces = body.vertices, body.faces
    assert abs(len(points) / vertices - 1) < 0.03
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    distinct, count = np.unique(edges, axis=0, return_counts=True)
    assert (count == 2).all()
    assert len(points) - len(distinct) + len(faces) == 2  # Euler's number of a sphere
    assert set(np.unique(faces)) == set(range(len(points)))
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(directed, axis=0)) == len(directed)  # all faces turn alike ...
    volume = np.einsum("ij,ij->i", points[faces[:, 0]], np.cross(points[faces[:, 1]], points[faces[:, 2]])).sum() / 6
    assert 0.05 < volume < 0.09  # ... outward; cubic metres
    np.testing.assert_allclose(body.weights.sum(1), 1.0, atol=1e-12)
    assert body.weights.min() >= 0 and 0 <= body.softness.min() and body.softness.max() <= 1


def test_vertices_come_in_strips(body):
    """Conditioning on vertices reads neighbours in the file: they are neighbours on the body."""
    steps = np.linalg.norm(np.diff(body.vertices, axis=0), axis=1)
    assert np.mean(steps < 0.12) > 0.85


def test_the_skeleton_has_83_joints():
    bones = skeleton()
    assert len(bones.names) == len(set(bones.names)) == 83 and bones.positions.shape == (83, 3)
    assert (bones.parents < np.arange(83)).all() and (bones.parents == -1).sum() == 1
    left = [i for i, name in enumerate(bones.names) if name.startswith("left_")]
    right = [bones.index(bones.names[i].replace("left", "right")) for i in left]
    np.testing.assert_allclose(bones.positions[left] * [-1, 1, 1], bones.positions[right])


def test_skinning_at_rest_moves_nothing_and_rigid_turns_are_rigid(body):
    joints = len(body.skeleton.names)
    still = motions.Motion(np.tile(np.eye(3), (1, joints, 1, 1)), body.skeleton.positions[None], np.zeros((1, joints)))
    np.testing.assert_allclose(motions.skin(body.vertices, body.weights, body.skeleton, still, 0), body.vertices, atol=1e-12)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = still._replace(rotations=np.tile(turn, (1, joints, 1, 1)), positions=(body.skeleton.positions @ turn.T)[None])
    np.testing.assert_allclose(motions.skin(body.vertices, body.weights, body.skeleton, turned, 0), body.vertices @ turn.T, atol=1e-12)


def test_bones_keep_their_lengths(recordings):
    bones = skeleton()
    child = np.arange(1, 83)
    length = np.linalg.norm(bones.positions[child] - bones.positions[bones.parents[child]], axis=1)
    for _, _, joints in recordings.values():
        found = np.linalg.norm(joints[:, child] - joints[:, bones.parents[child]], axis=2)
        np.testing.assert_allclose(found, np.broadcast_to(length, found.shape), atol=1e-9)


def test_motions_are_smooth_and_differ(recordings):
    for name, (blended, scan, _) in recordings.items():
        speed = np.linalg.norm(np.diff(blended, axis=0), axis=2) * motions.FRAMES_PER_SECOND
        assert 0.2 < np.sqrt(np.square(speed).mean()) < 1.5, name
        assert speed.max() < 6, name  # metres per second, of a kicking foot
        assert np.abs(np.diff(scan - blended, 2, axis=0)).max() < 0.03, name
    first = [blended[0] for blended, _, _ in recordings.values()]
    assert min(np.abs(a - b).max() for i, a in enumerate(first) for b in first[:i]) > 0.1


def test_identity_copy_is_5_to_10_mm_off(recordings):
    for name, (blended, scan, _) in recordings.items():
        noisy = scan + 0.0005 * np.random.default_rng(0).normal(size=scan.shape)
        assert 5.0 < 1e3 * np.sqrt(np.square(noisy - blended).sum(-1).mean()) < 10.0, name


@pytest.mark.parametrize("name", ["walk", "twist", "dance"])
def test_flesh_depends_on_the_frames_before(body, recordings, monkeypatch, name):
    """The same poses in the other order: in the frame where both are alike the skin by linear blending is too, but not the scan.

    What they differ by lies against the velocity, which frames before tell and vertices of one mesh do not.
    """
    middle = 20
    forward, scan, _ = (frames[middle] for frames in recordings[name])
    velocity = (recordings[name][0][middle + 1] - recordings[name][0][middle - 1]) / 2 * motions.FRAMES_PER_SECOND
    move = motions.move
    monkeypatch.setattr(
        motions, "move", lambda bones, motion, time, rng: move(bones, motion, 2 * middle / motions.FRAMES_PER_SECOND - time, rng)
    )
    backward, other, _ = list(tissue.scans(body, name, middle + 1, 0))[middle]
    np.testing.assert_allclose(backward, forward, atol=1e-12)
    difference = scan - other
    assert 1e3 * np.sqrt(np.square(difference).sum(-1).mean()) > 5.0  # mm: as much as all that identity copy is off
    along = -(difference * velocity).sum(-1) / (np.linalg.norm(difference, axis=1) * np.linalg.norm(velocity, axis=1))
    fast = np.linalg.norm(velocity, axis=1) > 0.3
    assert fast.mean() > 0.2 and np.median(along[fast]) > 0.9


def test_the_same_request_gives_the_same_bytes(tmp_path):
    request = synthesize.Request(motions=("walk", "squat"), frames=3, vertices=1000)
    assert synthesize.write(tmp_path / "a", request, jobs=1)
    assert synthesize.write(tmp_path / "b", request, jobs=2)
    names = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*.obj"))
    assert names[0] == "squat_joints/obj/00001.obj" and len(names) == 18
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = synthesize.Request(motions=("walk",), frames=3, vertices=1000, seed=1)
    synthesize.write(tmp_path / "c", other, jobs=1)
    for name in ("walk_sbs/obj/00001.obj", "walk_target/obj/00003.obj"):
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_folders_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    request = synthesize.Request(motions=("walk",), frames=2, vertices=1000)
    assert synthesize.write(tmp_path / "out", request, jobs=1)
    assert not synthesize.write(tmp_path / "out", request, jobs=1, exist_ok=True)
    with pytest.raises(ValueError, match="not empty, and not to be overwritten"):
        synthesize.write(tmp_path / "out", request, jobs=1)
    with pytest.raises(ValueError, match="not empty, and not to be overwritten"):
        synthesize.write(tmp_path / "out", synthesize.Request(motions=("walk",), frames=3, vertices=1000), jobs=1, exist_ok=True)

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(obj_files, "write", full)
    with pytest.raises(OSError, match="No space left"):
        synthesize.write(tmp_path / "full", request, jobs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    huge = synthesize.Request(frames=10**9)
    with pytest.raises(ValueError, match=r"TB are needed, and .* are free"):
        synthesize.write(tmp_path / "huge", huge, jobs=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"motions": ("fly",)}, "--motions must be some of walk, .*; got fly"),
        ({"motions": ()}, "got none"),
        ({"motions": ("walk", "walk")}, "got walk, walk"),
        ({"vertices": 100}, "--vertices must be 1000 or more; got 100"),
        ({"frames": 0}, "--frames must be 1 or more; got 0"),
    ],
)
def test_requests_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        synthesize.Request(**values)


def test_what_is_written_is_read_by_the_task(tmp_path):
    values = synthesize.write_default(tmp_path / "data", small=True)
    loaded, faces = sequences.load(pathlib.Path(values["data.root"]), targets=True, joints=83, jobs=1)
    assert [sequence.name for sequence in loaded] == ["dance", "walk"] and values["data.held_out.sequences"] == ("dance",)
    assert loaded[0].source.shape == loaded[0].target.shape and loaded[0].joints.shape == (5, 83, 3)
    assert len(faces) == 2 * loaded[0].source.shape[1] - 4
    assert not np.array_equal(loaded[0].source, loaded[0].target)


def test_the_command(tmp_path):
    program = "from absl import app; from ava_jax.tasks.mesh_fit.commands import synthesize as s; app.run(lambda unused: s.main())"
    flags = [f"--out={tmp_path / 'out'}", "--motions=box", "--frames=1", "--vertices=1000", "--noise=0", "--jobs=1"]
    done = subprocess.run([sys.executable, "-c", program, *flags], capture_output=True, text=True, check=True)
    assert "out: box, 1 frames each" in done.stdout
    record = json.loads((tmp_path / "out" / synthesize.REQUEST).read_text())
    assert record == {"motions": ["box"], "frames": 1, "vertices": 1000, "noise": 0.0, "seed": 0}
