"""Pictures that rigs' files name: where they lie, how large they are, and the masks that belong to them."""

import pathlib
import re
import warnings
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".avif", ".webp", ".tif", ".tiff", ".bmp")
MASK_FOLDERS = ("masks", "mask", "fg_masks")
_FORMATS = ("AVIF", "PNG", "JPEG", "WEBP", "TIFF", "BMP")  # as data.images


def size(path: pathlib.Path) -> tuple[int, int]:
    """Height and width of a picture as it is shown, pixels; its pixels are not decoded.

    Raises:
      ValueError: it is no picture that can be read; the message names it.
    """
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("ignore")
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        raise ValueError(f"{path}: is no picture that can be read ({type(e).__name__}).") from e
    return (width, height) if turned else (height, width)


def as_written(name: str) -> str:
    """A path as files of any system write it, with / between its parts."""
    return name.replace("\\", "/").strip()


def existing(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    """The picture `name` below a folder, the extension added where the name lacks one; None where there is none."""
    if "\0" in name or not name:
        return None
    try:
        path = folder / name
        if path.is_file():
            return path
        if path.suffix.lower() in SUFFIXES:
            return None
        return next((p for p in (path.with_name(path.name + suffix) for suffix in SUFFIXES) if p.is_file()), None)
    except (OSError, ValueError):  # a name that the file system refuses
        return None


def root(names: Sequence[str], folders: Sequence[pathlib.Path]) -> pathlib.Path | None:
    """The first of the folders that holds one of the first pictures; None where none does."""
    return next((folder for folder in folders for name in names[:5] if existing(folder, name)), None)


def around(folder: pathlib.Path, levels: int = 3) -> list[pathlib.Path]:
    """Where images of a model in `folder` are looked for: there and above, each with its folder `images`."""
    above = [folder, *folder.resolve().parents[: levels - 1]]
    return [place for one in above for place in (one / "images", one)]


def mask(images: pathlib.Path, picture: pathlib.Path) -> pathlib.Path | None:
    """The mask of a picture below `images`: same name in a folder `masks`, `mask` or `fg_masks` beside it; None where there is none.

    COLMAP's form, the picture's whole name with .png after it, is taken too.
    """
    try:
        below = picture.relative_to(images)
    except ValueError:
        return None
    for name in MASK_FOLDERS:
        folder = images.parent / name
        if not folder.is_dir():
            continue
        for candidate in (below.with_name(below.name + ".png"), below, *(below.with_suffix(suffix) for suffix in SUFFIXES)):
            if (folder / candidate).is_file():
                return folder / candidate
    return None


def by_camera(folders: Sequence[pathlib.Path], cameras: Sequence[str]) -> dict[tuple[str, int], pathlib.Path]:
    """Pictures of cameras whose file lists no pictures, of the first folder that has any.

    Taken are `camera/frame.png`, `segment/camera/frame.png`, `camera_frame.png`, `frame_camera.png` and `camera.png` (frame 0).

    Raises:
      ValueError: two pictures are the same camera and frame.
    """
    for folder in folders:
        if folder.is_dir() and (found := _by_camera(folder, set(cameras))):
            return dict(sorted(found.items()))
    return {}


def _by_camera(folder: pathlib.Path, cameras: set[str]) -> dict[tuple[str, int], pathlib.Path]:
    found: dict[tuple[str, int], pathlib.Path] = {}

    def add(camera: str, frame: int, path: pathlib.Path) -> None:
        if found.setdefault((camera, frame), path) != path:
            raise ValueError(
                f"{path}: is frame {frame} of camera {camera!r}, as {found[camera, frame]} is; frames need numbers of their own."
            )

    for path in sorted(folder.iterdir()):
        if path.is_dir():
            inner = [path] if path.name in cameras else [p for p in sorted(path.iterdir()) if p.is_dir() and p.name in cameras]
            for of_camera in inner:
                for picture in sorted(of_camera.iterdir()):
                    number = re.findall("[0-9]+", picture.stem)
                    if picture.suffix.lower() in SUFFIXES and number and len(number[-1]) < 10:
                        add(of_camera.name, int(number[-1]), picture)
        elif path.suffix.lower() in SUFFIXES:
            before, after = re.fullmatch(r"(.+)[-_.]([0-9]{1,9})", path.stem), re.fullmatch(r"([0-9]{1,9})[-_.](.+)", path.stem)
            if path.stem in cameras:
                add(path.stem, 0, path)
            elif before and before[1] in cameras:
                add(before[1], int(before[2]), path)
            elif after and after[2] in cameras:
                add(after[2], int(after[1]), path)
    return found
