"""What a download fetched of a capture, by its manifest: what nobody asked for is no fault of the capture."""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from ava_jax.data.download import manifest
from ava_jax.data.download.manifest import Entry

_MOST = 2**31 - 1


class Chosen:
    """The files of one capture that a download fetched, whole or in part."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        """Takes the manifest's entries, by path in the capture's folder."""
        self.entries = dict(entries)

    def fetched(self, file: str) -> bool:
        """Whether something of a file, a path in the capture's folder, was written."""
        return file in self.entries and self.entries[file].size is not None

    def frames(self, file: str) -> np.ndarray | None:
        """Sorted int32 [F]: the only frames of a zip that were asked for; None where that was all, or where nothing says which."""
        entry = self.entries.get(file)
        if entry is None or entry.selection is None or entry.selection.patterns:
            return None
        return np.array([number for number in entry.selection.numbers if 0 <= number <= _MOST], np.int32)

    def by_name(self, file: str) -> bool:
        """Whether members of a zip were asked for by patterns of names, so that its frames are those that were named."""
        entry = self.entries.get(file)
        return entry is not None and entry.selection is not None and bool(entry.selection.patterns)

    def frames_of_any(self, files: Sequence[str]) -> np.ndarray | None:
        """Sorted int32 [F]: frames that were asked for of any of some zips; None where one of them was to come whole, or by names."""
        found = [self.frames(file) for file in files]
        if not found or any(frames is None for frames in found):
            return None
        return functools.reduce(np.union1d, found).astype(np.int32)


def of(folder: pathlib.Path) -> Chosen | None:
    """What was fetched of the capture at `folder`; None where no download's manifest knows of it.

    Raises:
      ValueError: a manifest is there and cannot be read.
    """
    root = manifest.find(folder)
    if root is None:
        return None
    captures = _read(root, (root / manifest.FILE).stat().st_mtime_ns)
    below = folder.absolute().relative_to(root).parts
    name, inside = (below[0], "/".join(below[1:])) if below else ("", "")
    entries = captures.get(name, {})
    if inside:
        entries = {path.removeprefix(f"{inside}/"): entry for path, entry in entries.items() if path.startswith(f"{inside}/")}
    return Chosen(entries) if entries else None


@functools.lru_cache(2)
def _read(root: pathlib.Path, changed: int) -> dict[str, dict[str, Entry]]:
    """A manifest's entries by their first folder; `changed` makes one that was written anew another one."""
    del changed
    found: dict[str, dict[str, Entry]] = {}
    for path, entry in manifest.Manifest(root).files.items():
        first, _, rest = path.partition("/")
        found.setdefault(first if rest else "", {})[rest or path] = entry
    return found
