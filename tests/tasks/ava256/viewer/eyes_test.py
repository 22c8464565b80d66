"""Pictures in parts: tiles cover each level, and a part is what the whole picture shows there."""

import numpy as np
import pytest

from ava_jax.core import zbuffer
from ava_jax.tasks.ava256.viewer import eyes


@pytest.mark.parametrize("height, width, parts", [(1024, 667, 8), (667, 1024, 8), (101, 37, 4), (64, 64, 1)])
def test_tiles_cover_every_level(height, width, parts):
    layout = eyes.layout(height, width, parts)
    assert len(layout.levels) == parts.bit_length()
    assert (layout.levels[-1].height, layout.levels[-1].width) == (height, width)
    for level in layout.levels:
        covered = np.zeros((level.height, level.width), int)
        for row, column in level.tiles:
            covered[row : row + layout.tile[0], column : column + layout.tile[1]] += 1
        assert (covered == 1).all()
    for coarse, fine in zip(layout.levels, layout.levels[1:]):
        assert abs(fine.height - 2 * coarse.height) <= 1 and abs(fine.width - 2 * coarse.width) <= 1
    assert len(layout.levels[0].tiles) <= 2, "the first answer is quick"


def test_windows_of_all_shapes_share_the_tiles_of_a_progressive_picture():
    tiles = {eyes.layout(*eyes.picture_size(aspect, 1024), 8).tile for aspect in (0.4, 0.65, 1.0, 1.3, 1.8, 3.0)}
    assert tiles == {(128, 128)}, "there is one program for all"
    first = [len(eyes.layout(*eyes.picture_size(aspect, 1024), 8).levels[0].tiles) for aspect in (0.65, 1.0, 1.3)]
    assert first == [1, 1, 1], "the first answer is one tile"


def test_the_captures_shape_has_its_pictures_size():
    assert eyes.picture_size(667 / 1024, 1024) == (1024, 667)
    assert eyes.picture_size(1024 / 667, 1024) == (667, 1024)


def test_a_part_shows_what_the_whole_picture_shows_there():
    turn = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
    eye = eyes.Eye(turn, np.array([1000.0, 10.0, 20.0]), 0.4, 1.3)
    points = np.random.default_rng(0).uniform(-100, 100, (20, 3))
    whole = zbuffer.project(points, eye.cameras(400, 300))[0]
    part = zbuffer.project(points, eye.cameras(400, 300, 70, 130))[0]
    np.testing.assert_allclose(part[:, :2], whole[:, :2] - [130, 70], atol=1e-3)


def test_a_picture_fills_the_window():
    eye = eyes.Eye(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 1000.0]), 0.5, 1.7)
    edge = 1000 * np.tan(0.25)
    corners = np.array([[1.7 * edge, edge, 0.0], [-1.7 * edge, -edge, 0.0]])
    pixels = zbuffer.project(corners, eye.cameras(200, 120))[0, :, :2]
    np.testing.assert_allclose(pixels, [[119.5, -0.5], [-0.5, 199.5]], atol=1e-3)
