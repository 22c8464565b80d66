"""Predictions written: without targets, whole or not at all, and only once."""

import json

import pytest
from tiny_task import ASSETS, Offset, Tiny, Writing

from ava_jax.run import inference, prediction
from ava_jax.tasks.base import PREDICT
from ava_jax.train.lock import Lock

READABLE = (0, 1, 2, 3, 4, 6)


def predict(task, folder, split=PREDICT, offset=10.0, **options):
    return prediction.predict(task, ASSETS, inference.Inference(Offset(offset)).compile, split, folder, threads=0, **options)


def test_samples_without_targets_are_predicted_and_written(tmp_path, capsys):
    task = Writing()
    folder = tmp_path / "made" / "here"
    files = predict(task, folder)
    assert files == [folder / name for i in READABLE for name in (f"{i}.json", f"notes/{i}.txt")]
    found = json.loads((folder / "6.json").read_text())
    assert found == {"answer": 16.0, "keys": ["camera", "identity", "value"]}, "what the split holds, and nothing added"
    assert task.traced == 1 and (folder / "notes" / "3.txt").read_text() == "3"
    assert not list(folder.glob(".partial*"))
    out = capsys.readouterr()
    assert "predict: 1 of 7 images could not be read" in out.out and "predict: " in out.err and "image" in out.err, "a progress bar"


def test_any_split_can_be_predicted_and_fewer_samples(tmp_path):
    files = predict(Writing(missing=()), tmp_path, "late", max_samples=3)
    assert [path.name for path in files if path.suffix == ".json"] == ["0.json", "3.json", "6.json"]


def test_what_was_written_before_is_kept_and_the_rest_is_added(tmp_path, capsys):
    predict(Writing(), tmp_path, max_samples=3)
    (tmp_path / "0.json").write_text("mine")
    (tmp_path / "notes" / "3.txt").unlink()
    capsys.readouterr()
    task = Writing()
    files = predict(task, tmp_path)
    assert f"{tmp_path}: 2 of 7 images were written before and are kept" in capsys.readouterr().out
    assert (tmp_path / "0.json").read_text() == "mine" and (tmp_path / "notes" / "3.txt").is_file()
    assert sorted(task.sources[PREDICT].read) == [1, 2, 3, 4, 5], "0 and 6 are not read again, 3 lacked a file"
    assert files == predict(Writing(), tmp_path), "once more, with nothing to do"


def test_an_interrupted_prediction_goes_on_where_it_stopped(tmp_path):
    class Stopping(Writing):
        def export(self, prediction, sample, assets, folder):
            files = super().export(prediction, sample, assets, folder)
            if sample["value"] == 2:
                raise OSError("the disk is full")
            return files

    with pytest.raises(OSError, match="the disk is full"):
        predict(Stopping(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "1.json", "notes", "predictions.jsonl"]
    assert sorted(path.name for path in (tmp_path / "notes").iterdir()) == ["0.txt", "1.txt"], "of sample 2 nothing"
    with open(tmp_path / prediction.INDEX, "a") as file:
        file.write('{"sample": 2, "fil')  # cut off as it was written
    (tmp_path / ".partial-killed").mkdir()
    task = Writing()
    assert len(predict(task, tmp_path)) == 2 * len(READABLE)
    assert sorted(task.sources[PREDICT].read) == [2, 3, 4, 5, 6] and not (tmp_path / ".partial-killed").exists()
    lines = (tmp_path / prediction.INDEX).read_text().splitlines()
    assert [json.loads(line)["sample"] for line in lines[1:]] == list(READABLE)


def test_predictions_of_something_else_are_not_mixed_in(tmp_path):
    predict(Writing(), tmp_path)
    with pytest.raises(ValueError, match="holds predictions of something else: model differ. Take another folder, or remove it"):
        predict(Writing(), tmp_path, offset=11.0)
    with pytest.raises(ValueError, match="split differ"):
        predict(Writing(), tmp_path, "late")
    moved = Writing()
    moved.config.data.root = "there"
    with pytest.raises(ValueError, match="config.data.root differ"):
        predict(moved, tmp_path)
    longer = Writing()
    longer.config.train.steps = 4
    assert predict(longer, tmp_path), "how long it was trained says nothing that the model does not say"


def test_two_samples_of_one_file_are_an_error(tmp_path):
    class Same(Tiny):
        def export(self, prediction, sample, assets, folder):
            (folder / "it.txt").write_text("")
            return [folder / "it.txt"]

    class Elsewhere(Tiny):
        def export(self, prediction, sample, assets, folder):
            return [tmp_path / "it.txt"]

    with pytest.raises(ValueError, match=r"Same.export must name its files by the sample: samples 0 and 1 both write 'it.txt'"):
        predict(Same(), tmp_path / "same")
    with pytest.raises(ValueError, match="Elsewhere.export must write into the folder that it is given"):
        predict(Elsewhere(), tmp_path / "elsewhere")


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="Tiny writes no predictions"):
        predict(Tiny(), tmp_path)
    with pytest.raises(ValueError, match="no split 'nowhere'; it has late, far, predict"):
        predict(Writing(), tmp_path, "nowhere")
    with pytest.raises(ValueError, match="none of the 2 samples of the split 'far' can be read"):
        predict(Writing(missing=(0, 1)), tmp_path, "far")


def test_one_process_at_a_time_writes_predictions(tmp_path):
    with Lock(tmp_path) as lock:
        lock.take()
        with pytest.raises(
            ValueError, match=rf"{tmp_path}: process \d+ of .* writes predictions there. Wait for it, or take another --out"
        ):
            predict(Writing(), tmp_path)
    assert predict(Writing(), tmp_path) and not (tmp_path / ".lock").exists()
