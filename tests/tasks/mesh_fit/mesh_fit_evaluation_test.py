"""Scores, floors, tables and predicted files, against figures worked out by hand or another way."""

import csv
import functools

import numpy as np
import pytest
from mesh_fit_folders import config, vertices, write
from scipy.spatial.transform import Rotation

from ava_jax.data import obj_files
from ava_jax.tasks.mesh_fit.data import source
from ava_jax.tasks.mesh_fit.evaluation import baselines, export, motion, scores, summary


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write(tmp_path_factory.mktemp("meshes"), {"dyna": 5, "rom": 6})


def batch_of(samples, *indices):
    return {name: np.stack([samples[i][name] for i in indices]) for name in samples[0]}


def test_scores_of_known_errors():
    target = np.zeros((2, 100, 3), np.float32)
    vertices = target.copy()
    vertices[0, :, 0] = 0.003  # 3 mm everywhere
    vertices[1, :10] = [0.0, 0.03, 0.04]  # 50 mm at a tenth
    found = scores.score({"vertices": vertices}, {"target": target}, None)
    np.testing.assert_allclose(found["mse"], [9e-6 / 3, 0.1 * 2.5e-3 / 3], rtol=1e-6)
    np.testing.assert_allclose(found["mean_error"], [3.0, 5.0], rtol=1e-6)
    np.testing.assert_allclose(found["p95_error"], [3.0, 50.0], rtol=1e-6)
    assert [score.name for score in scores.SCORES] == list(found)
    assert scores.SCORES[0].format(6.19e-5) == "6.19e-05" and not any(score.higher_is_better for score in scores.SCORES)


def test_floors(root):
    settings = config(root, data__held_out__sequences=("rom",))
    assets = source.prepare(settings)
    floors = baselines.baselines(settings, assets)
    assert list(floors) == ["identity", "mean_offset", "rigid"]  # the gain is over the first
    batch = batch_of(source.source(settings, "unseen_sequences", assets), 1, 4)
    skin = np.stack([vertices(1, frame, "sbs") for frame in (1, 4)]).astype(np.float64)
    target = np.stack([vertices(1, frame, "target") for frame in (1, 4)]).astype(np.float64)
    np.testing.assert_allclose(floors["identity"](batch)["mse"], np.square(skin - target).mean((1, 2)))
    trained = range(4)  # the last of dyna's five frames and all of rom are held out
    offset = np.mean([vertices(0, i, "target").astype(float) - vertices(0, i, "sbs") for i in trained], axis=0)
    np.testing.assert_allclose(floors["mean_offset"](batch)["mse"], np.square(skin + offset - target).mean((1, 2)))
    for i in range(2):
        rotation, _ = Rotation.align_vectors(target[i] - target[i].mean(0), skin[i] - skin[i].mean(0))
        moved = rotation.apply(skin[i] - skin[i].mean(0)) + target[i].mean(0)
        np.testing.assert_allclose(floors["rigid"](batch)["mse"][i], np.square(moved - target[i]).mean())


def test_the_best_rigid_motion_undoes_a_rigid_motion():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3, 20, 3))
    turned = np.stack([Rotation.random(random_state=i).apply(p) + i for i, p in enumerate(points)])
    np.testing.assert_allclose(baselines.best_rigid(points, turned), turned, atol=1e-9)
    mirrored = points * [-1, 1, 1]  # which no turn does
    assert np.abs(baselines.best_rigid(points, mirrored) - mirrored).max() > 0.1


def test_predictions_are_files_under_their_sources_names(root, tmp_path):
    """Without targets, of a root of other sequences, with the faces' lines as they stand in the source's file."""
    new = write(tmp_path / "new", {"jump": 2}, kinds=("sbs",))
    path = new / "jump_sbs" / "obj" / "00002.obj"
    path.write_bytes(path.read_bytes().replace(b"f 1 2 3\n", b"# face\r\nf 1 2 3 \r\n"))
    settings = config(new)
    samples = source.source(settings, "predict", source.prepare(config(root)))
    moved = vertices(7, 7, "sbs")
    (tmp_path / "out").mkdir()
    for i in range(2):
        (written,) = export.export({"vertices": moved}, samples[i], settings, tmp_path / "out")
        assert written == tmp_path / "out" / "jump" / f"0000{i + 1}.obj"
        source_file = new / "jump_sbs" / "obj" / written.name
        assert written.read_bytes().partition(b"\nf ")[2] == source_file.read_bytes().partition(b"\nf ")[2]
        np.testing.assert_array_equal(obj_files.read(written).vertices, moved)
    assert b"# face\r\nf 1 2 3 \r\n" in written.read_bytes()


def rows_of(sequence, mses):
    return [
        {"sequence": sequence, "frame": f"{i}", "mse": mse, "mean_error": 1.0, "p95_error": 2.0, "identity_mse": 8e-6, "rigid_mse": 4e-6}
        for i, mse in enumerate(mses)
    ]


def test_the_summary_has_a_line_per_sequence_beside_the_floors(tmp_path):
    rows = {"unseen_frames": rows_of("dyna", [1e-6, 3e-6]) + rows_of("rom", [4e-6]), "unseen_sequences": rows_of("jump", [1e-6])}
    table, markdown = summary.summarize(rows, None, tmp_path)
    lines = list(csv.DictReader(table.open()))
    assert [(line["split"], line["sequence"], line["meshes"]) for line in lines] == [
        ("unseen_frames", "dyna", "2"),
        ("unseen_frames", "rom", "1"),
        ("unseen_frames", "all", "3"),
        ("unseen_sequences", "jump", "1"),
    ]
    np.testing.assert_allclose([float(line["mse"]) for line in lines], [2e-6, 4e-6, 8e-6 / 3, 1e-6])
    np.testing.assert_allclose([float(line["times"]) for line in lines], [4, 2, 3, 8])
    assert lines[0]["rigid_mse"] == "4e-06" and lines[0]["mean_offset_mse"] == ""
    text = markdown.read_text().splitlines()
    assert text[2] == "| unseen_frames | dyna | 2 | 2.00e-06 | 1.00 | 2.00 | 8.00e-06 | - | 4.00e-06 | 4.0 |"
    assert text[0].count("|") == text[1].count("|") == text[2].count("|")


def predict(model, batch):
    """Moves the newest mesh by a part of its last step."""
    sources = np.asarray(batch["source"])
    return {"vertices": sources[:, -1] + model * (sources[:, -1] - sources[:, -2])}


def compile_model(fn):
    return functools.partial(fn, 0.5)


def test_jitter_is_that_of_frames_in_a_row(root, tmp_path):
    settings = config(root, data__held_out__sequences=("rom",), data__held_out__last_frames=2)
    settings.data.read_threads = 1
    settings.eval.batch_size = 2  # which does not divide the frames
    assets = source.prepare(settings)
    recordings = motion.record(compile_model, predict, settings, assets, keep=3)
    assert [(r.sequence, r.split, r.frames) for r in recordings] == [
        ("dyna", "unseen_frames", ["00004", "00005"]),
        ("rom", "unseen_sequences", ["00001", "00002", "00003"]),
    ]
    meshes = [np.stack([vertices(1, frame, kind) for frame in range(6)]).astype(np.float64) for kind in ("sbs", "target")]
    predicted = meshes[0] + 0.5 * np.diff(meshes[0], axis=0, prepend=meshes[0][:1])
    for kind, sequence in (("source", meshes[0]), ("target", meshes[1]), ("prediction", predicted)):
        expected = 1e3 * np.sqrt(np.square(np.diff(sequence, 2, axis=0)).sum(-1).mean())
        np.testing.assert_allclose(recordings[1].jitter[kind], expected, rtol=1e-6)
    dyna = np.stack([vertices(0, frame, "target") for frame in range(1, 5)]).astype(np.float64)  # two frames before the two held out
    np.testing.assert_allclose(recordings[0].jitter["target"], 1e3 * np.sqrt(np.square(np.diff(dyna, 2, axis=0)).sum(-1).mean()), rtol=1e-6)
    np.testing.assert_allclose(recordings[1].prediction, predicted[:3], atol=1e-6)
    table, markdown = motion.write_jitter(recordings, tmp_path)
    assert float(list(csv.DictReader(table.open()))[1]["target"]) == recordings[1].jitter["target"]
    assert (
        markdown.read_text().splitlines()[0] == "| split | sequence | source's jitter, mm | prediction's jitter, mm | target's jitter, mm |"
    )


def test_jitter_of_too_few_frames_is_not_told(tmp_path):
    root = write(tmp_path, {"dyna": 2, "rom": 3})
    settings = config(root, data__held_out__sequences=("dyna",))
    settings.data.read_threads = 1
    recordings = motion.record(compile_model, predict, settings, source.prepare(settings), keep=9)
    assert np.isnan(recordings[1].jitter["target"]) and recordings[1].sequence == "dyna"
    table, markdown = motion.write_jitter(recordings, tmp_path)
    assert table.read_text().splitlines()[2] == "unseen_sequences,dyna,,,"
    assert markdown.read_text().splitlines()[3] == "| unseen_sequences | dyna | - | - | - |"
