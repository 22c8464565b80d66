"""Examples as samples: which are in a split, and reading one.

A sample (arrays without the batch axis), in the published place and size:

  depth f32 [137, 137, 20], twenty views; points f32 [10000 or fewer, 6], oriented; uniform, near f32 [P, 4]; grid f32 [32, 32, 32] (z, y,
  x); world_to_grid f32 [4, 4]; example int32 [], its position in the split; kind int32 [], its class in assets.names["classes"], -1 where
  it is not in it
"""

import pathlib
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core import names as naming
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import PREDICT, TRAIN
from ava_jax.tasks.ldif.data import example_files, examples, meshes
from ava_jax.tasks.ldif.model.encoders import resized

POINTS = 10_000  # of the surface, of each example
LISTS = {"data.classes": str}


class Listed(NamedTuple):
    """An example: its class, its name, its folder."""

    kind: str
    name: str
    folder: pathlib.Path


def splits(config: ConfigDict) -> list[str]:
    """Names of the splits that the data root lists, as in ["test", "train"].

    Raises:
      ValueError: the root lists none.
    """
    root = pathlib.Path(config.data.root)
    found = sorted(path.stem for path in root.glob("*.txt") if any("/" in line for line in path.read_text().splitlines()))
    if not config.data.root or not found:
        raise ValueError(f"config.data.root = {config.data.root!r}: holds no SPLIT.txt; ava ldif prepare writes such a folder.")
    return found


def listed(config: ConfigDict, split: str) -> list[Listed]:
    """Examples of a split, in the order of its list, of the classes that the config names.

    Raises:
      ValueError: there is no such split, none of its examples is there, or a class is not.
    """
    known = splits(config)
    if split not in known:
        raise ValueError(f"ldif: split must be one of {', '.join(known)}; got {split!r}.")
    found = _lines(config, split)
    kinds = sorted({one.kind for one in found})
    chosen = {naming.pick("config.data.classes", name, kinds) for name in config.data.classes} or set(kinds)
    return [one for one in found if one.kind in chosen]


def every(config: ConfigDict) -> list[Listed]:
    """Examples of all splits and classes, in the order of `splits` and their lists: a sample's `number` counts them. Raises as `splits`."""
    return [one for split in splits(config) for one in _lines(config, split)]


def _lines(config: ConfigDict, split: str) -> list[Listed]:
    root = pathlib.Path(config.data.root)
    lines = [line.strip().rstrip("/") for line in (root / f"{split}.txt").read_text().splitlines() if line.strip()]
    return [Listed(*line.split("/")[-2:], root / line) for line in lines]


def prepare(config: ConfigDict) -> Assets:
    """The classes of the training split, and the half side of the box that samples lie in, f32 [1].

    Raises:
      ValueError: as `listed`.
    """
    return Assets(
        arrays={"half_side": np.array([meshes.HALF_SIDE], np.float32)},
        names={"classes": sorted({one.kind for one in listed(config, TRAIN)})},
    )


class ExampleSource:
    """Samples of a split, by number."""

    def __init__(self, config: ConfigDict, split: str, assets: Assets) -> None:
        """Reads the split's list.

        Args:
          config: the whole experiment's.
          split: one of `splits`; PREDICT is all of them.
          assets: of `prepare`.

        Raises:
          ValueError: as `listed`.
        """
        names = splits(config) if split == PREDICT else [split]
        found = [one for name in names for one in listed(config, name)]
        if split not in (TRAIN, PREDICT):
            kinds = sorted({one.kind for one in found})
            chosen = {naming.pick("--classes", name, kinds) for name in config.eval.get("classes", ())} or set(kinds)
            found = [one for one in found if one.kind in chosen]
            found = [found[at] for at in thin(len(found), config.eval.max_samples)]
        self.examples, self._classes, self._counted = found, assets.names["classes"], {"unreadable": 0}
        self._numbers = {one.folder: number for number, one in enumerate(every(config))}

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:  # names what is read: the pipeline's state keeps it
        return f"ExampleSource({len(self.examples)} examples)"

    @property
    def counts(self) -> dict[str, int]:
        """`listed` and `unreadable`."""
        return {"listed": len(self), **self._counted}

    def __getitem__(self, index: int) -> Batch:
        """A sample.

        Raises:
          ValueError: a file is missing or damaged; a line names it.
        """
        one = self.examples[index]
        grid = example_files.read_grid(one.folder / examples.GRID)
        return {
            **seen(one.folder),
            "uniform": example_files.read_samples(one.folder / examples.UNIFORM),
            "near": example_files.read_samples(one.folder / examples.NEAR),
            "grid": grid.values,
            "world_to_grid": grid.world_to_grid,
            "example": np.int32(index),
            "number": np.int32(self._numbers[one.folder]),
            "kind": np.int32(self._classes.index(one.kind) if one.kind in self._classes else -1),
        }


def seen(folder: pathlib.Path) -> Batch:
    """What the network looks at of an example: `depth` and `points` of a sample. Raises as reading one."""
    points = example_files.read_points(folder / examples.POINTS)
    return {"depth": resized(_depth(folder / examples.DEPTH)), "points": points[thin(len(points), POINTS)]}


def _depth(path: pathlib.Path) -> np.ndarray:
    """Depths [20, 224, 224]."""
    try:
        if path.is_file() and not zipfile.is_zipfile(path):  # of what is none, NumPy says that it might be loaded unsafely
            raise ValueError("no npz, or a damaged one")
        with np.load(path) as file:
            both = file["arr_0"]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(f"{path}: no depth images as ava ldif prepare writes them ({str(e)[:80]}).") from e
    if both.ndim != 4 or both.shape[0] != 20 or both.shape[3] != 4:
        raise ValueError(f"{path}: depth images must be [20, H, W, 4]; got {list(both.shape)}.")
    return both[..., 0]
