"""Pictures on sheets: where they lie, what their titles do, how large the file is."""

import numpy as np
import pytest
from PIL import Image

from ava_jax.viz import sheet


def test_a_long_title_stays_in_its_cell():
    picture = np.zeros((64, 40, 3), np.uint8)
    short, long = (
        np.asarray(sheet.compose([sheet.Strip(title, (("truth", picture),)), sheet.Strip("", (("", picture),))], columns=2))
        for title in ("EXP", "EXP_" + "very_long_" * 20)
    )
    middle = short.shape[1] // 2
    assert (long[:34, middle + 16 :] == short[:34, middle + 16 :]).all() and (long != short).any()


def test_compose_places_pictures_on_a_grid():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    picture = [np.full((64, 40, 3), colour, np.uint8) for colour in colours]
    strip = sheet.Strip("who", (("truth", picture[0]), ("render", picture[1]), ("error", picture[2])))
    drawn = np.asarray(sheet.compose([strip] * 3, columns=2, height=128))
    found = {colour: np.argwhere((drawn == colour).all(-1)) for colour in colours}
    assert all(len(at) == 3 * 128 * 80 for at in found.values()), "three strips, each picture twice as large"
    left = [found[colour][:, 1].min() for colour in colours]
    assert left == sorted(left)
    assert len(np.unique(found[colours[0]][:, 1])) == 2 * 80 and len(np.unique(found[colours[0]][:, 0])) == 2 * 128


def test_a_sheet_fits_the_limit_at_the_best_quality(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 700, 3), np.uint8))
    sheet.save(noise, tmp_path / "noise.jpg")
    assert 50_000 < (tmp_path / "noise.jpg").stat().st_size <= sheet.SHEET_BYTES
    with pytest.raises(ValueError, match="does not fit into 500000 bytes"):
        sheet.save(noise.resize((4000, 3000), Image.Resampling.NEAREST), tmp_path / "large.jpg")
    assert not (tmp_path / "large.jpg").exists()


def test_an_empty_sheet_is_refused():
    with pytest.raises(ValueError, match="compose: a sheet needs at least one strip"):
        sheet.compose([], columns=2)
