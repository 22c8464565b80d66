"""Runs compared by what `ava eval` wrote of them, from the command on: tables, files, pictures, and what is refused."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from comparable_task import Comparable, Other
from PIL import Image
from toy_task import toy_config

from ava_jax.bin._context import Context
from ava_jax.run import evaluation, report
from ava_jax.run.compare import comparison, runs, work
from ava_jax.train import state as states


def make_run(folder: pathlib.Path, shift: float, task=Comparable, **data) -> pathlib.Path:
    """A run of a model that is off by `shift`, evaluated."""
    config = toy_config()
    config.task = f"comparable_task:{task.__name__}"
    config.data.update({"held_out": True, **data})
    made = task(config)
    assets = made.prepare()
    parts = states.split(made.model(assets, rngs=states.model_rngs(1)))
    model = states.merge(parts._replace(params=jax.tree.map(lambda x: x + shift, parts.params)))
    Context().write_run(config, assets, model, folder)
    reports = evaluation.evaluate(made, assets, Context().compile(model), ["unseen"], threads=0)
    (folder / "eval" / "0").mkdir(parents=True)
    report.write(folder / "eval" / "0", 0, made, assets, reports, names=("here",))
    return folder


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[pathlib.Path, pathlib.Path]:
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "first", 0.0), make_run(folder / "second", 0.4)


@pytest.fixture
def pair(scored, tmp_path) -> tuple[pathlib.Path, pathlib.Path]:
    """Copies that a test may change."""
    return tuple(pathlib.Path(shutil.copytree(run, tmp_path / run.name)) for run in scored)


def rows_of(run: pathlib.Path) -> list[dict[str, str]]:
    with open(run / "eval" / "0" / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(run: pathlib.Path, rows: list[dict[str, str]]) -> None:
    with open(run / "eval" / "0" / "scores.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def compared(pair) -> comparison.Comparison:
    return comparison.compare(*(runs.read(label, str(run)) for label, run in zip("AB", pair, strict=True)))


def command(*given, pictures=3) -> None:
    work.carry_out(Context(), [str(one) for one in given], shown=pictures)


def test_tables_are_written(pair, capsys):
    command(*pair, pictures=0)
    out = pair[1] / "compare"
    a, b = ({row["index"]: float(row["distance"]) for row in rows_of(run)} for run in pair)
    apart = np.array([b[index] - a[index] for index in a])
    with open(out / "compare.csv", newline="") as file:
        lines = {(row["by"], row["group"], row["score"]): row for row in csv.DictReader(file)}
    whole = lines["all", "all", "distance"]
    assert float(whole["difference"]) == pytest.approx(apart.mean()) and int(whole["samples"]) == len(apart) == 21
    sums = [sum(b[i] - a[i] - apart.mean() for i in a if int(i) % 3 == who) for who in range(3)]
    half = 4.30265 * np.sqrt(3 / 2 * np.square(sums).sum()) / 21  # t(2), 97.5%, from a printed table
    assert float(whole["high"]) - float(whole["difference"]) == pytest.approx(half, rel=1e-5)
    assert (int(whole["wins_a"]), int(whole["wins_b"])) == ((apart > 0).sum(), (apart < 0).sum()), "less is better"
    assert lines["who", "person 1", "distance"]["better"] == "", "one cluster has no interval"
    assert lines["all", "all", "undefined"]["samples"] == "0" and lines["all", "all", "undefined"]["mean_a"] == ""
    found = json.loads((out / "compare.json").read_text())["comparisons"][0]
    assert found["splits"]["unseen"]["scores"]["distance"]["difference"]["clusters"] == 3 and found["not_the_same"] == []
    with open(out / "differences.csv", newline="") as file:
        assert {row["index"]: float(row["distance_difference"]) for row in csv.DictReader(file)} == pytest.approx(
            {index: b[index] - a[index] for index in a}
        )
    assert "unseen & distance & " in (out / "compare.tex").read_text()
    assert "unseen: 21 images in both" in capsys.readouterr().out


def test_pictures_show_the_samples_that_differ_most(pair):
    command(*pair, pictures=1)
    (path,) = (pair[1] / "compare").glob("*.jpg")
    a, b = ({row["index"]: float(row["distance"]) for row in rows_of(run)} for run in pair)
    gains = {index: a[index] - b[index] for index in a}  # of the second run
    worst = min(gains, key=gains.get)
    picture = np.asarray(Image.open(path).convert("L")).astype(float)
    # The last strip is of the sample on which the first run is better: its panels are flat, from 40 pixels below the title on.
    middle = picture[picture.shape[0] - 16 - 128]
    levels = [middle[16 + i * (192 + 4) + 96] for i in range(5)]
    expected = [int(worst), 100, 100, a[worst], b[worst]]
    np.testing.assert_allclose(levels, np.clip(np.floor(expected), 0, 255), atol=3)


def test_who_is_better_follows_the_direction_of_the_score(pair):
    rows = rows_of(pair[0])
    write_rows(pair[1], [{**row, "distance": float(row["distance"]) + 1.0 + 0.1 * (i % 2)} for i, row in enumerate(rows)])
    found = compared(pair)
    assert found.lines[0].found.better == "first" and found.lines[0].found.losses == 21
    assert compared(pair[::-1]).lines[0].found.better == "second"
    write_rows(pair[1], rows)
    same = compared(pair).lines[0].found
    assert same.better == "neither" and (same.difference.value, same.wins, same.losses) == (0.0, 0, 0)


def test_samples_that_only_one_has_are_counted_and_left_out(pair, capsys):
    rows = rows_of(pair[1])
    write_rows(pair[1], [*rows[5:], {**rows[0], "index": "99"}])
    command(*pair, pictures=0)
    found = json.loads((pair[1] / "compare" / "compare.json").read_text())["comparisons"][0]["splits"]["unseen"]
    assert (found["shared"], found["only_a"], found["only_b"]) == (16, 5, 1)
    assert "16 images in both; left out: 5 that A alone has, 1 that B alone has" in capsys.readouterr().out


def test_people_whom_one_run_has_not_seen_are_the_same_people(pair):
    write_rows(pair[1], [{**row, "who": f"{row['who']} (not seen in training)"} for row in rows_of(pair[1])])
    found = compared(pair)
    assert len(found.splits["unseen"].pairs) == 21
    assert "images (not seen in training): A 0, B 21" in found.notes


def test_differences_of_protocol_are_told(pair, tmp_path):
    other = make_run(tmp_path / "third", 0.2, samples=30)
    path = other / "eval" / "0" / "scores.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": ["here", "there"], "protocol": {"lpips": "alex"}}))
    notes = compared((pair[0], other)).notes
    assert "captures or sequences: B alone has there" in notes
    assert "data.samples: A 24, B 30" in notes and "protocol.lpips: A not given, B alex" in notes


def test_baselines_that_differ_tell_of_other_data(pair):
    for run, off in zip(pair, (0.0, 0.5), strict=True):
        write_rows(run, [{**row, "mean_distance": 3.0 + off * (i < 2)} for i, row in enumerate(rows_of(run))])
        path = run / "eval" / "0" / "scores.json"
        summary = json.loads(path.read_text())
        summary["splits"]["unseen"]["scores"]["mean_distance"] = {"mean": 3.0}
        path.write_text(json.dumps(summary))
    (note,) = (note for note in compared(pair).notes if "baseline" in note or "mean_distance" in note)
    assert "mean_distance, which no model is part of, differs on 2 of 21 shared images" in note


def test_steps_and_folders_name_scores(pair, tmp_path):
    shutil.copytree(pair[0] / "eval" / "0", pair[0] / "eval" / "40")
    shutil.move(pair[1] / "eval" / "0", tmp_path / "elsewhere")
    assert runs.read("A", str(pair[0])).scored.folder.name == "40", "the last"
    assert runs.read("A", f"{pair[0]}:0").scored.folder.name == "0"
    assert runs.read("A", str(pair[0] / "eval" / "0")).workdir == pair[0]
    assert runs.read("B", f"{pair[1]}={tmp_path / 'elsewhere'}").scored.folder == tmp_path / "elsewhere"


def test_what_cannot_be_compared_is_told_in_a_line(pair, tmp_path):
    first, second = pair
    with pytest.raises(ValueError, match="name two runs or more, as in ava compare RUN_A RUN_B"):
        command(first)
    with pytest.raises(ValueError, match="compared with themselves"):
        command(first, f"{first}:0")
    with pytest.raises(FileNotFoundError, match="step 7 is not scored, only 0; score it first: ava eval --workdir=.* --step=7"):
        runs.read("A", f"{first}:7")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        runs.read("A", str(tmp_path / "nowhere"))
    rows = rows_of(second)
    write_rows(second, [{**row, "index": str(100 + i)} for i, row in enumerate(rows)])
    with pytest.raises(ValueError, match="share no sample: of the split unseen both have scores, but of no image in common"):
        compared(pair)
    write_rows(second, [{**row, "split": "far"} for row in rows])
    with pytest.raises(ValueError, match="share no sample: splits are unseen and far"):
        compared(pair)
    write_rows(second, [*rows, {**rows[0], "distance": "77.0"}])
    with pytest.raises(ValueError, match="two rows are of the same sample"):
        compared(pair)
    other = make_run(tmp_path / "other", 0.0, task=Other)
    with pytest.raises(ValueError, match="different tasks, Comparable and Other"):
        compared((first, other))
    with pytest.raises(FileNotFoundError, match="has no scores.json and no scores.csv; ava eval --out="):
        runs.read("B", f"{second}={tmp_path}")
    shutil.rmtree(second / "eval")
    with pytest.raises(FileNotFoundError, match="holds no scores; write them first: ava eval --workdir="):
        runs.read("B", str(second))
    (first / "eval" / "0" / "scores.json").write_text("{}")
    with pytest.raises(ValueError, match="is no summary of `ava eval`"):
        runs.read("A", str(first))
    assert not (second / "compare").exists(), "nothing is half written"


def test_flags_that_selected_samples_select_them_again():
    assert work.selection("") == {}
    told = "--segments=EXP_a,EXP_b --every=10 --held_out_by=a file.json --all=True"
    values = {"segments": ("EXP_a", "EXP_b"), "every": 10, "held_out_by": "a file.json", "all": True}
    assert work.selection(told) == {f"eval.{name}": value for name, value in values.items()}


def test_data_that_were_not_scored_give_no_pictures(pair):
    rows = rows_of(pair[0])
    write_rows(pair[0], [{**row, "index": str(int(row["index"]) + 1)} for row in rows])
    rows = rows_of(pair[1])
    write_rows(pair[1], [{**row, "index": str(int(row["index"]) + 1)} for row in rows])
    with pytest.raises(ValueError, match="not at its place in the split unseen"):
        command(*pair, pictures=1)
    assert (pair[1] / "compare" / "compare.csv").is_file(), "tables come first"


def test_the_command(pair):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-m", "ava_jax.bin.ava", "compare", *map(str, pair), "--pictures=1", f"--out={pair[0] / 'out'}"]
    done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    names = ["compare.json", "compare.csv", "differences.csv", "compare.tex", "compare_A_B_unseen.jpg"]
    assert [line for line in done.stdout.splitlines() if line.startswith("wrote")] == [f"wrote {pair[0] / 'out' / name}" for name in names]
