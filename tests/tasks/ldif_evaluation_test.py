"""Scores of surfaces by hand, the published tables, and an evaluation, an extraction and a Beam pipeline of a run that learnt nothing."""

import csv
import pathlib
import pickle
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import trimesh

from ava_jax.bin._context import Context
from ava_jax.ops import implicit
from ava_jax.run import evaluation, report
from ava_jax.run.inference import Inference
from ava_jax.tasks.base import load_task
from ava_jax.tasks.ldif.apps import beam, reconstruct
from ava_jax.tasks.ldif.data import element_files, examples, meshes, views
from ava_jax.tasks.ldif.data.example_files import Grid
from ava_jax.tasks.ldif.data.meshes import Mesh
from ava_jax.tasks.ldif.evaluation import scoring, surfaces, tables
from ava_jax.tasks.ldif.task import Ldif
from ava_jax.train import state as states

ROOT = pathlib.Path(__file__).resolve().parents[2]


def square(z, at=0.0):
    vertices = np.array([[0, 0, z], [1, 0, z], [1, 1, z], [0, 1, z]], float) + at
    return vertices, np.array([[0, 1, 2], [0, 2, 3]])


def ball(radius=0.5, at=(0, 0, 0)):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(at)
    return mesh


def test_samples_are_uniform_by_area():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 3, 5]], float)  # areas 1 and 9
    found = surfaces.sample(vertices, np.array([[0, 1, 2], [3, 4, 5]]), 20_000, seed=0)
    assert (found.places[:, 2] == 5).mean() == pytest.approx(0.9, abs=0.01)
    large = found.places[found.places[:, 2] == 5, :2] / 3
    np.testing.assert_allclose(large.mean(0), 1 / 3, atol=0.01)  # a triangle's centroid
    assert (large.sum(1) <= 1 + 1e-12).all()
    np.testing.assert_allclose(found.normals, np.tile([0, 0, 1.0], (20_000, 1)))
    with pytest.raises(ValueError, match="without area"):
        surfaces.sample(vertices, np.zeros((3, 3), int), 10, seed=0)


@pytest.mark.parametrize(("apart", "f_score", "f_score_2"), [(0.0, 100, 100), (0.008, 100, 100), (0.013, 0, 100), (0.02, 0, 0)])
def test_two_squares_by_hand(apart, f_score, f_score_2):
    """Thresholds are 0.01 and 0.0141; neighbours in the plane are about 0.002 away."""
    found = surfaces.of_meshes(square(apart, at=1000.0), square(0.0, at=1000.0))  # far away from the origin, too
    assert found.f_score == pytest.approx(f_score, abs=1) and found.f_score_2 == pytest.approx(f_score_2, abs=1)
    in_plane = 2 / (np.pi * surfaces.SAMPLES)  # of a Poisson process: both directions
    assert found.chamfer == pytest.approx(1000 * (2 * apart**2 + in_plane), rel=0.05)
    assert found.normal_consistency == pytest.approx(1)


def test_half_of_the_truth_is_found():
    """All that is there is right, half is missing: precision 100, recall 50."""
    vertices, faces = square(0.0)
    both = np.concatenate([vertices, vertices + [3, 0, 0]]), np.concatenate([faces, faces + 4])
    assert surfaces.of_meshes((vertices, faces), both).f_score == pytest.approx(2 * 100 * 50 / 150, abs=0.5)


def test_nearest_points_against_brute_force():
    rng = np.random.default_rng(0)
    parts = [surfaces.Points(*rng.standard_normal((2, 400, 3))) for _ in range(2)]
    parts = [part._replace(normals=part.normals / np.linalg.norm(part.normals, axis=1, keepdims=True)) for part in parts]
    squared = np.square(parts[0].places[:, None] - parts[1].places).sum(-1)
    cosines = np.abs(parts[0].normals @ parts[1].normals.T)
    found = surfaces.of_points(*parts)
    assert found.chamfer == pytest.approx(1000 * (squared.min(1).mean() + squared.min(0).mean()), rel=1e-5)
    by_hand = (cosines[np.arange(400), squared.argmin(1)].mean() + cosines[squared.argmin(0), np.arange(400)].mean()) / 2
    assert found.normal_consistency == pytest.approx(by_hand, abs=1e-9)


def test_two_meshes_in_any_unit(monkeypatch):
    monkeypatch.setattr(surfaces, "SAMPLES", 10_000)
    true, found = (
        Mesh(np.asarray(mesh.vertices) * 1000, np.asarray(mesh.faces), False) for mesh in (ball(0.5, (5, 0, 0)), ball(0.45, (5, 0, 0)))
    )
    scores, side = scoring.of_meshes(found, true, unit=True)
    assert side == pytest.approx(1)
    assert scores["iou"] == pytest.approx(72.9, abs=1) and scores["chamfer"] == pytest.approx(5, rel=0.05) and scores["f_score"] == 0
    assert scoring.of_meshes(found, true)[0]["chamfer"] == pytest.approx(5e6, rel=0.05)


def test_the_published_tables(tmp_path):
    names = ("iou", "f_score", "f_score_2tau", "chamfer", "normal_consistency")
    rows = [
        {"class": kind, "name": name, **dict(zip(names, values))}
        for kind, name, values in [
            ("a_b", "1", (80, 90, 95, 1, 0.9)),
            ("a_b", "2", (60, 70, 75, 3, 0.7)),
            ("c", "3", (10, np.nan, 20, 5, 0.5)),
        ]
    ]
    written = tables.write({"test": rows}, tmp_path)
    assert [path.name for path in written] == ["full_results_test.csv", "result_summary_test.csv", "published.tex"]
    full, summary = (list(csv.reader(path.open())) for path in written[:2])
    assert full[0] == summary[0] == ["key", "Normal Consistency", "F-Score (tau)", "F-Score (2*tau)", "Chamfer", "IoU"]
    assert full[1] == ["a_b|1", "0.9", "90.0", "95.0", "1.0", "80.0"] and full[3][2] == ""
    assert [line[0] for line in summary[1:]] == ["a_b", "c", "mean"]
    np.testing.assert_allclose([float(x) for x in summary[1][1:]], [0.8, 80, 85, 2, 70])
    np.testing.assert_allclose([float(x) for x in summary[3][1:]], [0.65, 80, 52.5, 3.5, 40])  # the mean of classes, not of shapes
    assert r"a\_b & 0.800 & 80.0 & 85.0 & 2.000 & 70.0 \\" in written[2].read_text()


def unseen_example(mesh):
    """An example of few samples; its views show nothing, which costs nothing."""
    matrix, nothing = meshes.normalization(mesh), np.zeros((20, 224, 224, 3), np.float32)
    moved, rng = meshes.moved(mesh, matrix), np.random.default_rng(0)
    places = rng.uniform(-0.7, 0.7, (300, 3))
    samples = np.concatenate([places, meshes.signed_distances(moved, places)[:, None]], 1).astype(np.float32)
    points = surfaces.sample(moved.vertices, moved.faces, 200, seed=0)
    grid = Grid(np.ones((4, 4, 4), np.float32), np.eye(4, dtype=np.float32))
    return examples.Example(
        matrix,
        grid,
        samples,
        samples,
        views.Views(nothing[..., 0], nothing),
        np.hstack(points).astype(np.float32),
        np.zeros((137, 137, 3), np.uint8),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that learnt nothing, on a ball and an egg of 300 samples; its folder has a space."""
    folder = tmp_path_factory.mktemp("ldif") / "a run"
    data = folder / "data"
    egg = ball(1.0)
    egg.apply_scale([1.5, 1, 0.5])
    for split, kind, mesh in (("train", "ball", ball(2.0, (7, 0, 0))), ("val", "egg", egg)):
        path = folder / "meshes" / split / kind / f"{kind}.ply"
        path.parent.mkdir(parents=True)
        mesh.export(path)
        made = unseen_example(meshes.read(path))
        (data / split / kind).mkdir(parents=True)
        examples.write(made, data / split / kind / kind, path)
        (data / f"{split}.txt").write_text(f"{split}/{kind}/{kind}/\n")
    config = runpy.run_path(str(ROOT / "configs" / "ldif.py"))["get_config"]("tiny")
    Ldif.test_config(config)
    config.data.root = str(data)
    task = load_task(config)
    assets = task.prepare()
    return Context().write_run(config, assets, task.model(assets, rngs=states.model_rngs(0)), folder / "run")


def test_an_evaluation_scores_surfaces(run, tmp_path):
    config, assets, task, model, _ = Context().restore(run, overrides={"eval.save_meshes": True})
    reports = evaluation.evaluate(task, assets, Inference(model).compile, ["val"], threads=1, export_to=tmp_path / "out")
    (row,) = reports["val"].rows
    assert row["name"] == "egg" and row["class"] == "(not trained on)"
    found, true = (trimesh.load(path, process=False) for path in (tmp_path / "out/val/00000.ply", run.parent / "meshes/val/egg/egg.ply"))
    by_hand = surfaces.of_meshes((found.vertices, found.faces), (true.vertices, true.faces))
    for score, value in zip(scoring.SCORES, by_hand):
        assert row[score.name] == pytest.approx(value, rel=1e-3, abs=0.05), score.name
    assert any("longest side 3 " in line for line in report.protocol_of(task, assets, reports).lines)
    names = [path.name for path in report.write(tmp_path, 0, task, assets, reports)]
    assert "full_results_val.csv" in names and "published.tex" in names


def test_without_the_original_mesh_surfaces_have_no_scores(run, tmp_path):
    """And training's validation looks at no surfaces."""
    data = shutil.copytree(run.parent / "data", tmp_path / "data", symlinks=True)
    next(data.glob("val/egg/egg/mesh_orig.*")).unlink()
    config = Context().restore(run).config
    config.data.root = str(data)
    ball = implicit.Elements(*(np.array([[part]], np.float32) for part in (-1.0, [0, 0, 0], [0.01] * 3, [0, 0, 0], [])))
    config.model.update({"features": 0, "symmetric": 0})
    scorer = scoring.SurfaceScores(config, None)
    assert np.isnan(scorer.score(ball, np.array([1]))["f_score"]).all() and scorer.surface(1).crosses and scorer.surface(0) is None
    assert any("1 examples without" in line for line in scorer.lines())
    task = load_task(config)
    scores = task.score({"values": np.full((1, 5), -1.0)}, {"uniform": np.full((1, 5, 4), -1.0)}, None)
    assert scores["iou"] == pytest.approx(100, abs=1e-3) and [*scores] == [score.name for score in task.scores] == ["iou"]
    config.eval.classes = ("eg",)
    with pytest.raises(ValueError, match=r"--classes=eg: .*the nearest are egg"):
        load_task(config).source("val", load_task(config).prepare())


def test_a_run_makes_meshes_where_those_lie_that_it_is_given(run, tmp_path):
    """One by one and by Beam: the same bytes; what cannot be used is told."""
    (tmp_path / "in").mkdir()
    ball(2.0, (7, 0, 0)).export(tmp_path / "in" / "a ball.obj")
    (tmp_path / "in" / "bad.ply").write_text("nonsense")
    opened = pickle.loads(pickle.dumps(reconstruct.Run(Context(), str(run))))
    given = {"meshes": [tmp_path / "in"], "examples": [run.parent / "data"]}
    output = reconstruct.Output(resolution=12, elements=True)
    works = reconstruct.find(given, tmp_path / "out", ".ply")
    assert [str(work.target.relative_to(tmp_path / "out")) for work in works] == [
        "a ball.ply", "bad.ply", "train/ball/ball.ply", "val/egg/egg.ply",
    ]  # fmt: skip
    outcomes = [opened.open().write(work, output) for work in works]
    assert [outcome.fault for outcome in outcomes] == [False, True, False, False] and "bad.ply" in outcomes[1].line
    mesh = trimesh.load(works[0].target)
    assert np.abs(mesh.bounds - [7, 0, 0]).max() < 8 and np.abs(mesh.bounds.mean(0) - [7, 0, 0]).max() < 4
    assert len(element_files.read(works[0].target.with_suffix(".txt"))[0].constant) == 4
    (tmp_path / "in" / "a ball.obj").unlink()
    there = reconstruct.find(given, tmp_path / "beam", ".ply")
    (fault,) = beam.write(opened, there, output, runner="DirectRunner")
    assert fault == outcomes[1].line
    for one, other in zip(works[1:], there, strict=True):
        assert one.target.exists() == other.target.exists() and (
            one.target.name == "bad.ply" or one.target.read_bytes() == other.target.read_bytes()
        )
    assert not list((tmp_path / "beam").glob(".faults*"))


def test_what_is_asked_for_wrongly_is_one_line(run, tmp_path):
    with pytest.raises(ValueError, match=r"--meshes: there is no .*nowhere"):
        reconstruct.find({"meshes": [tmp_path / "nowhere"]}, tmp_path, ".ply")
    with pytest.raises(ValueError, match=r"--examples: .* holds no folder with depth_and_normals.npz"):
        reconstruct.find({"examples": [tmp_path]}, tmp_path, ".ply")
    path = run.parent / "meshes" / "val" / "egg" / "egg.ply"
    with pytest.raises(ValueError, match="over the mesh that is read"):
        reconstruct.find({"meshes": [path]}, path.parent, ".ply")
    command = [sys.executable, "-m", "ava_jax.bin.ava", "ldif", "extract", f"--workdir={run}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "give both" in done.stderr.splitlines()[-1]
