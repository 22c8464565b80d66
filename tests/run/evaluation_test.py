"""Rows, means and files of a task that needs no learning: it answers with a number that the batch holds."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Assets
from ava_jax.run import evaluation, inference, report

ASSETS = Assets({}, {"identities": ["anna", "bert"]})


class Offset(nnx.Module):
    def __init__(self):
        self.offset = nnx.Param(jnp.array(10.0))


class Samples:
    def __init__(self, count: int, missing: tuple[int, ...]):
        self.count, self.missing = count, missing

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int):
        return None if i in self.missing else {"value": np.float32(i), "identity": np.int32(i % 2), "camera": np.int32(i // 3)}


class Plain:
    """The least that evaluation asks of a task. Sample 4 has no ssim."""

    eval_splits = ("late", "far")

    def __init__(self, missing: tuple[int, ...] = (5,)):
        self.missing = missing
        self.traced = 0

    def source(self, split, assets):
        return Samples(7 if split == "late" else 2, self.missing)

    def sampling(self, split):
        return Sampling(batch_size=4, shuffle=False, epochs=1, drop_remainder=False)

    def evaluate(self, model, batch):
        self.traced += 1
        value = batch["value"]
        # not in alphabetical order: tables keep the task's own
        return {"ssim": jnp.where(value == 4, jnp.nan, value / 10), "psnr": value + model.offset[...]}

    def describe(self, batch, assets):
        rows = zip(batch["identity"], batch["camera"], strict=True)
        return [{"identity": assets.names["identities"][i], "camera": f"cam{c}", "frame": int(c)} for i, c in rows]


class WithBaseline(Plain):
    def baseline(self, assets):
        assert assets is ASSETS
        return lambda batch: {"psnr": batch["value"] - 1.0}


class WithExamples(Plain):
    def write_examples(self, compile_model, best, worst, path): ...


def evaluate(task, splits=("late",)):
    return evaluation.evaluate(task, ASSETS, inference.Inference(Offset()).compile, splits, threads=0)


def test_a_row_for_every_readable_sample_and_one_compilation():
    task = Plain()
    found = evaluate(task)["late"]
    assert [row["psnr"] for row in found.rows] == [10, 11, 12, 13, 14, 16]
    assert [row["identity"] for row in found.rows] == ["anna", "bert", "anna", "bert", "anna", "anna"]
    assert found.unreadable == 1 and found.scores == ("ssim", "psnr") and found.baseline == found.best == ()
    assert task.traced == 1, "compiled once"


def test_the_best_and_the_worst_are_kept_each_by_the_first_score_it_has():
    found = evaluate(WithExamples())["late"]
    # Sample 4 has no ssim and stands with its psnr, 14, above all others.
    assert [float(example.sample["value"]) for example in found.best] == [4, 6, 3, 2]
    assert [float(example.sample["value"]) for example in found.worst] == [0, 1, 2, 3]
    assert [example.label for example in found.best[:2]] == ["best, psnr 14.00", "best, ssim 0.60"]
    assert found.worst[1].label == "worst, ssim 0.10" and found.worst[1].row == found.rows[1]
    assert all(np.shape(value) == () for value in found.best[0].sample.values()), "without the batch axis"


def test_summary_counts_what_has_no_score():
    summary = report.summary(evaluate(Plain())["late"])
    text = json.dumps(summary, allow_nan=False)
    ssim = json.loads(text)["scores"]["ssim"]
    assert ssim["mean"] == pytest.approx((0 + 1 + 2 + 3 + 6) / 50) and (ssim["images"], ssim["ignored"]) == (5, 1)
    assert summary["by"]["identity"]["bert"]["psnr"]["mean"] == 12.0
    assert list(summary["by"]) == ["identity", "camera"], "no segments in this task's descriptions"


def test_images_of_one_persons_frame_are_one_cluster():
    psnr = report.summary(evaluate(Plain())["late"])["scores"]["psnr"]
    # Frame 0: anna 10 and 12, bert 11; frame 1: bert 13, anna 14; frame 2: anna 16.
    sums = np.array([10 + 12, 11, 13, 14, 16]) - np.array([2, 1, 1, 1, 1]) * (76 / 6)
    half = 2.7764451 * np.sqrt(5 / 4 * np.square(sums).sum()) / 6  # t(4), 97.5%, from a printed table
    assert psnr["clusters"] == 5 and psnr["interval"] == pytest.approx([76 / 6 - half, 76 / 6 + half], rel=1e-6)


def test_the_baseline_and_the_gain_image_by_image_stand_beside_the_scores():
    reports = evaluate(WithBaseline(), ("late", "far"))
    assert reports["late"].rows[-1]["baseline_psnr"] == 5.0
    gain = report.summary(reports["late"])["scores"]["gain"]
    assert gain["mean"] == 11.0 and gain["interval"] == [11.0, 11.0], "the same on every image, however they differ"
    lines = report.tables(reports).splitlines()
    assert lines[0].split() == ["split", "images", "ssim", "psnr", "baseline", "psnr", "gain"]
    late = lines[2].split()
    assert late[:3] == ["late", "6", "0.2400"] and late[-2:] == ["+11.00", "±0.00"]
    assert "late: 1 samples listed could not be read." in lines
    assert any(line.startswith("late, by identity") for line in lines) and any(line.startswith("far, by camera") for line in lines)


def test_files_hold_every_mean_and_every_image(tmp_path):
    reports = evaluate(Plain(), ("late", "far"))
    summaries, rows = report.write(tmp_path, 12, reports)
    saved = json.loads(summaries.read_text())
    assert saved["step"] == 12 and saved["confidence"] == 0.95 and saved["splits"]["far"]["images"] == 2
    with open(rows, newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["split"] for row in table] == ["late"] * 6 + ["far"] * 2
    assert float(table[5]["psnr"]) == 16.0 and table[4]["ssim"] == "" and table[4]["identity"] == "anna"


def test_a_score_that_no_image_has_is_a_dash_and_no_column_of_its_groups():
    found = evaluation.SplitReport([{"identity": "a", "psnr": np.nan, "l1": 2.0}], ("psnr", "l1"), (), 0)
    lines = report.tables({"late": found}).splitlines()
    assert lines[2].split() == ["late", "1", "-", "2.00"]
    assert lines[4].split() == ["late,", "by", "identity", "images", "l1"]


def test_a_long_table_shows_its_ends():
    rows = [{"camera": f"cam{i:03d}", "psnr": float(i)} for i in range(40)]
    text = report.tables({"late": evaluation.SplitReport(rows, ("psnr",), (), 0)})
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("cam")]
    assert shown == [f"cam{i:03d}" for i in (*range(12), *range(28, 40))]
    assert "The 12 lowest and the 12 highest of 40 in psnr" in text


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no split 'near' to score; this run has late, far"):
        evaluate(Plain(), ("near",))
    with pytest.raises(ValueError, match="held nothing out"):
        evaluate(Plain(), ())
    with pytest.raises(ValueError, match="none of the 2 samples of the split 'far' can be read"):
        evaluate(Plain(missing=(0, 1)), ("far",))
