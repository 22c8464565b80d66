"""Where captures are: their folders below one on a disk or a server, as zips, packed or of multiface, and which cameras have images."""

import concurrent.futures
import fnmatch
import pathlib
from collections.abc import Collection

from ava_jax.captures.multiface import recording as multiface
from ava_jax.captures.packed import index
from ava_jax.captures.tables import names_listed
from ava_jax.data.remote import location
from ava_jax.data.remote.location import RemotePath

CALIBRATION = "camera_calibration.json"
_NAMES = "*--*--*"
_ASKED_AT_ONCE = 16  # files of a capture that are looked for on a server
_NAMED = 3


def find(root: str | pathlib.Path | RemotePath, ids: str) -> list[pathlib.Path | RemotePath]:
    """Folders of captures, sorted by name.

    Args:
      root: the folder that holds them; a path or a URL as text, or what `location.at` makes of one.
      ids: CSV, a path or a URL, with the columns `mcd,sid,mct` of those to use; "" = all.

    Raises:
      ValueError: there are none, or one that `ids` lists is not there.
    """
    if not root:
        raise ValueError("config.data.root must name the folder of captures; it is empty (--config.data.root=FOLDER).")
    folder = location.at(root) if isinstance(root, str) else root
    if not ids:
        if isinstance(folder, RemotePath):
            return _listed(folder)
        found = sorted([*(path.parent for path in folder.glob(f"{_NAMES}/decoder")), *multiface.find(folder)], key=lambda path: path.name)
        if missing := index.begun(folder) - {path.name for path in found}:
            raise ValueError(f"{folder / min(missing)}: was not packed; run the same ava pack again, which goes on.")
        if not found:
            raise ValueError(f"{folder}: {_why_none(folder)}")
        return found
    listed, found = sorted(set(names_listed(location.at(ids)))), []
    for name in listed:
        other = folder / f"m--{name}--GHS"
        if multiface.is_one(other):
            found.append(other)
            continue
        decoder = folder / name / "decoder"
        if not ((decoder / CALIBRATION).is_file() if isinstance(folder, RemotePath) else decoder.is_dir()):
            raise ValueError(f"{folder / name}: no capture there, but {ids} lists it.")
        found.append(folder / name)
    return sorted(found, key=lambda path: path.name)


def _why_none(folder: pathlib.Path) -> str:
    """Why no capture is found in a folder, and what to give instead."""
    if not folder.exists():
        return "there is no such folder; give the folder that holds the captures."
    if not folder.is_dir():
        return "is a file; give the folder that holds the captures."
    inside = next((one for one in (folder.absolute(), *folder.absolute().parents) if (one / "decoder").is_dir()), None)
    if inside is not None:
        return f"is a capture, or in one; give the folder that holds the captures, {inside.parent} (config.data.ids chooses of them)."
    if below := sorted({path.parents[1] for path in folder.glob(f"*/{_NAMES}/decoder")}):
        return f"no capture there, but in {', '.join(map(str, below[:_NAMED]))}; give that folder."
    return (
        "no capture there (a folder <mcd>--<mct>--<sid> with decoder/ inside), nor one of multiface (m--DATE--TIME--ID--GHS with KRT and "
        "frame_list.txt); ava synth makes some."
    )


def _listed(folder: RemotePath) -> list[RemotePath]:
    """Folders of the captures that a server lists.

    Raises:
      ValueError: there are none, or it lists none.
    """
    names = folder.names()
    found = sorted(name for name in names or () if fnmatch.fnmatchcase(name, _NAMES))
    if not found:
        fault = "the server does not list the folder" if names is None else "no capture is listed there, <mcd>--<mct>--<sid>"
        raise ValueError(f"{folder}: {fault}; config.data.ids=FILE, a CSV with the columns mcd,sid,mct, names those to use.")
    return [folder / name for name in found]


def cameras_with_images(folder: pathlib.Path | RemotePath, calibrated: Collection[str]) -> set[str]:
    """Ids of the cameras that a capture's folder has images of; {} where it has no photographs.

    Args:
      folder: the capture's.
      calibrated: ids of the cameras that are looked for where a server would have to list the folder.
    """
    if not isinstance(folder, RemotePath):
        return index.cameras_with_images(folder)
    images = folder / "decoder" / "image"
    with concurrent.futures.ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        there = pool.map(lambda camera: (images / f"cam{camera}.zip").is_file(), calibrated)
        return {camera for camera, found in zip(calibrated, there, strict=True) if found}
