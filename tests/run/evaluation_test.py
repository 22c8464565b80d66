"""Rows, means and tables of a task that needs no learning: it answers with a number that the batch holds."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ava_jax.core.types import Assets
from ava_jax.run import evaluation, inference
from ava_jax.core.sampling import Sampling

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
        return [{"identity": assets.names["identities"][i], "camera": f"cam{c}", "frame": 0} for i, c in rows]


class WithBaseline(Plain):
    def baseline(self, assets):
        assert assets is ASSETS
        return lambda batch: {"psnr": batch["value"] - 1.0}


def evaluate(task, splits=("late",)):
    return evaluation.evaluate(task, ASSETS, inference.Inference(Offset()).compile, splits, threads=0)


def test_a_row_for_every_readable_sample_and_one_compilation():
    task = Plain()
    report = evaluate(task)["late"]
    assert [row["psnr"] for row in report.rows] == [10, 11, 12, 13, 14, 16]
    assert [row["identity"] for row in report.rows] == ["anna", "bert", "anna", "bert", "anna", "anna"]
    assert report.unreadable == 1 and report.scores == ("ssim", "psnr") and report.baseline == ()
    assert task.traced == 1, "compiled once"


def test_summary_counts_what_has_no_score():
    summary = evaluation.summary(evaluate(Plain())["late"])
    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text)["scores"]["ssim"] == {"mean": pytest.approx((0 + 1 + 2 + 3 + 6) / 50), "images": 5, "ignored": 1}
    assert summary["by"]["identity"]["bert"]["psnr"]["mean"] == 12.0
    assert list(summary["by"]) == ["identity", "camera"], "no segments in this task's descriptions"


def test_the_baseline_stands_beside_the_scores():
    reports = evaluate(WithBaseline(), ("late", "far"))
    assert reports["late"].rows[-1]["baseline_psnr"] == 5.0
    lines = evaluation.tables(reports).splitlines()
    assert lines[0].split() == ["split", "images", "ssim", "psnr", "baseline", "psnr", "gain"]
    late = lines[2].split()
    assert late[:4] == ["late", "6", "0.2400", "12.67"] and late[-1] == "+11.00"
    assert "late: 1 samples listed could not be read." in lines
    assert any(line.startswith("late, by identity") for line in lines) and any(line.startswith("far, by camera") for line in lines)


def test_a_score_that_no_image_has_is_a_dash():
    rows = [{"identity": "a", "psnr": np.nan}]
    report = evaluation.SplitReport(rows, ("psnr",), (), 0)
    assert evaluation.tables({"late": report}).splitlines()[2].split() == ["late", "1", "-"]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no split 'near' to score; this run has late, far"):
        evaluate(Plain(), ("near",))
    with pytest.raises(ValueError, match="held nothing out"):
        evaluate(Plain(), ())
    with pytest.raises(ValueError, match="none of the 2 samples of the split 'far' can be read"):
        evaluate(Plain(missing=(0, 1)), ("far",))
