"""Rows, means and files of a task that needs no learning: it answers with a number that the batch holds."""

import csv
import json

import numpy as np
import pytest
from tiny_task import ASSETS, Offset, Tiny, Writing

from ava_jax.run import evaluation, inference, latex, report
from ava_jax.tasks.base import Protocol, Score


class WithBaseline(Tiny):
    def baselines(self, assets):
        assert assets is ASSETS
        return {"baseline": lambda batch: {"psnr": batch["value"] - 1.0}}


class Errors(Tiny):
    """Less is better: the answer is off by 8. Of two baselines the first counts."""

    scores = (Score("mse", False, "mm", digits=1, scientific=True, ratio=True), Score("worst", False))
    cluster_by = ()
    mean_by = "identity"
    sample_name = "mesh"

    def score(self, prediction, batch, assets):
        error = np.asarray(prediction["answer"]) - batch["truth"]  # 8
        return {"mse": np.square(error) * (1 + batch["value"]), "worst": np.where(batch["identity"] == 0, np.nan, error)}

    def baselines(self, assets):
        def copy(batch):
            error = np.square(batch["value"] - batch["truth"])  # 4
            return {"mse": np.where(batch["value"] == 6, np.nan, error * 64), "worst": error}

        return {"copy": copy, "mean": lambda batch: {"worst": batch["value"]}}


def evaluate(task, splits=("late",), **options):
    return evaluation.evaluate(task, ASSETS, inference.Inference(Offset()).compile, splits, threads=0, **options)


def test_a_row_for_every_readable_sample_and_one_compilation():
    task = Tiny()
    found = evaluate(task)["late"]
    assert [row["psnr"] for row in found.rows] == [10, 11, 12, 13, 14, 16]
    assert [row["identity"] for row in found.rows] == ["anna", "bert", "anna", "bert", "anna", "anna"]
    assert found.unreadable == 1 and found.baselines == {}
    assert list(found.rows[0]) == ["identity", "camera", "frame", "ssim", "psnr"], "scores in the order that they are declared in"
    assert task.traced == 1, "compiled once"


def test_the_best_and_the_worst_are_kept_each_by_the_first_score_it_has():
    found = evaluate(Tiny())["late"]
    # Sample 4 has no ssim and stands with its psnr, 14, above all others.
    assert [float(example.sample["value"]) for example in found.best] == [4, 6, 3, 2]
    assert [float(example.sample["value"]) for example in found.worst] == [0, 1, 2, 3]
    assert [example.label for example in found.best[:2]] == ["best, psnr 14.00", "best, ssim 0.6000"]
    assert found.worst[1].label == "worst, ssim 0.1000" and found.worst[1].row == found.rows[1]
    assert all(np.shape(value) == () for value in found.best[0].sample.values()), "without the batch axis"


def test_summary_counts_what_has_no_score():
    summary = report.summary(Tiny(), evaluate(Tiny())["late"])
    text = json.dumps(summary, allow_nan=False)
    ssim = json.loads(text)["scores"]["ssim"]
    assert ssim["mean"] == pytest.approx((0 + 1 + 2 + 3 + 6) / 50) and (ssim["images"], ssim["ignored"]) == (5, 1)
    assert summary["by"]["identity"]["bert"]["psnr"]["mean"] == 12.0
    assert list(summary["by"]) == ["identity", "camera"], "no segments in this task's descriptions"


def test_images_of_one_persons_frame_are_one_cluster():
    psnr = report.summary(Tiny(), evaluate(Tiny())["late"])["scores"]["psnr"]
    # Frame 0: anna 10 and 12, bert 11; frame 1: bert 13, anna 14; frame 2: anna 16.
    sums = np.array([10 + 12, 11, 13, 14, 16]) - np.array([2, 1, 1, 1, 1]) * (76 / 6)
    half = 2.7764451 * np.sqrt(5 / 4 * np.square(sums).sum()) / 6  # t(4), 97.5%, from a printed table
    assert psnr["clusters"] == 5 and psnr["interval"] == pytest.approx([76 / 6 - half, 76 / 6 + half], rel=1e-6)


def test_the_baseline_and_the_gain_image_by_image_stand_beside_the_scores():
    reports = evaluate(WithBaseline(), ("late", "far"))
    assert reports["late"].rows[-1]["baseline_psnr"] == 5.0
    gain = report.summary(WithBaseline(), reports["late"])["scores"]["gain"]
    assert gain["mean"] == 11.0 and gain["interval"] == [11.0, 11.0], "the same on every image, however they differ"
    lines = report.tables(WithBaseline(), reports).splitlines()
    assert lines[0].split() == ["split", "images", "ssim", "psnr", "baseline", "psnr", "gain"]
    late = lines[2].split()
    assert late[:3] == ["late", "6", "0.2400"] and late[-2:] == ["+11.00", "±0.00"]
    assert "late: 1 samples listed could not be read." in lines
    assert any(line.startswith("late, by identity") for line in lines) and any(line.startswith("far, by camera") for line in lines)


def test_files_hold_every_mean_and_every_image(tmp_path):
    reports = evaluate(Tiny(), ("late", "far"))
    summaries, rows, paper = report.write(tmp_path, 12, Tiny(), ASSETS, reports)
    saved = json.loads(summaries.read_text())
    assert saved["step"] == 12 and saved["confidence"] == 0.95 and saved["splits"]["far"]["images"] == 2
    with open(rows, newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["split"] for row in table] == ["late"] * 6 + ["far"] * 2
    assert float(table[5]["psnr"]) == 16.0 and table[4]["ssim"] == "" and table[4]["identity"] == "anna"


class Regions(Tiny):
    """Scores of which one is of a part, and stands in the second table alone."""

    scores = (
        Score("psnr", True, "dB", row="image", column="psnr", what="over 50% of it"),
        Score("l1", False, "of_255", row="image", column="l1"),
        Score("hair_psnr", True, "dB", main=False, row="hair", column="psnr"),
        Score("tongue_psnr", True, "dB", main=False, row="tongue", column="psnr"),
    )
    group_by = ()

    def score(self, prediction, batch, assets):
        value = np.asarray(prediction["answer"])
        nothing = np.full(value.shape, np.nan)
        return {"psnr": value, "l1": value / 2, "hair_psnr": np.where(value == 10, np.nan, value + 1), "tongue_psnr": nothing}

    def protocol(self, rows, assets):
        lines = tuple(f"{split}: {len(found)} images" for split, found in rows.items())
        return Protocol(lines, {"lines": list(lines), "frames": sorted({row["frame"] for row in rows["late"]})})


def test_scores_of_parts_stand_in_a_second_table():
    lines = report.tables(Regions(), evaluate(Regions())).splitlines()
    assert lines[0].split() == ["split", "images", "psnr", "l1"], "the main scores alone"
    at = next(i for i, line in enumerate(lines) if line.startswith("late, by region"))
    assert lines[at].split()[3:] == ["images", "psnr", "l1"] and lines[at + 1].split() == ["dB", "of_255"]
    assert [line.split() for line in lines[at + 3 :]] == [["image", "6", "12.67", "6.33"], ["hair", "5", "14.20", "-"]], "no tongue is seen"


def test_the_protocol_heads_json_and_latex(tmp_path):
    task = Regions()
    summaries, _, paper = report.write(tmp_path, 3, task, ASSETS, evaluate(task))
    assert json.loads(summaries.read_text())["protocol"] == {"lines": ["late: 6 images"], "frames": [0, 1, 2]}
    text = paper.read_text()
    comments, _, tabular = text.partition("\n\n")
    assert "% late: 6 images" in comments.splitlines() and "% psnr: over 50% of it" in comments.splitlines()
    assert all(line.startswith("%") for line in comments.splitlines())
    assert r"split & images & psnr (dB) $\uparrow$ & l1 (of 255) $\downarrow$ \\" in tabular and r"late & 6 & 12.67 & 6.33 \\" in tabular
    assert r"hair & 5 & 14.20 & -- \\" in tabular and tabular.count(r"\begin{tabular}{lrrr}") == 2


def test_latex_shows_text_as_it_is():
    assert latex.escaped(r"a_b & 50% {x} \ ~^#$") == r"a\_b \& 50\% \{x\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#\$"


class Named(Tiny):
    """Declares what the rows of a test hold."""

    cluster_by = ()

    def __init__(self, scores, group_by):
        super().__init__()
        self.scores, self.group_by = scores, group_by


def test_a_score_that_no_image_has_is_a_dash_and_no_column_of_its_groups():
    found = evaluation.SplitReport([{"identity": "a", "psnr": np.nan, "l1": 2.0}], {}, 0)
    task = Named((Score("psnr", True), Score("l1", False)), ("identity",))
    lines = report.tables(task, {"late": found}).splitlines()
    assert lines[2].split() == ["late", "1", "-", "2.00"]
    assert lines[4].split() == ["late,", "by", "identity", "images", "l1"]


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_long_table_shows_its_ends_the_worst_first(higher_is_better):
    rows = [{"camera": f"cam{i:03d}", "psnr": float(i) if i < 40 else np.nan} for i in range(42)]
    task = Named((Score("psnr", higher_is_better),), ("camera",))
    text = report.tables(task, {"late": evaluation.SplitReport(rows, {}, 0)})
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("cam")]
    order = range(40) if higher_is_better else range(39, -1, -1)
    assert shown == [f"cam{i:03d}" for i in (*order[:12], *order[-12:])], "a camera without the score is neither"
    assert "The 12 worst and the 12 best of 40 in psnr; all are in scores.json." in text


def test_where_less_is_better_the_least_is_best_and_the_gain_is_positive():
    task = Errors()
    found = evaluate(task)["late"]
    assert [float(example.sample["value"]) for example in found.best] == [0, 1, 2, 3]
    assert [float(example.sample["value"]) for example in found.worst] == [6, 4, 3, 2]
    assert found.best[0].label == "best, mse 6.4e+01 mm" and found.rows[0]["copy_mse"] == 256.0
    summary = report.summary(task, found)
    assert summary["meshes"] == 6, "what samples are called"
    gain = summary["scores"]["gain"]
    # Ours 64 (1 + value), the copy's 256; sample 6 has no copy, 5 cannot be read.
    assert gain["mean"] == np.mean([256 - 64 * (1 + v) for v in (0, 1, 2, 3, 4)]) == 64.0
    assert (gain["meshes"], gain["ignored"], gain["over"], gain["in"]) == (5, 1, "copy", "mse")
    assert gain["times"] == pytest.approx(256 / (64 * 3)), "of the means of those that have both"
    assert gain["interval"][0] < 64 < gain["interval"][1]


def test_the_table_of_errors_has_units_exponents_and_times():
    task = Errors()
    lines = report.tables(task, evaluate(task)).splitlines()
    assert lines[0].split() == "split meshes mse worst copy mse mean worst gain times".split()
    assert lines[1].split() == ["mm", "mm", "mm"] and set(lines[2]) == {"-", " "}
    late = lines[3].split()
    assert late[:3] == ["late", "6", "2.3e+02"] and late[3].startswith("±") and late[4:6] == ["8.00", "2.6e+02"]
    assert late[-4:] == ["+6.4e+01", late[-3], "1.3", "x"]
    assert "± half the 95% confidence interval of a mean." in lines, "every sample is an observation of its own"


def test_the_mean_of_group_means_is_reported_beside_the_mean():
    task = Errors()
    reports = evaluate(task)
    summary = report.summary(task, reports["late"])
    anna, bert = 64 * np.mean([1, 3, 5, 7]), 64 * np.mean([2, 4])
    assert summary["scores"]["mse"]["mean"] == pytest.approx((4 * anna + 2 * bert) / 6)
    found = summary["mean_of_means"]
    assert (found["by"], found["groups"]) == ("identity", 2) and found["scores"]["mse"] == pytest.approx((anna + bert) / 2)
    assert found["scores"]["worst"] == 8.0, "of the one group that has it"
    line = next(line for line in report.tables(task, reports).splitlines() if line.startswith("late, mean of identity means"))
    assert line.split()[5:7] == ["6", "2.2e+02"] and "±" not in line
    assert "mean_of_means" not in report.summary(Tiny(), evaluate(Tiny())["late"])


def test_json_says_what_scores_mean_and_the_tasks_own_files_are_listed(tmp_path):
    class Summing(Errors):
        def summarize(self, rows, assets, folder):
            (folder / "worst.tex").write_text(f"{max(row['mse'] for row in rows['late']):.0f}")
            return [folder / "worst.tex"]

        def write_artefacts(self, compile_model, assets, folder):
            return [folder / "sheet.jpg"]

        def write_examples(self, compile_model, best, worst, path):
            assert [example.label[:4] for example in (best[0], worst[0])] == ["best", "wors"]
            return "late" in path.name

    task = Summing()
    reports = evaluate(task, ("late", "far"))
    written = report.write(tmp_path, 3, task, ASSETS, reports)
    assert [path.name for path in written] == ["scores.json", "scores.csv", "scores.tex", "worst.tex"] and written[3].read_text() == "448"
    saved = json.loads(written[0].read_text())
    assert saved["scores"]["mse"] == {"unit": "mm", "higher_is_better": False} and saved["sample_name"] == "mesh"
    pictures = report.write_pictures(tmp_path, task, ASSETS, None, reports)
    assert [path.name for path in pictures] == ["best_and_worst_late.jpg", "sheet.jpg"], "the task could not draw those of far"


def test_predictions_are_written_on_request(tmp_path):
    reports = evaluate(Writing(), ("late", "far"), export_to=tmp_path / "predictions")
    assert len(reports["late"].rows) == 6
    names = sorted(path.relative_to(tmp_path / "predictions").as_posix() for path in (tmp_path / "predictions").rglob("*.json"))
    assert names == ["far/0.json", "far/1.json", *(f"late/{i}.json" for i in (0, 1, 2, 3, 4, 6))]
    assert json.loads((tmp_path / "predictions" / "late" / "6.json").read_text())["answer"] == 16.0
    with pytest.raises(ValueError, match="Tiny writes no predictions: it has no `export`"):
        evaluate(Tiny(), export_to=tmp_path)


def test_scores_other_than_declared_are_named():
    class Wrong(Tiny):
        def __init__(self, change):
            super().__init__()
            self.change = change

        def score(self, prediction, batch, assets):
            return self.change(super().score(prediction, batch, assets))

    cases = {
        "Wrong.score gave 'pnsr', which Wrong.scores does not declare. Did you mean psnr?": lambda s: {
            "pnsr": s["psnr"],
            "ssim": s["ssim"],
        },
        r"Wrong.score must give all that Wrong.scores declares; it lacks ssim \(NaN is allowed": lambda s: {"psnr": s["psnr"]},
        r"a value of 'psnr' per sample, \[4\]; got \[\]": lambda s: s | {"psnr": np.float32(1)},
    }
    for message, change in cases.items():
        with pytest.raises(ValueError, match=message):
            evaluate(Wrong(change))


def test_columns_of_one_name_are_refused():
    class Taken(Tiny):
        def describe(self, batch, assets):
            return [row | {"psnr": 3} for row in super().describe(batch, assets)]

    class Twice(Tiny):
        scores = (*Tiny.scores, Score("copy_psnr", True))

        def score(self, prediction, batch, assets):
            return super().score(prediction, batch, assets) | {"copy_psnr": batch["value"]}

        def baselines(self, assets):
            return {"copy": lambda batch: {"psnr": batch["value"]}}

    class Unknown(Tiny):
        def baselines(self, assets):
            return {"copy": lambda batch: {"pnsr": batch["value"]}}

    class Short(Tiny):
        def describe(self, batch, assets):
            return super().describe(batch, assets)[1:]

    with pytest.raises(ValueError, match=r"no two columns .* got \['psnr'\]"):
        evaluate(Taken())
    with pytest.raises(ValueError, match="the column 'copy_psnr', <baseline>_<score>, is there already"):
        evaluate(Twice())
    with pytest.raises(ValueError, match="the baseline 'copy' of Unknown gave 'pnsr'.* Did you mean psnr?"):
        evaluate(Unknown())
    with pytest.raises(ValueError, match="Short.describe must give a row per sample, 4; got 3"):
        evaluate(Short())


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no split 'near' to score; this run has late, far"):
        evaluate(Tiny(), ("near",))
    with pytest.raises(ValueError, match=r"held nothing out of training, so there is nothing to score\."):
        evaluate(Tiny(), ())
    with pytest.raises(ValueError, match="nothing to score; --all scores all the same"):
        evaluate(type("Ruled", (Tiny,), {"eval_options": ("all",)})(), ())
    with pytest.raises(ValueError, match="none of the 2 samples of the split 'far' can be read"):
        evaluate(Tiny(missing=(0, 1)), ("far",))
    with pytest.raises(ValueError, match="Scoreless declares no scores"):
        evaluate(type("Scoreless", (Tiny,), {"scores": ()})())
