"""Files of frames in folders, one per frame, as captures that are not zipped have them: `images/SEGMENT/400029/021897.png`.

`Archives` answers for them as it does for zips whose members are frames; a frame is asked for by its number.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

_MOST_BYTES = 1 << 27  # of a file, as of a zip's member


@dataclasses.dataclass(frozen=True, eq=False)
class FrameTable:
    """Where each frame of a recording lies: N frames, each number once.

    Attributes:
      numbers: int32 [N], rising.
      names: as files are called, "021897", in that order.
      segments: folder of each, likewise.
    """

    numbers: np.ndarray
    names: tuple[str, ...]
    segments: tuple[str, ...]

    @functools.cached_property
    def by_number(self) -> dict[int, tuple[str, str]]:
        """Segment and name of each frame."""
        return dict(zip(self.numbers.tolist(), zip(self.segments, self.names, strict=True), strict=True))


@dataclasses.dataclass(frozen=True)
class FrameFiles:
    """One file per frame: `<folder>/<SEGMENT>/<below><NAME><suffix>`.

    Attributes:
      folder: as in `images`.
      below: folder below the segment's, with its slash, as in "400029/"; "" has none.
      suffix: of the files, as in ".png" or "_transform.txt".
      table: where frames lie.
    """

    folder: pathlib.Path
    below: str
    suffix: str
    table: FrameTable = dataclasses.field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.folder}/*/{self.below}*{self.suffix}"

    def relative_to(self, folder: pathlib.Path) -> pathlib.PurePath:
        """The folder of the files, below `folder`."""
        return (self.folder / self.below).relative_to(folder)

    def path(self, number: int) -> pathlib.Path | None:
        """Where a frame's file should lie; None of a frame that is not in the table."""
        found = self.table.by_number.get(number)
        return None if found is None else self.folder / found[0] / f"{self.below}{found[1]}{self.suffix}"

    def has(self, number: int) -> bool:
        """Whether a frame's file is there."""
        path = self.path(number)
        return path is not None and path.is_file()

    def read(self, number: int) -> bytes | None:
        """A frame's file; None where there is none.

        Raises:
          ValueError: it cannot be read, or is larger than any picture or mesh.
        """
        path = self.path(number)
        if path is None:
            return None
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.read(_MOST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise ValueError(f"{path}: cannot be read ({e}).") from e
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{path}: has more bytes than any picture or mesh; at most {_MOST_BYTES}.")
        return data

    def there(self, numbers: Sequence[int]) -> np.ndarray:
        """Which frames' files are there: bool [len(numbers)]. Folders are listed once each."""
        listed: dict[str, set[str]] = {}
        found = np.zeros(len(numbers), bool)
        for i, number in enumerate(numbers):
            segment, name = self.table.by_number.get(int(number), ("", ""))
            if not segment:
                continue
            if segment not in listed:
                listed[segment] = _names(self.folder / segment / self.below)
            found[i] = f"{name}{self.suffix}" in listed[segment]
        return found


def _names(folder: pathlib.Path) -> set[str]:
    """Names in a folder; none where it is not there."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()
