"""The comparison of runs: what is trained, what is skipped, the table, curves out of events, pictures out of predicted files."""

import csv
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from mesh_fit_folders import vertices, write
from PIL import Image
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2
from tensorboardX.summary import scalar

from ava_jax.data import obj_files
from ava_jax.tasks.mesh_fit.data import synthesize
from ava_jax.tasks.mesh_fit.evaluation import comparison, curves
from ava_jax.tasks.mesh_fit.evaluation.comparison import Run
from ava_jax.tasks.mesh_fit.evaluation.experiment import Experiment
from ava_jax.viz import plot


class Ava:
    """Stands in for commands that there is no time for: writes what train, eval and predict write of a run."""

    def __init__(self, data: pathlib.Path):
        self.data, self.calls = data, []

    def __call__(self, command: str, *words: str) -> None:
        given = dict(word.lstrip("-").split("=", 1) for word in words)
        workdir = pathlib.Path(given["workdir"])
        self.calls.append((command, workdir.name, given))
        if command == "train":
            workdir.mkdir(exist_ok=True)
        elif command == "eval":
            mse = {"sbs_time": 3e-6, "joints_time": 2e-6, "sbs_vertex": 1e-5}.get(workdir.name.rpartition("_")[0], 1e-6)
            values = {"mse": mse, "mean_error": 1.0, "p95_error": None, "identity_mse": 2e-5, "rigid_mse": 1e-5}
            lines = ["split,sequence,source,prediction,target", "unseen_frames,walk,1.0,3.0,2.0", "unseen_frames,dance,1.0,5.0,"]
            write_evaluation(workdir / "eval" / "40", values, lines)
        else:
            assert given["max_samples"] == "3" and given["split"] == "unseen_frames"
            folder = pathlib.Path(given["out"]) / "walk"
            folder.mkdir(parents=True)
            for frame in ("00004.obj", "00005.obj"):
                shutil.copy(self.data / "walk_sbs" / "obj" / frame, folder / frame)


def write_evaluation(folder: pathlib.Path, values: dict, jitter: list[str]) -> None:
    folder.mkdir(parents=True)
    scores = {name: {"mean": value} for name, value in values.items()}
    (folder / "scores.json").write_text(json.dumps({"splits": {"unseen_frames": {"scores": scores}}}))
    (folder / "jitter.csv").write_text("\n".join(jitter) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("bodies") / "data"
    synthesize.write_default(folder, small=True)
    return folder


def test_variants_then_the_best_and_nothing_twice(data, tmp_path, capsys):
    out, ava = tmp_path / "out", Ava(data)
    experiment = Experiment(data, out, variants=("sbs", "joints"), best_epochs=4, values=("model.hidden=8",))
    written = experiment.carry_out(ava)
    assert [path.name for path in written] == ["comparison.csv", "comparison.md", "comparison.jpg"]  # there are no events to draw
    trained = [name for command, name, _ in ava.calls if command == "train"]
    assert trained == ["sbs_time_2", "joints_time_2", "sbs_vertex_2", "joints_time_4", "joints_vertex_4"]
    (first, name, given), (second, *_) = ava.calls[:2]
    assert (first, second, name) == ("train", "eval", "sbs_time_2") and given == {
        "config": "mesh_fit:sbs",
        "config.data.root": str(data),
        "config.data.held_out.sequences": "()",
        "config.model.condition_on": "time",
        "config.train.epochs": "2",
        "config.model.hidden": "8",
        "workdir": str(out / "sbs_time_2"),
    }
    assert sum(command == "predict" for command, *_ in ava.calls) == 5
    assert "the best after 2 epochs is joints" in capsys.readouterr().out
    del ava.calls[:]
    shutil.rmtree(out / "sbs_vertex_2" / "eval")
    experiment.carry_out(ava)
    assert [call[:2] for call in ava.calls] == [("train", "sbs_vertex_2"), ("eval", "sbs_vertex_2")]
    assert "sbs_time_2: done already" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"holds runs of --set \['model.hidden=8'\], not \[\]; choose another --out"):
        Experiment(data, out).carry_out(ava)
    lines = list(csv.DictReader((out / "comparison.csv").open()))
    assert [(line["variant"], line["condition_on"], line["epochs"]) for line in lines[:3]] == [
        ("sbs", "time", "2"),
        ("joints", "time", "2"),
        ("sbs", "vertex", "2"),
    ]
    assert [line["variant"] for line in lines[5:]] == ["identity", "mean offset", "rigid", "scan"]
    assert lines[0]["unseen_frames_mse"] == "3e-06" and lines[5]["unseen_frames_mse"] == "2e-05" and lines[0]["unseen_sequences_mse"] == ""
    np.testing.assert_allclose(float(lines[0]["unseen_frames_jitter"]), np.sqrt((9 + 25) / 2))
    np.testing.assert_allclose(float(lines[8]["unseen_frames_jitter"]), 2.0)
    text = (out / "comparison.md").read_text().splitlines()
    columns = "unseen frames: mse, m² | unseen frames: mean error, mm | unseen frames: jitter, mm"
    assert text[0] == f"| variant | conditioned on | epochs | {columns} |"
    assert text[2] == "| sbs | time | 2 | 3.00e-06 | 1.00 | 4.12 |" and text[7] == "| identity | - | - | 2.00e-05 | - | 1.00 |"
    sheet = Image.open(out / "comparison.jpg")
    assert sheet.width > 6 * 200 and sheet.height > 2 * 200


def test_a_failed_command_ends_the_comparison(data, tmp_path):
    """The real `ava`, which does not know the variant."""
    program = "from absl import app; from ava_jax.tasks.mesh_fit.commands import compare as c; app.run(lambda unused: c.main())"
    words = [sys.executable, "-c", program, f"--data={data}", f"--out={tmp_path / 'out'}", "--variants=nonsense"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode and "ava train ended with status" in done.stderr
    nameless = subprocess.run([*words[:3], "--out=x"], capture_output=True, text=True)
    assert nameless.returncode and "--data is missing, as in --data=DATA" in nameless.stderr


def test_the_plan():
    assert [run.name for run in comparison.plan(["sbs", "joints"], 2, vertex=True)] == ["sbs_time_2", "joints_time_2", "sbs_vertex_2"]
    assert comparison.plan(["sbs"], 2, vertex=False) == [Run("sbs", "time", 2)]


def write_events(workdir: pathlib.Path, number: int, points, *, start: int | None = None) -> None:
    writer = EventsWriter(str(workdir / "events"), filename_suffix=f".{number}")
    if start is not None:
        writer.write_event(event_pb2.Event(wall_time=float(number), step=start, session_log=event_pb2.SessionLog(status=1)))
    for step, value in points:
        for tag, v in (("loss/l2", value), ("other", 7.0)):
            writer.write_event(event_pb2.Event(wall_time=float(number), step=step, summary=scalar(tag, v)))
    writer.close()


def test_events_of_a_run_that_went_back_are_read_as_tensorboard_shows_them(tmp_path):
    write_events(tmp_path, 1, [(10, 1.0), (20, 0.5), (30, 0.25)], start=1)
    write_events(tmp_path, 2, [(20, 0.4), (30, 0.2)], start=11)
    steps, values = curves.read_scalars(tmp_path, "loss/l2")
    np.testing.assert_array_equal(steps, [10, 20, 30])
    np.testing.assert_allclose(values, [1.0, 0.4, 0.2], rtol=1e-6)
    (path,) = tmp_path.glob("events*.2")
    path.write_bytes(path.read_bytes()[:-3])  # cut short: what stands before is read
    assert len(curves.read_scalars(tmp_path, "other")[0]) >= 2
    assert [len(x) for x in curves.read_scalars(tmp_path, "nothing")] == [0, 0]


def test_curves_lie_where_their_values_are():
    steps = np.linspace(0, 100, 200)
    picture = curves.draw({"a": (steps, 10.0 ** (-2 - steps / 50))}, {"floor": 3e-3}, title="T", across="step", up="m²")
    left, top, right, bottom = plot.box()
    blue = (picture == plot.COLOURS[0]).all(-1)[top:bottom, left:right]
    rows = np.array([np.flatnonzero(column).mean() for column in blue.T if column.any()])
    line = np.polyfit(np.arange(len(rows)), rows, 1)
    np.testing.assert_allclose(line[0], (bottom - top) / (right - left), rtol=0.02)  # two decades over the whole width, of two
    with pytest.raises(ValueError, match="curves must have a value over 0"):
        curves.draw({"a": (np.array([]), np.array([]))}, {}, title="", across="", up="")
    np.testing.assert_allclose(curves.smoothed(np.array([1.0, 100.0, 1.0]), 1), [10.0, 100 ** (1 / 3), 10.0])


def test_curves_of_runs_beside_floors(tmp_path):
    workdir = tmp_path / "sbs_time_2"
    write_evaluation(workdir / "eval" / "7", {"mse": 1e-6, "identity_mse": 2e-5}, ["split,sequence,source,prediction,target"])
    result = comparison.Result(Run("sbs", "time", 2), workdir)
    assert comparison.write_curves([result], {"identity": 2e-5}, tmp_path) == []
    write_events(workdir, 1, [(i, 1e-3 / (1 + i)) for i in range(50)])
    (path,) = comparison.write_curves([result], {"identity": 2e-5}, tmp_path)
    assert Image.open(path).size == plot.SIZE
    assert np.isnan(result.jitter("unseen_frames", "target")) and result.best_by == 1e-6
    with pytest.raises(FileNotFoundError, match="has no eval"):
        comparison.Result(Run("sbs", "time", 3), tmp_path / "none")


def test_floors_of_training_meshes(tmp_path):
    root = write(tmp_path, {"dyna": 3, "rom": 2}, kinds=("sbs", "target"))
    offsets = np.stack([vertices(0, i, "target").astype(float) - vertices(0, i, "sbs") for i in range(3)])
    floors = comparison.training_floors(root, ("rom",))
    np.testing.assert_allclose(floors["identity"], np.square(offsets).mean())
    np.testing.assert_allclose(floors["mean offset"], np.square(offsets - offsets.mean(0)).mean())


def test_pictures_show_frames_that_all_runs_predicted(data, tmp_path):
    for name, frames in (("a", (1, 2)), ("b", (2, 3))):
        for frame in frames:
            (tmp_path / name / "dance").mkdir(parents=True, exist_ok=True)
            target = (data / "dance_target" / "obj" / f"{frame:05d}.obj").read_bytes()
            (tmp_path / name / "dance" / f"{frame:05d}.obj").write_bytes(target)
    (path,) = comparison.write_pictures({"a": tmp_path / "a", "b": tmp_path / "b"}, data, tmp_path)
    assert path.name == "comparison.jpg" and Image.open(path).height < 2 * 320 + 120  # one frame
    assert obj_files.read(tmp_path / "a" / "dance" / "00002.obj").faces.shape[1] == 3
