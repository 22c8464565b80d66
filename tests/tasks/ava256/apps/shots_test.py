"""What a user asks for, rendered by the smallest avatar: who, whose expressions, from where, before what."""

import json

import jax
import numpy as np
import pytest

from ava_jax.core import cameras as geometry
from ava_jax.core.pixels import to_uint8
from ava_jax.run.inference import Inference
from ava_jax.tasks.ava256.apps import encoding, expressions, people, selection, sequences, shots, views
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.shots import Ask
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.model.codec import cameras_of
from ava_jax.train import checkpoint

A, B = "20260101--0900--SYN001", "20260102--0901--SYN002"


class Scene:
    """A restored run with its captures."""

    def __init__(self, run, captures):
        self.config, self.assets, task, model, step = checkpoint.restore_model(run, None, overrides={"data.root": str(captures)})
        self.captures = task.captures
        self.compile = Inference(model).compile
        self.avatar = Avatar(self.compile, self.config, self.assets, run, step)

    def plan(self, captures=True, **ask) -> shots.Shot:
        return shots.plan(Ask(**ask), self.avatar, self.captures if captures else None, self.config, self.assets)

    def pictures(self, captures=True, **ask) -> np.ndarray:
        return np.stack(list(self.plan(captures, **ask).pictures))


@pytest.fixture(scope="module")
def scene(small_run, tiny_capture) -> Scene:
    return Scene(small_run, tiny_capture)


@pytest.fixture(scope="module")
def capture(scene):
    return scene.captures.by_name[B]


@pytest.fixture(scope="module")
def codes(scene, capture) -> codes_file.Codes:
    """B's whole capture."""
    return encoding.encode(scene.avatar, scene.captures, scene.config, scene.assets, capture, np.arange(len(capture.frames)))


@pytest.fixture(scope="module")
def file(codes, tmp_path_factory):
    return codes_file.write(tmp_path_factory.mktemp("codes") / "played.npz", codes)


def test_codes_of_a_capture_are_the_models_with_frame_lists_and_head_poses(scene, capture, codes):
    assert codes.frame.tolist() == capture.frames.tolist() and codes.segment.tolist() == capture.segments.tolist()
    assert set(codes.capture) == {B}
    (sample,) = selection.read(scene.captures, scene.config, scene.assets, capture, capture.cameras[:1], np.array([2]))
    code = scene.avatar.encode(*(sample[name][None] for name in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
    # Sums over 200,000 texels, of one frame and of several: in another order.
    np.testing.assert_allclose(codes.codes[2], code[0], atol=2e-4)
    rotation, position = geometry.head_to_camera(capture.rotation[0], capture.translation[0], codes.head_pose[2])
    np.testing.assert_allclose(rotation, sample["camera_rotation"], atol=1e-6)
    np.testing.assert_allclose(position, sample["camera_position"], atol=1e-2)


def test_the_neutral_code_is_everybodys(scene):
    for name in (A, B):
        face = scene.avatar.neutral(name)
        np.testing.assert_allclose(scene.avatar.encode(*face, *face), scene.avatar.neutral_expression(), atol=1e-5)


def test_beside_the_truth_are_the_models_own_pictures(scene, capture):
    camera, segment = capture.cameras[1], str(capture.segments[0])
    shot = scene.plan(people=(A,), driver=B, cameras=(camera,), segments=(segment,))
    subjects = [name.rpartition("--")[2] for name in (A, B)]
    assert shot.name == f"{subjects[0]}_by_{subjects[1]}_cam{camera}_{segment}" and shot.fps == 8
    assert shot.about[0].startswith(f"{A} with the expressions of {B}, {shot.count} frames, camera {camera}")
    frames = selection.frames(scene.config, capture, segment)
    samples = selection.read(scene.captures, scene.config, scene.assets, capture, [camera], frames)
    assert shot.count == len(samples)
    batch = {name: np.asarray(value)[None] for name, value in samples[0].items()}
    code = scene.avatar.encode(*(batch[name] for name in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
    expected = []
    for name in (B, A):  # as `library_test` holds against what is trained and scored
        decoded = scene.avatar.decode(scene.avatar.encode_identity(*scene.avatar.neutral(name)), code, batch["camera_position"])
        drawn = scene.avatar.render(decoded, cameras_of(batch), 32, 20, identity=name, camera=camera, background="rig")
        expected.append(to_uint8(drawn)[0, ..., :3].astype(float))
    whole = next(shot.pictures)  # pictures are enlarged on it: they are compared as they were drawn
    assert whole.shape[1] > 3 * 20 and whole.std() > 10
    planned = shots._Plan(
        Ask(people=(A,), driver=B, cameras=(camera,), segments=(segment,)), scene.avatar, scene.captures, scene.config, scene.assets
    )
    (track,) = planned._tracks()
    cameras = planned.view.cameras(track, shot.count, 0.0, 8.0, loops=False, keep=True)
    for name, picture in zip((B, A), expected, strict=True):
        cell = sequences.Cell(sequences.alone(planned.people(name), shot.count), track.codes, cameras)
        drawn = next(sequences.grid(scene.avatar, [[cell]], shot.count, planned.look))
        assert np.abs(drawn.astype(float) - picture).max() <= 1, name
    caption, photograph = planned._photograph(int(track.frame[0]))
    assert caption == "truth" and (photograph == samples[0]["image"]).all()


def test_a_file_of_codes_plays_as_the_capture_did(scene, capture, file):
    ask = {"people": (A, B), "cameras": (capture.cameras[0],), "background": np.zeros(3, np.float32)}
    segment = str(capture.segments[0])
    played = scene.pictures(driver=str(file), segments=(segment,), **ask)
    live = scene.pictures(driver=B, segments=(segment,), **ask)
    assert played.shape == (np.sum(capture.segments == segment), 32, 2 * 20, 3) and played.std() > 5
    assert np.abs(played.astype(int) - live).max() <= 1
    assert scene.plan(driver=str(file)).fps == 30 and scene.plan(driver=str(file)).count == len(capture.frames)


def test_a_file_needs_no_captures(scene, file, small_run):
    shot = scene.plan(captures=False, people=("SYN002",), driver=str(file), most=2)
    pictures = list(shot.pictures)
    assert shot.name == "SYN002_by_played_portrait" and len(pictures) == 2 and pictures[0].std() > 5
    with pytest.raises(ValueError, match="no captures are at hand"):
        scene.plan(captures=False)
    with pytest.raises(ValueError, match=r"--camera=400022: cameras are captures': none is at hand; give --data"):
        scene.plan(captures=False, driver=str(file), cameras=("400022",))


def test_heads_move_or_stand_still(scene, capture, codes):
    view = views.View(scene.avatar, scene.captures, scene.config, scene.assets, capture, capture.cameras[:1], "")
    count = len(codes.codes)
    moving, still = (view.cameras(codes, count, 0.0, 8.0, loops=False, keep=keep) for keep in (True, False))
    samples = selection.read(scene.captures, scene.config, scene.assets, capture, capture.cameras[:1], np.arange(count))
    by_frame = {int(sample["frame"]): sample for sample in samples}
    for i, frame in enumerate(codes.frame):
        if frame in by_frame:
            np.testing.assert_allclose(moving.position[i], by_frame[frame]["camera_position"], atol=2e-2)
            np.testing.assert_allclose(moving.rotation[i], by_frame[frame]["camera_rotation"], atol=1e-5)
            np.testing.assert_allclose(moving.principal[i], by_frame[frame]["principal"], rtol=1e-6)
    np.testing.assert_allclose(still.position, np.tile(moving.position[:1], (count, 1)), atol=2e-2)
    assert np.abs(moving.position - still.position).max() > 0.1, "these heads do move"


def test_between_people_begins_and_ends_with_them(scene, capture):
    ask = {"driver": B, "frames": 4, "cameras": (capture.cameras[0],), "background": np.full(3, 255.0, np.float32)}
    ask["most"] = 1
    path = scene.pictures(people=(A, B), between="people", **ask).astype(float)
    ends = [scene.pictures(people=(name,), **ask).astype(float) for name in (A, B)]
    np.testing.assert_allclose(path[0], ends[0][0], atol=1)
    np.testing.assert_allclose(path[2], ends[1][0], atol=1)
    assert np.abs(path[0] - path[2]).mean() > 1
    assert max(np.abs(path[1] - path[i]).mean() for i in (0, 2)) < np.abs(path[0] - path[2]).mean(), "the middle lies between"
    with pytest.raises(ValueError, match="--between=people needs two people"):
        scene.plan(people=(A,), between="people", **ask)


def test_between_expressions_meets_the_strongest_of_each(scene, capture, codes):
    segments = sorted(set(capture.segments.tolist()))[:2]
    ask = Ask(driver=B, segments=tuple(segments), between="expressions", frames=6, exaggerate=2.0)
    plan = shots._Plan(ask, scene.avatar, scene.captures, scene.config, scene.assets)
    (track,) = plan._in_time(plan._tracks(), 6)
    neutral = np.asarray(scene.avatar.neutral_expression())
    for moment, segment in zip((0, 3), segments, strict=True):
        mine = codes.at(codes.segment == segment)
        strongest = mine.codes[expressions.strongest(mine, neutral)]
        np.testing.assert_allclose(track.codes[moment] - neutral[0], 2 * (strongest - neutral[0]), atol=1e-4)
    with pytest.raises(ValueError, match="--between=expressions needs two segments"):
        scene.plan(driver=B, segments=tuple(segments[:1]), between="expressions")


def test_a_grid_of_people_and_expressions_turns(scene, capture):
    segments = tuple(sorted(set(capture.segments.tolist()))[:2])
    shot = scene.plan(people=("all",), driver=B, segments=segments, path="swing", frames=3, background=None)
    pictures = np.stack(list(shot.pictures))
    assert pictures.shape == (3, 2 * 32, 2 * 20, 4) and shot.fps == 24
    cells = pictures.reshape(3, 2, 32, 2, 20, 4).transpose(1, 3, 0, 2, 4, 5)
    assert (cells[..., 3].max((3, 4)) > 100).all() and (cells[..., 0, 0, 3] == 0).all(), "somebody in each, nothing in the corners"
    assert not (cells[0, 0, 1] == cells[0, 0, 2]).all(), "from more than one side"
    three = sequences.near_square("abc")
    assert three == [["a", "b"], ["c", None]]


def test_a_place_where_nobody_is_is_empty(scene):
    person = people.People(scene.avatar, None, scene.config, scene.assets)(A)
    camera = scene.avatar.portrait(32, 20)
    cell = sequences.Cell(sequences.alone(person, 1), np.zeros((1, 4, 4, 16), np.float32), camera)
    for background, corner in ((np.array([9.0, 8, 7], np.float32), [9, 8, 7]), (None, [0, 0, 0, 0])):
        (picture,) = sequences.grid(scene.avatar, [[cell, None]], 1, sequences.Look(32, 20, None, background))
        assert (picture[:, 20:] == corner).all() and (picture[:, :20].std((0, 1)) > 1).any()


@pytest.mark.parametrize("path", ["interpolate", "raw"])
def test_a_path_goes_through_the_captures_cameras(scene, capture, codes, path):
    view = views.View(scene.avatar, scene.captures, scene.config, scene.assets, capture, capture.cameras, path)
    assert view.length(24.0) == (3 if path == "raw" else 0)
    found = view.cameras(codes.at(np.zeros(3, int)), 3, 60.0, 24.0, loops=True, keep=False)
    every = [views.View(scene.avatar, scene.captures, scene.config, scene.assets, capture, (name,), "") for name in capture.cameras]
    for i, one in enumerate(every):
        alone = one.cameras(codes.at(slice(1)), 1, 0.0, 24.0, loops=False, keep=False)
        np.testing.assert_allclose(found.position[i], alone.position[0], rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(found.rotation[i], alone.rotation[0], atol=1e-5)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"truth": True, "path": "swing"}, r"--truth: the photograph has no place beside a camera that moves \(--path\)"),
        ({"truth": True, "cameras": ("portrait",)}, "beside a camera that is none of the capture's"),
        (
            {"background": "rig", "path": "circle"},
            "--background=learned: a background is learned for the capture's cameras where they stand",
        ),
        ({"cameras": ("400022", "400029"), "path": "swing"}, "several are for --path=interpolate or raw"),
        ({"cameras": ("portrait",), "path": "raw"}, "--camera=portrait: is none of the cameras that --path=raw goes through"),
        ({"exaggerate": float("nan")}, "--exaggerate=nan: must be a number"),
        ({"people": ("SYN01",)}, "--people=SYN01: there is none of that name; of 2, the nearest are SYN001"),
        ({"driver": "SYN01"}, "--driver=SYN01: there is none of that name"),
        ({"segments": ("EXP_fre_face",)}, "--segment=EXP_fre_face: there is none of that name.*EXP_free_face"),
        ({"driver": "nowhere.npz"}, "nowhere.npz: there is no such file of expression codes"),
    ],
)
def test_what_does_not_go_together_is_one_line(scene, ask, message):
    with pytest.raises((ValueError, OSError), match=message):
        scene.plan(**ask)


def test_a_file_without_head_poses_says_so(scene, codes, tmp_path):
    file = codes_file.write(tmp_path / "bare.csv", codes.at(slice(2))._replace(head_pose=None))
    assert f"{file}: has no head poses: the heads are still" in scene.plan(driver=str(file)).about
    with pytest.raises(ValueError, match="--head_pose=keep: .*bare.csv has no head poses"):
        scene.plan(driver=str(file), head_pose="keep")
    with pytest.raises(ValueError, match="bare.csv has none of that name"):
        scene.plan(driver=str(file), segments=("EXP_x",))


def test_identity_codes_are_computed_once(scene, monkeypatch):
    found, encode = [], scene.avatar.encode_identity
    monkeypatch.setattr(scene.avatar, "encode_identity", lambda *face: found.append(1) or encode(*face))
    everybody = people.People(scene.avatar, scene.captures, scene.config, scene.assets)
    names = everybody.named(["all:1", "SYN001", B])
    assert names == [A, B]
    first = [everybody(name) for name in names]
    assert [everybody(name) for name in names] == first and len(found) == 2
    without = people.People(scene.avatar, None, scene.config, scene.assets)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), without(A).code, first[0].code)


def test_encoding_goes_on_where_it_was_stopped(scene, capture, codes, tmp_path, monkeypatch):
    config = scene.config.copy_and_resolve_references()
    config.eval.batch_size = 2
    monkeypatch.setattr(encoding, "_SAVE_SECONDS", 0.0)
    every, write, written = np.arange(len(capture.frames)), codes_file.write, []

    def stopped(path, codes):
        write(path, codes)
        written.append(len(codes.codes))
        if len(written) == 2:
            raise KeyboardInterrupt

    folder = encoding.Folder(tmp_path, scene.avatar)
    monkeypatch.setattr(codes_file, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        folder.encode(scene.captures, config, scene.assets, capture, every, "npz")
    monkeypatch.setattr(codes_file, "write", write)
    assert written == [2, 4] and not list(tmp_path.glob("[!.]*.npz"))
    read = []
    monkeypatch.setattr(encoding.Faces, "__getitem__", _noting(encoding.Faces.__getitem__, read))
    path, count = encoding.Folder(tmp_path, scene.avatar).encode(scene.captures, config, scene.assets, capture, every, "npz")
    assert len(read) == len(every) - 4 and count == len(every)
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"{B}.npz", encoding.RECORD]
    again = codes_file.read(path)
    np.testing.assert_array_equal(again.frame, codes.frame)
    np.testing.assert_allclose(again.codes, codes.codes, atol=1e-5)
    np.testing.assert_array_equal(again.head_pose, codes.head_pose)
    assert not [line for line in scene.plan(driver=str(path)).about if "another model" in line]
    other = codes_file.write(tmp_path / "other" / "codes.npz", again._replace(model=again.model[::-1]))
    assert f"{other}: codes of another model or step: expressions may be others than they were" in scene.plan(driver=str(other)).about
    read.clear()
    folder = encoding.Folder(tmp_path, scene.avatar)
    assert folder.encode(scene.captures, config, scene.assets, capture, every, "npz") == (path, count) and not read, "it is there"
    with pytest.raises(ValueError, match="is there, and not of the frames asked for"):
        folder.encode(scene.captures, config, scene.assets, capture, every[:1], "npz")


def _noting(read, noted):
    return lambda self, index: noted.append(index) or read(self, index)


def test_codes_of_another_model_are_not_mixed_in(scene, tmp_path, monkeypatch):
    encoding.Folder(tmp_path, scene.avatar)
    (tmp_path / encoding.RECORD).write_text('{"step": 7, "model": [], "files": {}}')
    with pytest.raises(ValueError, match=r"holds codes of another model \(step 7\): take another --out"):
        encoding.Folder(tmp_path, scene.avatar)
    (tmp_path / encoding.RECORD).write_text(json.dumps({"step": 0, "model": [0.5] * 16, "files": {}}))
    with pytest.raises(ValueError, match=r"holds codes of another model \(step 0\)"):
        encoding.Folder(tmp_path, scene.avatar)
