"""AVIF by Pillow's own decoder object and, where there is none, through Pillow: the same pixels, the same errors."""

import io

import numpy as np
import pytest
from PIL import Image

from ava_jax.data import images

SHAPES = [(41, 63), (64, 64), (1, 1), (2, 301)]


class NoFrames:
    """What a Pillow might have for a decoder that this package does not know."""


def opened_without(monkeypatch, how: str) -> None:
    """Makes pictures be opened as by a Pillow without the decoder that `images` looks for."""
    opened = images._open

    def bare(data):
        image = opened(data)
        if how == "no decoder":
            decoder = image._decoder
            monkeypatch.setattr(type(image), "load", lambda self: _load(self, decoder), raising=False)
            del image._decoder
        elif how == "no frames":
            decoder = image._decoder
            monkeypatch.setattr(type(image), "load", lambda self: _load(self, decoder), raising=False)
            image._decoder = NoFrames()
        return image

    monkeypatch.setattr(images, "_open", bare)


_LOAD = None


def _load(image, decoder):
    """Pillow's own `load`, which finds its decoder wherever it keeps it."""
    image._decoder = decoder
    return _LOAD(image)


@pytest.fixture(autouse=True)
def pillows_load():
    global _LOAD
    kind = type(Image.open(io.BytesIO(images.encode(np.zeros((2, 2, 3), np.uint8), "avif"))))
    _LOAD = kind.load


@pytest.mark.parametrize("how", ["no decoder", "no frames"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{"quality": 60}, {"subsampling": "4:4:4"}], ids=["420", "444"])
def test_a_pillow_without_the_decoder_gives_the_same_pixels(monkeypatch, shape, options, how):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    data = images.encode(picture, "avif", **options)
    half = (max(shape[0] // 2, 1), max(shape[1] // 2, 1))
    taken = []
    pixels = images._avif_pixels
    monkeypatch.setattr(images, "_avif_pixels", lambda *args: taken.append(pixels(*args)) or taken[-1])
    quick, quick_half = images.decode(data), images.decode(data, half)
    assert taken[0] is not None, "this Pillow has the decoder: the test compares two ways"
    opened_without(monkeypatch, how)
    taken.clear()
    slow, slow_half = images.decode(data), images.decode(data, half)
    assert taken == [None, None]
    np.testing.assert_array_equal(quick, slow)
    np.testing.assert_array_equal(quick_half, slow_half)
    assert quick.dtype == slow.dtype == np.uint8 and slow.shape == (*shape, 3)


@pytest.mark.parametrize("how", ["as it is", "no decoder", "no frames"])
def test_damage_is_one_line_either_way(monkeypatch, how):
    opened_without(monkeypatch, how)
    data = images.encode(np.random.default_rng(0).integers(0, 256, (41, 63, 3), np.uint8), "avif")
    with pytest.raises(ValueError, match="cannot be decoded as a picture") as raised:
        images.decode(data[: len(data) // 2])
    assert "\n" not in str(raised.value)
