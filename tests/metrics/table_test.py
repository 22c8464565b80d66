"""Grouping of rows, and the text of tables."""

import json
import math

import pytest

from ava_jax.metrics import table

ROWS = [
    {"identity": "b", "camera": "2", "psnr": 10.0, "face_psnr": math.nan},
    {"identity": "a", "camera": "1", "psnr": 20.0, "face_psnr": 1.0},
    {"identity": "a", "camera": "2", "psnr": 40.0, "face_psnr": math.nan},
]


def test_means_pass_over_nan_and_count_it():
    assert table.mean([1.0, math.nan, 4.0]) == table.Mean(2.5, images=2, ignored=1)
    empty = table.mean([math.nan])
    assert math.isnan(empty.value) and (empty.images, empty.ignored) == (0, 1)


def test_group_is_a_mean_over_images_sorted_by_name():
    grouped = table.group(ROWS, "identity", ["psnr", "face_psnr"])
    assert list(grouped) == ["a", "b"]
    assert grouped["a"] == {"psnr": table.Mean(30.0, 2, 0), "face_psnr": table.Mean(1.0, 1, 1)}
    assert table.group(ROWS, "camera", ["psnr"])["2"]["psnr"] == table.Mean(25.0, 2, 0)


def test_group_names_what_a_row_lacks():
    with pytest.raises(ValueError, match=r"one lacks \['ssim'\]"):
        table.group(ROWS, "identity", ["psnr", "ssim"])


def test_json_has_no_nan():
    text = json.dumps(table.mean([math.nan]).to_json(), allow_nan=False)
    assert json.loads(text) == {"mean": None, "images": 0, "ignored": 1}


def test_columns_are_aligned():
    text = table.format_table(["who", "dB"], [["alice", "1.5"], ["bo", "12.25"]])
    assert text.splitlines() == ["who       dB", "-----  -----", "alice    1.5", "bo     12.25"]


def test_a_ragged_line_is_refused():
    with pytest.raises(ValueError, match="needs 2 cells"):
        table.format_table(["who", "dB"], [["alice"]])
