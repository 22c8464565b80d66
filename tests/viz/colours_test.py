"""Colour maps of errors."""

import numpy as np

from ava_jax.viz import colours


def test_the_error_map_runs_from_black_to_pale_and_gets_lighter_all_along():
    truth = np.zeros((1, 1, 70, 3), np.uint8)
    image = np.broadcast_to(np.arange(70, dtype=np.float32)[:, None], truth.shape)
    found = np.asarray(colours.error_colours(image, truth))[0, 0]
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_array_equal(found[64:], [[252, 255, 164]] * 6)
    assert (np.diff(found[:65] @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_renders_are_clipped_before_their_error_is_shown():
    assert not np.asarray(colours.error_colours(np.full((1, 2, 2, 3), 300.0), np.full((1, 2, 2, 3), 255, np.uint8))).any()


def test_a_map_ends_where_it_is_told_to():
    shown = np.asarray(colours.heat(np.array([-1.0, 0.0, 2.0, 3.0]), full_scale=2.0))
    np.testing.assert_array_equal(shown, [[0, 0, 0], [0, 0, 0], [252, 255, 164], [252, 255, 164]])


def test_pictures_are_rounded_and_clipped_to_bytes():
    np.testing.assert_array_equal(colours.to_u8(np.array([-3.0, 1.4, 1.6, 300.0])), [0, 1, 2, 255])
