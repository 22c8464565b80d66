"""Files that say who and what is trained on, validated on and tested on: installed ones, and those that a user writes.

As JSON:

  {"train":      {"people": ["AAA001", "BBB002"]},
   "validation": {"segments": ["EXP_free_face"], "cameras": ["400008"]},
   "test":       {"people": ["CCC003"], "segments": ["EXP_ROM"]}}

or as CSV, with the columns `split,kind,name`:

  test,person,CCC003
  validation,segment,EXP_free_face

People are subjects' ids or names of captures. Those of validation and test are held out wholly, segments and cameras of everybody. With
people under `train`, these alone are trained on; otherwise all that no other part lists. `"absent": "allowed"`, or a line
`absent,allowed,` of a CSV, takes names that no capture at hand has: the file is of a larger data set.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from ava_jax.core import names as naming
from ava_jax.data import text_files

SUFFIXES = (".json", ".csv")
_PARTS = ("train", "validation", "test")
_KINDS = {"person": "people", "segment": "segments", "camera": "cameras"}
_COLUMNS = ["split", "kind", "name"]


@dataclasses.dataclass(frozen=True)
class Part:
    """Names that one part of a split lists.

    Attributes:
      people: subjects' ids or names of captures.
      segments: names.
      cameras: ids.
    """

    people: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Split:
    """What a file says.

    Attributes:
      source: how messages call it.
      train: of which only people count; none = all whom no other part lists.
      validation, test: what is held out.
      may_lack: whether names may be of no capture at hand.
      key: what names the file, for messages: a key of the config or a flag.
    """

    source: str = ""
    train: Part = Part()
    validation: Part = Part()
    test: Part = Part()
    may_lack: bool = False
    key: str = "config.data.split"

    def require(self, people: Collection[str], segments: Collection[str], cameras: Collection[str]) -> None:
        """Checks the names against what there is.

        Args:
          people: subjects' ids and names of the captures at hand.
          segments, cameras: that any of them has.

        Raises:
          ValueError: one is not known, and `may_lack` does not allow it; the message gives the nearest.
        """
        if self.may_lack:
            return
        for part in _PARTS:
            listed = getattr(self, part)
            for kind, known in (("people", people), ("segments", segments), ("cameras", cameras)):
                naming.require(f"{self.key}={self.source}, {part}.{kind}", getattr(listed, kind), known, "capture")


def installed() -> dict[str, pathlib.Path]:
    """Files that come with the package, by name."""
    package = pathlib.Path(__file__).resolve().parents[1]
    folders = [package.parent / "configs" / "splits", package / "configs" / "splits"]  # of a checkout, of an installed package
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}


def is_file(value: str) -> bool:
    """Whether a value of `config.data.split` is a path, and not an installed name: it ends in one of SUFFIXES."""
    return pathlib.PurePath(value).suffix.lower() in SUFFIXES


def load(value: str, key: str = Split.key) -> Split:
    """Reads a split.

    Args:
      value: an installed name, or a path that ends in .json or .csv; "" holds nothing out.
      key: that names it, for messages.

    Raises:
      ValueError: there is none of that name, or the file cannot be read, is malformed or contradicts itself.
    """
    if not value:
        return Split()
    if is_file(value):
        path = pathlib.Path(value).expanduser()
    else:
        known = installed()
        if value not in known:
            near = naming.nearest(value, known)
            raise ValueError(f"{key}={value}: must be an installed split ({', '.join(known)}) or a .json or .csv file.{near}")
        path = known[value]
    tree = _from_csv(path) if path.suffix.lower() == ".csv" else text_files.read_json(path)
    return _checked(value, path, {**_parsed(path, tree), "key": key})


def _from_csv(path: pathlib.Path) -> dict[str, Any]:
    """What the JSON of the same would be."""
    rows = csv.reader(io.StringIO(text_files.read(path), newline=""), skipinitialspace=True)
    tree: dict[str, Any] = {}
    header = True
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if header and cells != _COLUMNS:
                raise ValueError(
                    f"{path}, line {rows.line_num}: must begin with the line {','.join(_COLUMNS)}; got {','.join(cells)[:80]!r}."
                )
            if not header and cells[:2] == ["absent", "allowed"]:
                tree["absent"] = "allowed"
            elif not header:
                if len(cells) != 3 or cells[0] not in _PARTS or cells[1] not in _KINDS or not cells[2]:
                    raise ValueError(
                        f"{path}, line {rows.line_num}: must be train, validation or test; person, segment or camera; a name; got "
                        f"{','.join(cells)[:80]!r}."
                    )
                tree.setdefault(cells[0], {}).setdefault(_KINDS[cells[1]], []).append(cells[2])
            header = False
    except csv.Error as e:
        raise ValueError(f"{path}, line {rows.line_num}: cannot be read ({e}).") from e
    return tree


def _parsed(path: pathlib.Path, tree: Any) -> dict[str, Any]:
    """Fields of a Split."""
    if not isinstance(tree, Mapping):
        raise ValueError(f'{path}: must be like {{"test": {{"people": ["CCC003"]}}}}; got {str(tree)[:80]!r}.')
    _require_keys(path, "", tree, (*_PARTS, "absent", "about"))
    if tree.get("absent", "refused") not in ("allowed", "refused"):
        raise ValueError(f'{path}: "absent" must be "allowed" or "refused"; got {tree["absent"]!r}.')
    found: dict[str, Any] = {"may_lack": tree.get("absent") == "allowed"}
    for part in _PARTS:
        given = tree.get(part, {})
        if not isinstance(given, Mapping):
            raise ValueError(f"{path}: {part} must have lists of people, segments and cameras; got {str(given)[:80]!r}.")
        _require_keys(path, f"{part}.", given, tuple(_KINDS.values()))
        lists = {kind: _names(path, f"{part}.{kind}", given.get(kind, [])) for kind in _KINDS.values()}
        found[part] = Part(**lists)
    if found["train"].segments or found["train"].cameras:
        raise ValueError(f"{path}: train lists people alone; segments and cameras are trained on unless validation or test lists them.")
    return found


def _require_keys(path: pathlib.Path, prefix: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{path}: has a key {prefix}{key}; it may have {', '.join(known)}.{naming.nearest(str(key), known)}")


def _names(path: pathlib.Path, what: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str | int) and not isinstance(name, bool) and str(name) for name in value):
        raise ValueError(f'{path}: {what} must be a list of names, as in ["AAA001"]; got {str(value)[:80]!r}.')
    return tuple(str(name) for name in value)


def _checked(value: str, path: pathlib.Path, fields: dict[str, Any]) -> Split:
    """The split, unless one name is in two of its parts."""
    for kind in _KINDS.values():
        seen: dict[str, str] = {}
        for part in _PARTS:
            for name in getattr(fields[part], kind):
                if seen.setdefault(name, part) != part:
                    raise ValueError(f"{path}: {name} is in {seen[name]}.{kind} and in {part}.{kind}; it can be in one of them.")
    return Split(source=value, **fields)
