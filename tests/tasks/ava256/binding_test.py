"""A run goes on with the people, cameras, topology and statistics that it was begun with, and tells others from them."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from ava_jax.core.types import Assets
from ava_jax.synth import ava256_layout
from ava_jax.tasks.ava256.data import source, strangers
from ava_jax.tasks.base import load_task
from ava_jax.train import checkpoint, loop, plan
from ava_jax.train import config as configs
from ava_jax.train import state as states
from ava_jax.train.initialization import start_from
from ava_jax.train.optimization import by_path


@pytest.fixture
def own(tiny_capture, tmp_path):
    """A copy of the run's captures, in another folder, that a test may change."""
    return pathlib.Path(shutil.copytree(tiny_capture, tmp_path / "captures"))


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Captures of other people, who have the names of the run's."""
    folder = tmp_path_factory.mktemp("others") / "captures"
    ava256_layout.write(folder, ava256_layout.Request(identities=2, frames=6, cameras=4, height=64, texture_size=64, seed=1), jobs=1)
    return folder


@pytest.fixture
def run(small_run, tmp_path):
    return pathlib.Path(shutil.copytree(small_run, tmp_path / "run"))


def config_of(run, root, **changes):
    config = configs.from_json(json.loads((run / "config.json").read_text()))
    config.data.root = str(root)
    config.update_from_flattened_dict(changes)
    return config


def rename(root, old, new):
    (found,) = root.glob(f"*--{old}")
    found.rename(root / f"20270101--0000--{new}")


def resumed(run, root, **changes) -> str:
    """The one line with which going on is refused; nothing is written."""
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with pytest.raises(ValueError) as e:
        loop.train(config_of(run, root, **changes), run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert "\n" not in str(e.value) and str(run) in str(e.value)
    return str(e.value)


def test_other_people_are_refused_and_named(run, own):
    rename(own, "SYN002", "SYN007")
    text = resumed(run, own)
    assert "identities: 20260102--0901--SYN002 missing, 20270101--0000--SYN007 new" in text
    assert f"--config.train.init_from={run}" in text


def test_somebody_more_is_refused_and_named(run, own):
    shutil.copytree(next(own.glob("*--SYN001")), own / "20270101--0000--SYN009")
    assert "identities: 20270101--0000--SYN009 new;" in resumed(run, own).replace(". Give", ";")


def test_other_people_by_an_ids_file_are_refused(run, own, tmp_path):
    (tmp_path / "ids.csv").write_text("mcd,sid,mct\n20260101,SYN001,0900\n")
    assert "identities: 20260102--0901--SYN002 missing" in resumed(run, own, **{"data.ids": str(tmp_path / "ids.csv")})


def test_other_cameras_are_refused_and_named(run, own):
    for zipped in own.glob("*/decoder/*/cam401168.zip"):
        zipped.unlink()
    assert "cameras: 401168 missing" in resumed(run, own)


def test_another_topology_is_refused(run, own):
    path = own / "face_topology.obj"
    lines = path.read_text().splitlines()
    at = [i for i, line in enumerate(lines) if line.startswith("f ")]
    lines[at[0]], lines[at[1]] = lines[at[1]], lines[at[0]]
    path.write_text("\n".join(lines) + "\n")
    text = resumed(run, own)
    assert "faces differs" in text and "face_uvs differs" in text


def test_other_people_under_the_same_names_are_refused(run, others):
    assert "texture_mean differs" in resumed(run, others)


def test_the_same_captures_elsewhere_are_gone_on_with(run, own):
    config = config_of(run, own, **{"train.steps": 1})
    with checkpoint.Checkpoints(run) as saved:
        found = plan.open_data(config, saved, saved.find())
    assert len(found.source) > 0 and found.assets.names["identities"] == ["20260101--0900--SYN001", "20260102--0901--SYN002"]


def test_strangers_are_told_from_each_other_and_scored_as_strangers(run, own, tiny_capture):
    rename(own, "SYN001", "NEW1")
    rename(own, "SYN002", "NEW2")
    restored = checkpoint.restore_model(run, overrides={"data.root": str(own)})
    task, assets = restored.task, restored.assets
    at_hand = task.check_data(assets)
    assert at_hand.names == ("20270101--0000--NEW1", "20270101--0000--NEW2")
    assert "not seen in training: 20270101--0000--NEW1, 20270101--0000--NEW2: encoded from their neutral faces" in at_hand.notes[0]
    samples = task.source("unseen_frames", assets)
    batch = {name: np.stack([samples[0][name], samples[len(samples) - 1][name]]) for name in samples[0]}
    assert batch["identity"].tolist() == [-1, -2]
    rows = task.describe(batch, assets)
    assert [row["identity"] for row in rows] == [f"20270101--0000--NEW{i} (not seen in training)" for i in (1, 2)]
    baseline = task.baselines(assets)["baseline"](batch)["face_psnr"]
    assert np.isfinite(baseline).all() and baseline[0] != baseline[1], "each is held against his own mean head"
    known = checkpoint.restore_model(run, overrides={"data.root": str(tiny_capture)})
    assert known.task.check_data(assets).notes == ()
    assert [row["identity"] for row in known.task.describe({**batch, "identity": np.array([0, 1])}, assets)] == assets.names["identities"]


def test_a_segment_that_is_new_keeps_its_name(run, own):
    for path in own.glob("*/decoder/frame_list.csv"):
        path.write_text(path.read_text().replace("EXP_free_face", "EXP_other").replace("EXP_jaw_open", "EXP_new"))
    restored = checkpoint.restore_model(run, overrides={"data.root": str(own), "data.held_out.segments": ("EXP_other",)})
    samples = restored.task.source("unseen_frames", restored.assets)
    batch = {name: np.stack([value]) for name, value in samples[0].items()}
    assert restored.task.describe(batch, restored.assets)[0]["segment"] == "EXP_other"


def test_a_camera_that_is_new_is_named(run, own):
    (zipped,) = next(own.glob("*--SYN001")).glob("decoder/image/cam401168.zip")
    calibration = zipped.parents[1] / "camera_calibration.json"
    calibration.write_text(calibration.read_text().replace("401168", "999"))
    for kind in ("image", "segmentation_parts"):
        (zipped.parents[1] / kind / "cam401168.zip").rename(zipped.parents[1] / kind / "cam999.zip")
    restored = checkpoint.restore_model(run, overrides={"data.root": str(own)})
    (note,) = restored.task.check_data(restored.assets).notes
    assert note.startswith("cameras not seen in training: 999: ")


def test_evaluation_refuses_another_topology_other_statistics_and_other_units(run, own, others):
    restored = checkpoint.restore_model(run)
    config, assets = restored.config, restored.assets

    def check(root):
        config.data.root = str(root)
        return strangers.check(source.load_captures(config), config, assets)

    with pytest.raises(ValueError, match=rf"{others}: has captures by the names of the run's people with other statistics \(texture_mean"):
        check(others)
    rename(own, "SYN001", "NEW1")
    assert len(check(own).notes) == 1
    (mean,) = own.glob("*--NEW1/decoder/kinematic_tracking/registration_vertices_mean.npy")
    np.save(mean, np.load(mean) / 1000)
    with pytest.raises(ValueError, match=rf"{mean}: lies \d+ mm from the mean of the run's meshes, .* not in mm"):
        check(own)
    np.save(mean, np.load(mean)[::-1] * 1000)
    with pytest.raises(ValueError, match="vertices in another order"):
        check(own)
    (own / "face_topology.obj").write_text("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n" + "v 0 0 0\n" * (len(assets.arrays["vertices_mean"]) - 1))
    with pytest.raises(ValueError, match="face_topology.obj: must be the topology that the run was trained with; faces differs"):
        check(own)


def test_one_subject_of_two_captures_must_be_named_by_the_folder(own, run):
    shutil.copytree(next(own.glob("*--SYN001")), own / "20270101--0000--SYN001")
    captures = load_task(config_of(run, own)).captures
    told = "--identity=SYN001: 2 captures are of that subject, 20260101--0900--SYN001, 20270101--0000--SYN001: name one of them"
    with pytest.raises(ValueError, match=told):
        captures.find("--identity", "SYN001")
    assert captures.find("--identity", "20270101--0000--SYN001").name == "20270101--0000--SYN001"
    assert captures.find("--identity", "SYN002").subject == "SYN002"
    restored = checkpoint.restore_model(run)
    restored.assets.names["identities"] = list(captures.people)
    avatar = restored.task.library(lambda fn: fn, restored.assets, run, 0)
    with pytest.raises(ValueError, match="identity 'SYN001' has several captures, 20260101--0900--SYN001, 20270101--0000--SYN001: name"):
        avatar.neutral("SYN001")


def test_an_older_run_opens(small_run):
    """Its assets name people, cameras and segments, as those of every version did."""
    with checkpoint.Checkpoints(small_run) as saved:
        assets = saved.assets(saved.find())
    assert isinstance(assets, Assets) and set(assets.names) == {"identities", "cameras", "segments"}


def test_weights_of_other_people_are_not_taken_for_ones_own(run, own):
    """Rows go by name: of who is in both runs they are taken; who is new starts as the mean of all, as a stranger is shown."""

    def begin(init_filter=()):
        task = load_task(config_of(run, own))
        assets = task.prepare()
        fresh = states.split(task.model(assets, rngs=states.model_rngs(0)))
        parts, told = start_from(fresh, str(run), init_filter, names=assets.names, per_name=task.per_name)
        return by_path(fresh.params), by_path(parts.params), told

    fresh, same, told = begin()
    assert " parameters taken from " in told and "fresh" not in told and "by name" not in told
    rename(own, "SYN002", "SYN007")
    fresh, parts, told = begin()
    assert told.endswith("; by name 1 of 2 identities")
    for name in ("calibration/identity_gain", "calibration/identity_offset", "background/identity/first/weight"):
        np.testing.assert_array_equal(parts[name][0], same[name][0])
        np.testing.assert_allclose(parts[name][1], np.asarray(same[name]).mean(0), rtol=1e-5, atol=1e-7)
        assert (np.asarray(same[name]) != np.asarray(fresh[name])).any(1).all(), "else this would show nothing"
    for name in ("background/identity/first/bias", "calibration/camera_gain", "background/camera/first/weight"):
        np.testing.assert_array_equal(parts[name], same[name])
    assert "by name" not in begin(("colour_decoder/",))[2]


def test_weights_for_more_people_than_they_were_trained_with(run, own):
    shutil.copytree(next(own.glob("*--SYN001")), own / "20270101--0000--SYN003")
    task = load_task(config_of(run, own))
    assets = task.prepare()
    fresh = states.split(task.model(assets, rngs=states.model_rngs(0)))
    parts, told = start_from(fresh, str(run), (), names=assets.names, per_name=task.per_name)
    assert told.endswith("; by name 2 of 3 identities")
    gain = by_path(parts.params)["calibration/identity_gain"]
    saved = checkpoint.restore_model(run).model.calibration.identity_gain[...]
    np.testing.assert_allclose(gain[2], np.asarray(saved).mean(0), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(gain[:2], saved)
