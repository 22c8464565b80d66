"""Decoding and encoding of pictures, AVIF included, safe and quick from several threads.

A picture is taken as viewers show it, or refused: turned as its EXIF orientation says, 16 bits scaled to 8, grey and palettes as colours.
What has no one meaning here is refused by name: transparency, CMYK, several frames, floating point. A picture is never stretched.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError, features

from ava_jax.data import resizing

if features.check("avif"):
    from PIL import AvifImagePlugin

    # Loader threads decode a picture each; a decoder that starts threads of its own as well only gets in their way.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
else:  # Only then: the plugin replaces Pillow's decoder when imported, and holds the GIL while it decodes.
    import pillow_avif  # noqa: F401  pylint: disable=unused-import

# Pillow gives a picture's memory back to the system by default, and gets it zeroed page by page for the next one: 3.6 of 8.0 ms at
# 1024 x 667, 5.3 of 16.8 at 1024 x 1024. Kept, it is 4 MB per block.
Image.core.set_blocks_max(32)

# `decode` refuses what Pillow would warn of, in a line of its own.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MOST_PIXELS = 1 << 26  # 8192 x 8192; a sensor has 4096 x 2668. Larger ones would take over 1 GB on their way.
# By what is in the file, not by its name. Pillow knows more, of which some start other programs.
_FORMATS = ("AVIF", "PNG", "JPEG", "WEBP", "TIFF", "BMP")
_MOST_ROUNDED = 1.5  # pixels by which a picture's width may miss its aspect: both sides were rounded, perhaps twice
_TO_8_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_ROWS_AT_ONCE = 256
_ONE_PIECE = 1 << 22  # bytes


def decode(data: bytes, size: tuple[int, int] | None = None, *, whole: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a colour picture.

    Args:
      data: the file's bytes, in AVIF, PNG, JPEG, WebP, TIFF or BMP.
      size: (height, width) to resize to, with Pillow's default filter; None keeps the picture's own.
      whole: (height, width) of what the picture must show, at any scale; None: of `size`, where that is given.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: the bytes are no picture that can be decoded, or one that would have to be stretched.
    """
    image = _open(data)
    pixels = _avif_pixels(image, len(data))
    if pixels is not None and (size is None or pixels.shape[:2] == size):
        _require_aspect(image.size, whole or size)
        return pixels
    if pixels is not None:
        _require_aspect(image.size, whole or size)
        return resize(pixels, size)
    image = _as_colours(_loaded(image, len(data)))
    _require_aspect(image.size, whole or size)
    pixels = _array(image)
    if size is None or image.size == size[::-1]:
        return pixels
    image.close()  # its memory serves what follows
    return resize(pixels, size)


def _array(image: Image.Image) -> np.ndarray:
    """Pixels u8 [H, W, 3] of a loaded picture of mode RGB.

    In one piece, where that is small enough to be taken from memory in use: Pillow gives pieces of 64 KB and then joins them, in memory
    that the system gives anew each time. 4.9 or 2.5 of 27 ms of a PNG of 1024 x 1024; larger ones gain nothing.
    """
    count, encoder_of = 3 * image.width * image.height, getattr(Image, "_getencoder", None)
    if encoder_of is None or not 0 < count <= _ONE_PIECE:
        return np.asarray(image)
    encoder = encoder_of("RGB", "raw", ("RGB", 0, 1))
    encoder.setimage(image.im, (0, 0, *image.size))
    data = encoder.encode(max(count, 4 * image.width))[2]
    return np.frombuffer(data, np.uint8).reshape(image.height, image.width, 3) if len(data) == count else np.asarray(image)


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 [H, W, 3] to (height, width), as `decode` does."""
    resized = resizing.bicubic(picture, size)
    return np.asarray(Image.fromarray(picture).resize(size[::-1])) if resized is None else resized


def decode_labels(data: bytes, size: tuple[int, int] | None = None, *, whole: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a picture of class numbers, one channel; resized to (height, width) by nearest neighbour.

    Args:
      data, size, whole: as of `decode`.

    Returns:
      uint8 [H, W].

    Raises:
      ValueError: the bytes are no picture that can be decoded, or it has several channels, or would have to be stretched.
    """
    image = _loaded(_open(data), len(data))
    if image.mode not in ("L", "P", "1"):
        raise ValueError(f"a picture of class numbers must have one 8-bit channel; got mode {image.mode}")
    _require_aspect(image.size, whole or size)
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.NEAREST)
    return np.asarray(image, np.uint8)


def encode(picture: np.ndarray, suffix: str, **options) -> bytes:
    """Encodes uint8 [H, W, 3] or [H, W] as "png" or "avif"; `options` as in Pillow's `save`."""
    buffer = io.BytesIO()
    if suffix == "avif":
        options = {"max_threads": 1, **options}
    Image.fromarray(picture).save(buffer, suffix.upper(), **options)
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    """The picture, of which the header is read.

    Raises:
      ValueError: see `decode`.
    """
    with _told(len(data)):
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"{width} x {height} pixels are more than {MOST_PIXELS}")
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # an MPO's others are previews of the first
        if frames > 1:
            raise ValueError(f"it has {frames} frames; one picture per file is needed")
        return image


def _avif_pixels(image: Image.Image, count: int) -> np.ndarray | None:
    """Pixels u8 [H, W, 3] of an upright AVIF of plain colours, as its decoder gives them; None for any other picture.

    Pillow would copy them into a picture of four bytes a pixel, and from there into an array: 1.3 of 5.5 ms at 1024 x 667.

    Raises:
      ValueError: see `decode`.
    """
    decoder = getattr(
        image, "_decoder", None
    )  # of Pillow's own plugin and of pillow-avif-plugin; of others the way through Pillow is taken
    plain = image.format == "AVIF" and image.mode == "RGB" and not image.info.keys() & {"exif", "transparency"}
    if not plain or not hasattr(decoder, "get_frame"):
        return None
    with _told(count):
        pixels = np.frombuffer(decoder.get_frame(0)[0], np.uint8)
    return pixels.reshape(image.height, image.width, 3) if pixels.size == 3 * image.width * image.height else None


def _loaded(image: Image.Image, count: int) -> Image.Image:
    """The picture of a file of so many bytes, decoded and turned upright.

    Raises:
      ValueError: see `decode`.
    """
    with _told(count):
        image.load()
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image


@contextlib.contextmanager
def _told(count: int) -> Iterator[None]:
    """Whatever the block raises becomes a ValueError that says what cannot be decoded."""
    try:
        yield
    except Exception as e:  # Pillow's decoders raise nearly anything for damaged files
        raise ValueError(f"{count} bytes that cannot be decoded as a picture ({_short(e)})") from e


def _as_colours(image: Image.Image) -> Image.Image:
    """The picture in mode RGB.

    Raises:
      ValueError: it cannot be told which colours are meant.
    """
    if image.mode == "RGB" and "transparency" not in image.info:  # Pillow copies even where there is nothing to convert: 6 ms at 1024 x 667
        return image
    if image.mode in _DEEP:
        deep = np.asarray(image)
        image.close()  # its memory serves the picture that follows
        return Image.fromarray(_to_8_bits(deep)).convert("RGB")
    if image.has_transparency_data:
        alpha = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        if alpha.getchannel("A").getextrema()[0] < 255:
            raise ValueError("it has transparent pixels, whose colour is not known; save it without transparency, over its background")
    elif image.mode not in ("RGB", "L", "P", "1", "RGBX"):
        raise ValueError(f"its colours are of mode {image.mode}; convert it to RGB of 8 bits, or 16 as PNG")
    return image.convert("RGB")


def _to_8_bits(deep: np.ndarray) -> np.ndarray:
    """uint8 [H, W] of whole numbers [H, W], some rows at a time: NumPy makes indices of 8 bytes of what it looks up."""
    found = np.empty(deep.shape, np.uint8)
    for start in range(0, len(deep), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        found[rows] = _TO_8_BITS[deep[rows]]
    return found


def _require_aspect(size: tuple[int, int], whole: tuple[int, int] | None) -> None:
    """Refuses a picture, of `size` (width, height), that is not `whole`, (height, width), at some scale; None takes any."""
    if whole is None:
        return
    width, height = size
    if abs(height * whole[1] / whole[0] - width) > _MOST_ROUNDED and abs(width * whole[0] / whole[1] - height) > _MOST_ROUNDED:
        turned = " It lies on its side: turn it by 90 degrees." if abs(width * whole[1] / whole[0] - height) <= _MOST_ROUNDED else ""
        raise ValueError(
            f"a picture of {width} x {height} pixels (width x height) does not fit {whole[1]} x {whole[0]}, all of which it must show at "
            f"some scale: it is cropped or turned.{turned or ' Fill up what was cropped.'}"
        )


def _short(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, UnidentifiedImageError):  # names an object in memory
        return f"none of {', '.join(_FORMATS)}, or damaged at its beginning"
    return " ".join(str(error).split())[:200] or type(error).__name__
