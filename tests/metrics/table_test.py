"""Grouping of rows, and the text of tables."""

import json
import math

import numpy as np
import pytest

from ava_jax.metrics import table

ROWS = [
    {"identity": "b", "camera": "2", "psnr": 10.0, "face_psnr": math.nan},
    {"identity": "a", "camera": "1", "psnr": 20.0, "face_psnr": 1.0},
    {"identity": "a", "camera": "2", "psnr": 40.0, "face_psnr": math.nan},
]


def test_means_pass_over_nan_and_count_it():
    found = table.mean([1.0, math.nan, 4.0])
    assert (found.value, found.samples, found.clusters, found.ignored) == (2.5, 2, 2, 1)
    empty = table.mean([math.nan])
    assert math.isnan(empty.value) and math.isnan(empty.half_width) and (empty.samples, empty.clusters, empty.ignored) == (0, 0, 1)


def test_an_interval_of_independent_values_is_students():
    values = [2.0, 4.0, 9.0]
    half = 4.3026527 * np.std(values, ddof=1) / np.sqrt(3)  # t(2), 97.5%, from a printed table
    assert table.mean(values).half_width == pytest.approx(half, rel=1e-6)


def test_copies_of_an_observation_narrow_nothing():
    values, labels = [2.0, 4.0, 9.0], ["a", "b", "c"]
    assert table.mean(values * 5, labels * 5).half_width == pytest.approx(table.mean(values).half_width)
    assert math.isnan(table.mean(values, ["a"] * 3).half_width), "one cluster says nothing of how they vary"


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Frames with an effect of their own, seen by 12 cameras: 95% of the intervals hold the truth, taken image by image far fewer."""
    rng = np.random.default_rng(0)
    for frames in (5, 20):
        clusters = np.repeat(np.arange(frames), 12)
        held = np.zeros(2)
        for _ in range(1000):
            values = rng.normal(size=frames)[clusters] + 0.5 * rng.normal(size=len(clusters))
            found = [table.mean(values, clusters.tolist()), table.mean(values)]
            held += [abs(mean.value) <= mean.half_width for mean in found]
        assert 930 <= held[0] <= 970, f"{frames} frames"
        assert held[1] < 600, f"{frames} frames, taken as independent images"


def test_group_is_a_mean_over_images_sorted_by_name():
    grouped = table.group(ROWS, "identity", ["psnr", "face_psnr"])
    assert list(grouped) == ["a", "b"]
    assert (grouped["a"]["psnr"].value, grouped["a"]["psnr"].samples) == (30.0, 2)
    assert (grouped["a"]["face_psnr"].value, grouped["a"]["face_psnr"].samples, grouped["a"]["face_psnr"].ignored) == (1.0, 1, 1)
    assert table.group(ROWS, "camera", ["psnr"], cluster_by=["identity"])["2"]["psnr"].clusters == 2


def test_group_names_what_a_row_lacks():
    with pytest.raises(ValueError, match=r"one lacks \['ssim'\]"):
        table.group(ROWS, "identity", ["psnr", "ssim"])


def test_json_has_no_nan():
    text = json.dumps(table.mean([math.nan]).to_json("images"), allow_nan=False)
    assert json.loads(text) == {"mean": None, "sd": None, "median": None, "interval": None, "images": 0, "clusters": 0, "ignored": 1}


def test_an_infinite_score_is_null_in_json():
    found = table.mean([math.inf, 1.0]).to_json()
    assert found["mean"] is None and found["sd"] is None


def test_spread_and_median_are_of_the_samples_that_have_the_score():
    found = table.mean([1.0, math.nan, 2.0, 6.0])
    assert found.median == 2.0 and found.deviation == pytest.approx(math.sqrt(7.0))
    assert table.mean([3.0]).to_json()["sd"] is None and table.mean([3.0]).median == 3.0


def test_in_the_mean_of_means_small_groups_count_as_much_as_large_ones():
    found = table.mean_of_means([table.mean([1.0, 1.0, 1.0, 1.0]), table.mean([4.0]), table.mean([math.nan])])
    assert (found.value, found.samples, found.ignored) == (2.5, 5, 1) and math.isnan(found.half_width)
    assert math.isnan(table.mean_of_means([table.mean([math.nan])]).value)


@pytest.mark.parametrize(("word", "many"), [("image", "images"), ("mesh", "meshes"), ("body", "bodies"), ("key", "keys"), ("box", "boxes")])
def test_plurals(word, many):
    assert table.plural(word) == many


def test_columns_are_aligned():
    text = table.format_table(["who", "dB"], [["alice", "1.5"], ["bo", "12.25"]])
    assert text.splitlines() == ["who       dB", "-----  -----", "alice    1.5", "bo     12.25"]


def test_units_stand_below_names_where_there_are_any():
    text = table.format_table(["who", "psnr"], [["alice", "12.25"]], ["", "dB"])
    assert text.splitlines() == ["who     psnr", "          dB", "-----  -----", "alice  12.25"]
    assert table.format_table(["who", "psnr"], [], ["", ""]).count("\n") == 1


def test_a_ragged_line_is_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        table.format_table(["who", "dB"], [["alice"]])


def test_labels_must_match_values():
    with pytest.raises(ValueError, match="a cluster for each of 3 values; got 2"):
        table.mean([1.0, 2.0, 3.0], ["a", "b"])
