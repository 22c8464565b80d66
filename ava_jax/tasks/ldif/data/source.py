"""Examples as samples: which are in a split, and reading one.

A sample (arrays without the batch axis), in the published place and size:

  depth f32 [137, 137, 20], twenty views; points f32 [10000 or fewer, 6], oriented; uniform, near f32 [P, 4]; grid f32 [32, 32, 32] (z, y,
  x); world_to_grid f32 [4, 4]; example int32 [], its position in the split; number int32 [], that in `every`; kind int32 [], its class in
  assets.names["classes"], -1 where it is not in it; image u8 [137, 137, 3], with config.data.image

Of a packed set the same in few bytes, as `compact` has them, of the views that the config names; and reach f32 [], inside_box f32 [2, 3].
`compact.unpacked` and `compact.samples` bring both to one form. Where examples are not held on the device, training reads of a packed one
only as many samples as a step takes.
"""

import pathlib
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core import names as naming
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import PREDICT, TRAIN
from ava_jax.tasks.ldif.data import meshes, packed, reading

LISTS = {"data.classes": str}


class Listed(NamedTuple):
    """An example: its class, its name, its folder (of a packed set, where it was when it was packed), its place in the split's list."""

    kind: str
    name: str
    folder: pathlib.Path
    place: int = 0


def splits(config: ConfigDict) -> list[str]:
    """Names of the splits that the data root lists, as in ["test", "train"].

    Raises:
      ValueError: the root lists none, or is a packed set that is not packed to its end.
    """
    root = pathlib.Path(config.data.root)
    found = sorted(reading.lists(root)) if config.data.root else []
    if not found:
        if config.data.root and any(root.glob("*-of-*.safetensors")):
            raise ValueError(f"config.data.root = {config.data.root!r}: not packed to its end; run the same ava ldif pack again.")
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
    lines, found = reading.lists(root)[split], packed.read(root)
    if found is not None and sum(found.shards.get(split, ())) != len(lines):
        raise ValueError(f"{root / packed.RECORD}: its shards hold another number of examples than {split}.txt lists; pack them again.")
    folders = root if found is None else pathlib.Path(found.examples)
    return [Listed(*line.split("/")[-2:], folders / line, place) for place, line in enumerate(lines)]


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
        listing = [(name, one) for name in names for one in listed(config, name)]
        if split not in (TRAIN, PREDICT):
            kinds = sorted({one.kind for _, one in listing})
            chosen = {naming.pick("--classes", name, kinds) for name in config.eval.get("classes", ())} or set(kinds)
            listing = [(name, one) for name, one in listing if one.kind in chosen]
            listing = [listing[at] for at in thin(len(listing), config.eval.max_samples)]
        self.examples = [one for _, one in listing]
        self._splits, self._classes, self._counted = [name for name, _ in listing], assets.names["classes"], {"unreadable": 0}
        self._numbers = {one.folder: number for number, one in enumerate(every(config))}
        self._image, self._views = bool(config.data.get("image", False)), config.model.views
        self._drawn = config.data.samples if split == TRAIN else 0
        root = pathlib.Path(config.data.root)
        found = packed.read(root)
        self._shards = {name: packed.Shards(root, name, found.shards[name]) for name in names} if found else {}

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
        return self._read(index, None)

    def redraw(self, index: int, position: int) -> Batch:
        """As `source[index]`; of a packed example that is trained on, samples in a row as many as a step takes, from a place drawn anew."""
        return self._read(index, np.random.default_rng(position) if self._drawn else None)

    def _read(self, index: int, rng: np.random.Generator | None) -> Batch:
        one = self.examples[index]
        kind = self._classes.index(one.kind) if one.kind in self._classes else -1
        own = {"example": np.int32(index), "number": np.int32(self._numbers[one.folder]), "kind": np.int32(kind)}
        if not self._shards:
            return {**reading.read(one.folder, image=self._image), **own}
        tensors = dict(self._shards[self._splits[index]].tensors(one.place))
        if not self._image:
            tensors.pop("image", None)
        elif "image" not in tensors:
            raise ValueError(f"{one.kind}/{one.name}: config.data.image = True, and the set was packed from records without pictures.")
        tensors["depth"] = tensors["depth"][: self._views]
        for name in ("near", "uniform") if rng is not None else ():
            rows = tensors[name]
            start = int(rng.integers(max(len(rows) - self._drawn, 0) + 1))
            tensors[name] = rows[start : start + self._drawn]
        return {**{name: np.array(tensor) for name, tensor in tensors.items()}, **own}
