"""Prepared examples, a folder each, as arrays."""

import pathlib
import zipfile
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from ava_jax.core.sampling import thin
from ava_jax.tasks.ldif.data import example_files, examples, views
from ava_jax.tasks.ldif.model.encoders import resized

POINTS = 10_000  # of the surface, of each example


def lists(root: pathlib.Path) -> dict[str, list[str]]:
    """Examples of each split of a data root, in order: split -> ["SPLIT/CLASS/NAME", ...], of files SPLIT.txt; {} where there is none.

    Raises:
      ValueError: a line is no such path.
    """
    found = {}
    for path in sorted(root.glob("*.txt")) if root.is_dir() else ():
        lines = [line.strip().rstrip("/") for line in path.read_text().splitlines() if line.strip()]
        if not any("/" in line for line in lines):
            continue
        if odd := [line for line in lines if line.count("/") < 1 or ".." in line.split("/")]:
            raise ValueError(f"{path}: lines must name folders of examples, as SPLIT/CLASS/NAME/; one is {odd[0][:80]!r}.")
        found[path.stem] = lines
    return found


def read(folder: pathlib.Path, *, image: bool = False) -> dict[str, np.ndarray]:
    """An example's arrays: those of `data.source` but `example`, `number` and `kind`.

    Args:
      folder: of the example.
      image: whether `image` is read as well, u8 [137, 137, 3]: image.png; where it is not there, what `views.picture` makes of the normals.

    Raises:
      ValueError: a file is missing or damaged; a line names it.
    """
    grid = example_files.read_grid(folder / examples.GRID)
    return seen(folder, image=image) | {
        "uniform": example_files.read_samples(folder / examples.UNIFORM),
        "near": example_files.read_samples(folder / examples.NEAR),
        "grid": grid.values,
        "world_to_grid": grid.world_to_grid,
    }


def seen(folder: pathlib.Path, *, image: bool = False) -> dict[str, np.ndarray]:
    """What the network looks at of an example: `depth` [137, 137, 20], `points` [P, 6] and, where asked for, `image`. Raises as `read`."""
    drawn = _views(folder / examples.DEPTH)
    points = example_files.read_points(folder / examples.POINTS)
    found = {"depth": resized(drawn.depth), "points": points[thin(len(points), POINTS)]}
    return found | {"image": _image(folder / examples.IMAGE, drawn)} if image else found


def _image(path: pathlib.Path, seen: views.Views) -> np.ndarray:
    if not path.is_file():
        return views.picture(seen)
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as e:
        raise ValueError(f"{path}: cannot be read as a picture ({str(e)[:80]}).") from e
    side = views.PICTURE_SIDE
    if picture.size != (side, side):
        if picture.width != picture.height:
            raise ValueError(f"{path}: pictures must be square; got {picture.width} x {picture.height}.")
        picture = picture.resize((side, side), Image.Resampling.BOX if picture.width > side else Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _views(path: pathlib.Path) -> views.Views:
    """Depths [20, 224, 224] and normals [20, 224, 224, 3]."""
    try:
        if path.is_file() and not zipfile.is_zipfile(path):  # of what is none, NumPy says that it might be loaded unsafely
            raise ValueError("no npz, or a damaged one")
        with np.load(path) as file:
            both = file["arr_0"]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(f"{path}: no depth images as ava ldif prepare writes them ({str(e)[:80]}).") from e
    if both.ndim != 4 or both.shape[0] != 20 or both.shape[3] != 4:
        raise ValueError(f"{path}: depth images must be [20, H, W, 4]; got {list(both.shape)}.")
    return views.Views(both[..., 0], both[..., 1:])
