"""What is to be fetched: a path, an URL, and which members of a zip."""

import dataclasses
import fnmatch
import functools
import hashlib
import json
import pathlib
from typing import Any

from ava_jax.data.download.zip_listing import Member


@dataclasses.dataclass(frozen=True)
class Selection:
    """Members of a zip: those named by one of `numbers` (`cam1/001003.png`), and those whose whole names match one of `patterns`.

    Attributes:
      numbers: sorted.
      patterns: as of shells, `cam1/0010*.png`; sorted.
    """

    numbers: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()

    @functools.cached_property
    def _set(self) -> frozenset[int]:
        return frozenset(self.numbers)

    @functools.cached_property
    def key(self) -> str:
        """A short name of this choice."""
        return hashlib.blake2b(json.dumps(self.tree()).encode(), digest_size=8).hexdigest()

    def tree(self) -> dict[str, list[Any]]:
        """For JSON; `of_tree` makes it a selection again."""
        return {"numbers": list(self.numbers), "patterns": list(self.patterns)}

    @classmethod
    def of_tree(cls, tree: dict[str, list[Any]]) -> "Selection":
        """From what `tree` gave.

        Raises:
          KeyError, TypeError, ValueError: it is something else.
        """
        return cls(tuple(sorted(map(int, tree["numbers"]))), tuple(sorted(map(str, tree["patterns"]))))

    def takes(self, member: Member) -> bool:
        """Whether a member is one of those."""
        name = member.text
        stem = pathlib.PurePosixPath(name).stem
        numbered = stem.isascii() and stem.isdigit() and len(stem) < 20 and int(stem) in self._set
        return numbered or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.patterns)

    def covers(self, other: "Selection") -> bool:
        """Whether all that `other` takes is taken."""
        return self._set >= other._set and set(self.patterns) >= set(other.patterns)

    def union(self, other: "Selection") -> "Selection":
        """What either takes."""
        return Selection(tuple(sorted(self._set | other._set)), tuple(sorted({*self.patterns, *other.patterns})))


@dataclasses.dataclass(frozen=True)
class Item:
    """A file to be fetched.

    Attributes:
      path: relative to the target folder, with slashes.
      url: of the file.
      group: under which it is counted.
      md5: of the content, hexadecimal, where a list gives it.
      selection: of members, where the file is a zip; None takes the file as it is.
      fraction: of the file that the selection may take, for estimates.
    """

    path: str
    url: str
    group: str = ""
    md5: str = ""
    selection: Selection | None = None
    fraction: float = 1.0


def both(one: Selection | None, other: Selection | None) -> Selection | None:
    """What either takes; None, all, where one of them is all."""
    return None if one is None or other is None else one.union(other)


def covers(one: Selection | None, other: Selection | None) -> bool:
    """Whether `one` takes all that `other` takes; None is all."""
    return one is None or (other is not None and one.covers(other))
