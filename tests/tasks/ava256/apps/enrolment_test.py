"""A new person for a trained model: which pictures are learned from, what learns, and a run that others can drive."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from ava_jax import load
from ava_jax.bin._context import Context
from ava_jax.captures import capture_set
from ava_jax.captures.splits import TRAIN, UNSEEN_FRAMES
from ava_jax.tasks.ava256.apps import enrolment
from ava_jax.tasks.ava256.apps.enrolment import Recipe
from ava_jax.tasks.ava256.data import base_run, rules, source
from ava_jax.train.optimization import by_path
from ava_jax.train.state import split

NEW = "20270101--0000--NEW003"


@pytest.fixture(scope="module")
def captures(tiny_capture, tmp_path_factory):
    """The two whom the run knows, and a third: the first under another name."""
    folder = pathlib.Path(shutil.copytree(tiny_capture, tmp_path_factory.mktemp("own") / "captures"))
    shutil.copytree(next(folder.glob("*--SYN001")), folder / NEW)
    return capture_set.load(folder)


@pytest.fixture(scope="module")
def base(small_run):
    return Context().restore(small_run)


def test_frames_are_spread_over_those_that_are_not_held_out(captures, base):
    capture = captures.by_name[NEW]
    held = set(capture.frames[capture.segments == "EXP_free_face"].tolist())
    every = [frame for frame in capture.frames.tolist() if frame not in held]
    assert held and len(every) >= 3

    def chosen(**options):
        return enrolment.choose(captures, capture, base.config, **options)

    assert chosen() == (NEW, capture.cameras, tuple(every), tuple(sorted(held)))
    assert chosen(frames=1).frames == (every[0],)
    assert chosen(frames=2, cameras=capture.cameras[:1])[1:3] == (capture.cameras[:1], (every[0], every[-1]))
    assert chosen(held_out=("2",)).held_out == tuple(capture.frames[-2:].tolist())
    assert chosen(held_out=("2",), without=capture.frames[-1:]).held_out == tuple(capture.frames[-3:-1].tolist())
    assert chosen(held_out=(str(capture.segments[0]),)).held_out == tuple(capture.frames[capture.segments == capture.segments[0]].tolist())
    nothing = base.config.copy_and_resolve_references()
    nothing.data.held_out.segments = ()
    assert enrolment.choose(captures, capture, nothing).held_out == (int(capture.frames[-1]),)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"frames": 99}, r"frames are there to learn from, . are held out; 99 were asked for \(--frames"),
        ({"cameras": ("40000",)}, "--cameras=40000: there is none of that name; of 3, the nearest are"),
        ({"held_out": ("EXP_fre_face",)}, "--held_out=EXP_fre_face: .* the nearest are EXP_free_face"),
        ({"held_out": ("6",)}, "0 of 6 frames are there to learn from, 6 are held out; some were asked for"),
    ],
)
def test_pictures_that_are_not_there_are_told(captures, base, options, told):
    with pytest.raises(ValueError, match=told):
        enrolment.choose(captures, captures.by_name[NEW], base.config, **options)


def test_what_learns_is_named(base):
    assert enrolment.trainable(base.config, ("texels", "calibration"))[-1] == "colour_decoder/bias$"
    with pytest.raises(ValueError, match="--tune=texel: there is none of that name; .* texels"):
        enrolment.trainable(base.config, ("texel",))
    with pytest.raises(ValueError, match="--tune must name what learns: calibration, texels"):
        enrolment.trainable(base.config, ())
    for tune in enrolment.TUNED:
        assert not any("expression_encoder".startswith(path.rstrip("/$")) for path in enrolment.trainable(base.config, (tune,)))


@pytest.fixture(scope="module")
def enrolled(captures, base, small_run, tmp_path_factory):
    """Folder of a run with NEW enrolled from two frames by two cameras."""
    out = tmp_path_factory.mktemp("enrolled") / "run"
    capture = captures.by_name[NEW]
    pictures = enrolment.choose(captures, capture, base.config, frames=2, cameras=capture.cameras[:2])
    recipe = Recipe(("texels",), steps=2, validate_every=1, patience=3, learning_rate=1e-3)
    enrolment.enrol(Context(), base, small_run, captures, pictures, recipe, out)
    return out


def test_an_enrolled_run_knows_everybody_and_changed_what_learns(captures, base, small_run, enrolled):
    found = Context().restore(enrolled)
    assert found.assets.names["identities"] == [*base.assets.names["identities"], NEW]
    new = set(captures.by_name[NEW].cameras[:2]) - set(base.assets.names["cameras"])
    assert found.assets.names["cameras"] == [*base.assets.names["cameras"], *new] and new, "a camera that the trained run held out"
    for name, array in base.assets.arrays.items():
        np.testing.assert_array_equal(found.assets.arrays[name], array)
    tuned = Context().restore(enrolled / enrolment.TUNING, "best")
    before, after, best = (by_path(split(run.model).params) for run in (base, found, tuned))
    latest = by_path(split(Context().restore(enrolled / enrolment.TUNING, 2).model).params)
    rows = [path for path in before if before[path].shape != after[path].shape]
    assert len(rows) == 6, "gain, offset and background's code, of people and of cameras"
    for path in before:
        np.testing.assert_array_equal(after[path], best[path])
        if path in rows and "identity" in path:  # nobody else is in the pictures
            np.testing.assert_array_equal(after[path][: len(before[path])], before[path])
    moved = {path for path in before if path not in rows and not np.array_equal(latest[path], before[path])}
    assert {"colour_decoder/bias", "geometry_decoder/bias"} <= moved
    assert all(path.endswith("_decoder/bias") or path.startswith(("calibration/", "background/")) for path in moved)


def test_others_drive_the_new_person(captures, base, small_run, enrolled):
    """Neutral faces of all are at hand without captures; codes mean what they did, as the encoder of expressions has not moved."""
    avatar = load(enrolled)
    new, other = (avatar.neutral(name) for name in ("NEW003", base.assets.names["identities"][1]))
    assert not np.array_equal(new.vertices, other.vertices)
    codes = avatar.encode(other.texture, other.vertices + 1.0, *other)
    cameras = avatar.portrait(16, 12)
    decoded = avatar.decode(avatar.encode_identity(*new), codes, cameras.position)
    assert np.isfinite(avatar.render(decoded, cameras, 16, 12, identity=NEW)).all()


def test_a_run_is_scored_on_cameras_that_were_not_used(captures, enrolled):
    found = Context().restore(enrolled)
    capture = captures.by_name[NEW]
    assert found.task.eval_splits(found.assets) == ("unseen_frames", "unseen_cameras")
    frames, cameras = (
        {(found.task.describe({k: np.asarray(v)[None] for k, v in source[i].items()}, found.assets)[0][key]) for i in range(len(source))}
        for source, key in (
            (found.task.source("unseen_frames", found.assets), "frame"),
            (found.task.source("unseen_cameras", found.assets), "camera"),
        )
    )
    held = capture.frames[capture.segments == "EXP_free_face"].tolist()
    assert frames <= set(held) and cameras == set(capture.cameras[2:])


def test_frames_and_people_are_those_of_the_config(captures, base, small_run):
    """Nobody else of the folder is learned from, nor a frame that is neither listed nor held out."""
    capture = captures.by_name[NEW]
    pictures = enrolment.choose(captures, capture, base.config, frames=2, cameras=capture.cameras[:1])
    config = enrolment.config_of(base.config, small_run, 0, captures, pictures, Recipe())
    rule = rules.held_out(config)
    assert [one.name for one in rules.trained(captures, config)] == [NEW]
    assert capture.frames[rule.select(capture, TRAIN).frames].tolist() == list(pictures.frames)
    assert capture.frames[rule.select(capture, UNSEEN_FRAMES).frames].tolist() == list(pictures.held_out)
    assert config.optimizer.learning_rate == pytest.approx(base.config.optimizer.learning_rate / 3)
    assert config.train.batch_size == 2 and base.config.train.batch_size == 2
    for key, wrong in (("data.frames", (17,)), ("data.held_out.frames", (17,)), ("data.people", ("NEW004",))):
        faulty = config.copy_and_resolve_references()
        faulty.update_from_flattened_dict({key: wrong})
        with pytest.raises(ValueError, match=rf"config.{key}: no (frame list|capture) has {wrong[0]}; "):
            source.check_names(captures, faulty)


def test_a_capture_of_another_crop_does_not_share_cameras(captures, base, small_run):
    capture = captures.by_name[NEW]
    pictures = enrolment.choose(captures, capture, base.config)
    config = enrolment.config_of(base.config, small_run, 0, captures, pictures, Recipe())
    cropped = dataclasses.replace(captures, captures=tuple(dataclasses.replace(one, sensor=(2048, 2668)) for one in captures))
    assert base_run.prepare(base.assets, captures, config).names["identities"][-1] == NEW
    with pytest.raises(ValueError, match=r"images are of 2048 x 2668 pixels .* and the run's of 4096 x 2668, by cameras of the same names"):
        base_run.prepare(base.assets, cropped, config)


def test_a_folder_that_holds_a_run_is_left_alone(captures, base, small_run, enrolled):
    pictures = enrolment.choose(captures, captures.by_name[NEW], base.config, frames=2)
    with pytest.raises(ValueError, match="holds a run already; take another --out"):
        enrolment.enrol(Context(), base, small_run, captures, pictures, Recipe(), enrolled)
