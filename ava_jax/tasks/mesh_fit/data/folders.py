"""A data root on disk: `NAME_sbs/obj/*.obj` (skin interpolations), `NAME_target/obj/*.obj` (scans), `NAME_joints/obj/*.obj`.

Frames are the files of NAME_sbs in the order of their names, numbers in them by value; a frame's partners have the same name. Where no
name of a folder agrees with NAME_sbs at all, as in `sbs_0001.obj` and `scan_0001.obj`, the last number of the names pairs them.
"""

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ava_jax.core.names import nearest

SBS, TARGET, JOINTS = "sbs", "target", "joints"
KINDS = (SBS, TARGET, JOINTS)
_MOST_NAMED = 5  # files in one message


class Folders(NamedTuple):
    """One sequence on disk.

    Attributes:
      name: NAME.
      frames: of each frame its file's name in NAME_sbs, without `.obj`, in order.
      files: kind -> its files, one per frame.
    """

    name: str
    frames: tuple[str, ...]
    files: Mapping[str, tuple[pathlib.Path, ...]]


def find(root: pathlib.Path, names: Sequence[str], kinds: Sequence[str], *, most: int = 0) -> list[Folders]:
    """The sequences of a data root, sorted by name.

    Args:
      root: the folder.
      names: of the sequences to take; () = all.
      kinds: which are needed, SBS among them.
      most: frames of each, the first ones; 0 = all.

    Raises:
      ValueError: there is no such folder, no such sequence, or a file without its partner; the message names what is missing.
    """
    there = names_in(root)
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"{root}: there is no sequence {unknown[0]!r}; it has {', '.join(there)}.{nearest(unknown[0], there)}")
    return [_sequence(root, name, kinds, most) for name in there if not names or name in names]


def names_in(root: pathlib.Path) -> list[str]:
    """The names of a data root's sequences, sorted.

    Raises:
      ValueError: there is no such folder, or no sequence in it.
    """
    if not root.is_dir():
        raise ValueError(f"config.data.root must be a folder of NAME_sbs, NAME_target, ...; there is none at {str(root)!r}.")
    there = sorted(path.name.removesuffix(f"_{SBS}") for path in root.iterdir() if path.name.endswith(f"_{SBS}") and path.is_dir())
    if not there:
        raise ValueError(f"{root}: must hold folders NAME_sbs with obj/*.obj; it has none.")
    return there


def folder(root: pathlib.Path, name: str, kind: str) -> pathlib.Path:
    """Where a sequence's files of a kind lie: `NAME_KIND/obj`, or `NAME_KIND` where it has no such folder."""
    outer = root / f"{name}_{kind}"
    return outer / "obj" if (outer / "obj").is_dir() else outer


def _sequence(root: pathlib.Path, name: str, kinds: Sequence[str], most: int) -> Folders:
    files = {kind: _objs(folder(root, name, kind)) for kind in kinds}
    frames = sorted(files[SBS], key=_order)
    if not frames:
        raise ValueError(f"{folder(root, name, SBS)}: must hold OBJ files; it has none.")
    paired = {SBS: tuple(files[SBS][frame] for frame in frames)}
    for kind in kinds:
        if kind != SBS:
            paired[kind] = _partners(frames, files[SBS], files[kind], folder(root, name, kind))
    most = most or len(frames)
    return Folders(name, tuple(frames[:most]), {kind: paths[:most] for kind, paths in paired.items()})


def _objs(location: pathlib.Path) -> dict[str, pathlib.Path]:
    """Name without suffix -> file."""
    if not location.is_dir():
        return {}
    return {path.stem: path for path in location.iterdir() if path.suffix.lower() == ".obj" and not path.name.startswith(".")}


def _partners(
    frames: Sequence[str], source: Mapping[str, pathlib.Path], files: Mapping[str, pathlib.Path], location: pathlib.Path
) -> tuple[pathlib.Path, ...]:
    """The file of each frame.

    Raises:
      ValueError: files on either side lack their partner.
    """
    keys = {name: name for name in (*frames, *files)}
    if not set(frames) & set(files):
        numbers = {name: _last_number(name) for name in (*frames, *files)}
        distinct = all(len({numbers[name] for name in side}) == len(side) for side in (frames, list(files)))
        if distinct and None not in numbers.values():
            keys = numbers
    of_key = {keys[name]: path for name, path in files.items()}
    expected = {keys[frame] for frame in frames}
    lacking = [source[frame].name for frame in frames if keys[frame] not in of_key]
    extra = sorted(path.name for key, path in of_key.items() if key not in expected)
    home = source[frames[0]].parent
    if lacking:
        raise ValueError(f"{location}: lacks the partners of {named(lacking)} of {home}.")
    if extra:
        raise ValueError(f"{home}: lacks the partners of {named(extra)} of {location}.")
    return tuple(of_key[keys[frame]] for frame in frames)


def named(files: Iterable[str]) -> str:
    """'3 files (a.obj, b.obj, c.obj)', of which the first are named."""
    files = list(files)
    more = ", ..." if len(files) > _MOST_NAMED else ""
    return f"{len(files)} file{'' if len(files) == 1 else 's'} ({', '.join(files[:_MOST_NAMED])}{more})"


def _order(name: str) -> list[tuple[bool, int, str]]:
    """Sorts 'a2' before 'a10'."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"([0-9]+)", name) if part]


def _last_number(name: str) -> int | None:
    found = re.findall(r"[0-9]+", name)
    return int(found[-1]) if found else None
