"""Pictures as cameras, editors and scanners save them: taken as viewers show them, or refused by name; never stretched."""

import io

import numpy as np
import pytest
from PIL import Image

from ava_jax.data import images

SENSOR = (4096, 2668)


def encode(picture, form="PNG", **options) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8(form):
    grey = np.linspace(0, 65535, 64 * 41).reshape(64, 41).astype(np.uint16)
    decoded = images.decode(encode(grey, form), (64, 41), whole=SENSOR)
    assert decoded.dtype == np.uint8 and np.abs(decoded - grey[..., None] / 257).max() <= 0.5
    assert decoded[0, 0].tolist() == [0, 0, 0] and decoded[-1, -1].tolist() == [255, 255, 255]


def test_16_bits_of_each_colour_are_scaled_to_8():
    """Pillow writes no such PNG: the chunks by hand."""
    import struct
    import zlib

    values = np.random.default_rng(1).integers(0, 65536, (5, 4, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 4, 5, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(images.decode(data).astype(float) - values / 257.0).max() < 1.01


@pytest.mark.parametrize(
    "form, options", [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("JPEG", {"quality": 100}), ("AVIF", {})]
)
@pytest.mark.parametrize("orientation, turns", [(6, -1), (3, 2), (8, 1)])
def test_pictures_are_turned_as_their_exif_orientation_says(form, options, orientation, turns):
    stored = np.kron(colours(4, 6), np.ones((16, 16, 1), np.uint8))
    decoded = images.decode(encode(stored, form, exif=turned(orientation), **options)).astype(int)
    upright = np.rot90(stored, turns).astype(int)
    assert decoded.shape == upright.shape and np.abs(decoded - upright).mean() < 12


def test_a_mirrored_orientation_and_labels_are_turned_too():
    stored = colours(4, 6)
    np.testing.assert_array_equal(images.decode(encode(stored, exif=turned(2))), stored[:, ::-1])
    np.testing.assert_array_equal(images.decode_labels(encode(stored[..., 0], exif=turned(6))), np.rot90(stored[..., 0], -1))


@pytest.mark.parametrize("shape", [(1024, 667), (2048, 1334), (4096, 2668), (512, 333), (64, 41), (64, 42), (32, 20), (341, 222)])
def test_every_scale_of_the_sensor_fits(shape):
    data = encode(np.zeros((*shape, 3), np.uint8))
    assert images.decode(data, (64, 41), whole=SENSOR).shape == (64, 41, 3)
    assert images.decode_labels(encode(np.zeros(shape, np.uint8)), (64, 41), whole=SENSOR).shape == (64, 41)


@pytest.mark.parametrize(
    "shape, word", [((667, 1024), "turn it by 90 degrees"), ((1024, 640), "cropped"), ((1000, 667), "cropped"), ((667, 667), "cropped")]
)
def test_what_would_have_to_be_stretched_is_refused(shape, word):
    for decode, picture in ((images.decode, np.zeros((*shape, 3), np.uint8)), (images.decode_labels, np.zeros(shape, np.uint8))):
        with pytest.raises(ValueError, match=rf"{shape[1]} x {shape[0]} pixels .* does not fit 2668 x 4096.*{word}"):
            decode(encode(picture), (512, 333), whole=SENSOR)


def test_a_texture_must_be_square():
    with pytest.raises(ValueError, match="1024 x 512 pixels"):
        images.decode(encode(np.zeros((512, 1024, 3), np.uint8)), (256, 256))


def test_palettes_grey_and_opaque_alpha_are_colours():
    palette = Image.fromarray(colours(8, 8)).convert("P")
    np.testing.assert_array_equal(images.decode(encode(palette)), np.asarray(palette.convert("RGB")))
    opaque = np.dstack([colours(8, 8), np.full((8, 8), 255, np.uint8)])
    np.testing.assert_array_equal(images.decode(encode(opaque)), opaque[..., :3])
    black_and_white = Image.fromarray(colours(8, 8)).convert("1")
    assert set(np.unique(images.decode(encode(black_and_white)))) <= {0, 255}


_REFUSED = {
    "a transparent pixel": (lambda: encode(np.dstack([colours(8, 8), np.full((8, 8), 254, np.uint8)])), "transparent pixels"),
    "a transparent grey": (lambda: encode(Image.fromarray(colours(8, 8)).convert("LA").point(lambda v: v // 2)), "transparent pixels"),
    "a transparent colour": (lambda: encode(np.zeros((8, 8, 3), np.uint8), transparency=(0, 0, 0)), "transparent pixels"),
    "CMYK": (lambda: encode(Image.fromarray(colours(8, 8)).convert("CMYK"), "JPEG"), "mode CMYK; convert it to RGB"),
    "floating point": (lambda: encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"), "mode F; convert it to RGB"),
    "an animation": (lambda: encode(colours(8, 8), save_all=True, append_images=[Image.fromarray(colours(8, 8) // 2)]), "2 frames"),
    "another format": (lambda: encode(colours(8, 8), "GIF"), "none of AVIF, PNG, JPEG"),
    "too many pixels": (lambda: encode(Image.new("1", (9000, 9000))), "9000 x 9000 pixels are more than"),
}  # fmt: skip


@pytest.mark.parametrize("kind", _REFUSED)
def test_what_has_no_one_meaning_is_refused_in_one_line(kind):
    make, message = _REFUSED[kind]
    with pytest.raises(ValueError, match=message) as error:
        images.decode(make())
    assert "\n" not in str(error.value)
