"""Decoding and encoding of pictures, AVIF included, safe and quick from several threads."""

import io

import numpy as np
from PIL import Image, features

if features.check("avif"):
    from PIL import AvifImagePlugin

    # Loader threads decode a picture each; a decoder that starts threads of its own as well only gets in their way.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
else:  # Only then: the plugin replaces Pillow's decoder when imported, and holds the GIL while it decodes.
    import pillow_avif  # noqa: F401  pylint: disable=unused-import

# Pillow gives a picture's memory back to the system by default, and gets it zeroed page by page for the next one: 3.6 of 8.0 ms at
# 1024 x 667, 5.3 of 16.8 at 1024 x 1024. Kept, it is 4 MB per block.
Image.core.set_blocks_max(32)


def decode(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a colour picture.

    Args:
      data: the file's bytes, in any format that Pillow knows.
      size: (height, width) to resize to, with Pillow's default filter; None keeps the picture's own.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: the bytes are no picture that can be decoded.
    """
    image = _load(data)
    if image.mode != "RGB":  # Pillow copies even where there is nothing to convert: 6 ms at 1024 x 667
        image = image.convert("RGB")
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1])
    return np.asarray(image)


def resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 [H, W, 3] to (height, width), as `decode` does."""
    return np.asarray(Image.fromarray(picture).resize(size[::-1]))


def decode_labels(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a picture of class numbers, one channel; resized to (height, width) by nearest neighbour.

    Returns:
      uint8 [H, W].

    Raises:
      ValueError: the bytes are no picture that can be decoded, or it has several channels.
    """
    image = _load(data)
    if image.mode not in ("L", "P", "1"):
        raise ValueError(f"a picture of class numbers must have one 8-bit channel; got mode {image.mode}")
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


def _load(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, SyntaxError, RuntimeError) as e:  # what Pillow's decoders raise for damaged files
        raise ValueError(f"{len(data)} bytes that cannot be decoded as a picture ({e})") from e
    return image
