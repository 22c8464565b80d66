"""Resizing by the compiled part: Pillow's bits."""

import importlib.util
import io

import numpy as np
import pytest
from PIL import Image

from ava_jax.data import images, resizing

FIXED = [  # height, width before and after
    (1024, 667, 512, 333), (1024, 667, 2048, 1334), (2048, 1334, 512, 333), (1024, 1024, 256, 256), (1, 1, 3, 3), (2, 3, 1, 1),
    (300, 3, 7, 5), (3, 300, 5, 7), (1024, 667, 1023, 666), (5, 6, 300, 400), (4096, 41, 2, 2), (41, 4096, 2, 2),
]  # fmt: skip


def test_it_is_found_wherever_the_compiled_module_is():
    """Also in an editable installation, whose compiled parts lie apart from its sources."""
    if importlib.util.find_spec("ava_jax._ffi") is None:
        pytest.skip("nothing is compiled here")
    assert resizing.is_built()


@pytest.fixture
def compiled():
    if not resizing.available():
        pytest.skip("ava_jax/_resize.so is not built (pip install .), or the processor has no AVX2")


def same(picture, size):
    ours = resizing.bicubic(picture, size)
    assert ours is not None
    np.testing.assert_array_equal(ours, np.asarray(Image.fromarray(picture).resize(size[::-1])))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("sizes", FIXED)
def test_common_and_extreme_sizes(sizes):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*sizes[:2], 3), np.uint8)
    same(noise, sizes[2:])
    same(np.where(noise > 127, 255, 0).astype(np.uint8), sizes[2:])  # the filter shoots beyond 0 and 255


@pytest.mark.usefixtures("compiled")
def test_any_size():
    rng = np.random.default_rng(1)
    for _ in range(200):
        height, width, new_height, new_width = rng.integers(1, 130, 4).tolist()
        if height == new_height or width == new_width or height > 100 * width:
            continue
        same(rng.integers(0, 256, (height, width, 3), np.uint8), (new_height, new_width))


@pytest.mark.usefixtures("compiled")
def test_what_pillow_does_otherwise_is_left_to_it():
    picture = np.random.default_rng(2).integers(0, 256, (402, 4, 3), np.uint8)
    for size in ((402, 3), (200, 4), (200, 3)):  # one pass, and the passes in the other order
        assert resizing.bicubic(picture, size) is None
        np.testing.assert_array_equal(images.resize(picture, size), np.asarray(Image.fromarray(picture).resize(size[::-1])))


@pytest.mark.usefixtures("compiled")
def test_views_of_arrays_are_taken_as_what_they_show():
    picture = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)[::2, ::-1]
    np.testing.assert_array_equal(resizing.bicubic(picture, (11, 17)), np.asarray(Image.fromarray(picture).resize((17, 11))))


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("suffix, options", [("avif", {"quality": 60}), ("avif", {"subsampling": "4:4:4"}), ("png", {})])
def test_pictures_are_decoded_as_pillow_decodes_them(suffix, options):
    picture = np.random.default_rng(4).integers(0, 256, (41, 63, 3), np.uint8)
    data = images.encode(picture, suffix, **options)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(images.decode(data), np.asarray(whole))
    np.testing.assert_array_equal(images.decode(data, (20, 31), whole=(41, 63)), np.asarray(whole.resize((31, 20))))
