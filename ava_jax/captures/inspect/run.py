"""Captures drawn one after the other, each into a folder of its own; one that cannot be drawn is told of, and the others go on."""

import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import tqdm
from PIL import Image

from ava_jax.captures import folders
from ava_jax.captures.inspect import inspecting, page
from ava_jax.captures.inspect.inspecting import INDEX, SUMMARY, THUMBNAIL, Request
from ava_jax.captures.inspect.subject import Subject
from ava_jax.captures.verify import tree
from ava_jax.data import files
from ava_jax.data.remote import location
from ava_jax.data.remote.location import RemotePath

Folder = pathlib.Path | RemotePath
# Data of other tasks, by what lies below their folder, and who draws it.
_OTHERS = {
    "*_sbs/obj": "has meshes of bodies, of mesh fitting, not captures; ava train --config=mesh_fit draws them while it trains.",
    "depth_and_normals.npz": "has examples of shapes, of LDIF, not captures; ava ldif sheet draws shapes.",
    "*-of-*.safetensors": "has packed examples of shapes, of LDIF, not captures; ava ldif sheet draws shapes.",
}
_LEVELS = 4  # below a folder


def find(words: Sequence[str]) -> list[Folder]:
    """Folders of captures at or below paths and URLs, each once.

    Raises:
      ValueError: a path is no folder, or has no capture; the message says whose data it has instead.
    """
    found: list[Folder] = []
    for word in words:
        if not location.is_url(word):
            found += [pathlib.Path(os.path.abspath(folder)) for folder in _below(location.at(word))]  # "." has a name too
            continue
        # A capture's name and the topology beside it are known by the folder that it is in.
        parent, _, name = word.rstrip("/").rpartition("/")
        capture = location.at(parent) / name if location.is_url(parent) and name else None
        if capture is not None and (capture / "decoder" / folders.CALIBRATION).is_file():
            found.append(capture)
        else:
            found += _listed(word)
    return list(dict.fromkeys(found))


def _below(folder: pathlib.Path) -> list[pathlib.Path]:
    """Folders of the captures at or below one. Raises as `find`."""
    try:
        return tree.find([folder])
    except ValueError:
        for name, words in _OTHERS.items() if folder.is_dir() else ():
            if any(next(folder.glob(f"{'*/' * levels}{name}"), None) for levels in range(_LEVELS + 1)):
                raise ValueError(f"{folder}: {words}") from None
        raise


def _listed(url: str) -> list[RemotePath]:
    """Folders of the captures below a URL.

    Raises:
      ValueError: the server lists none.
    """
    try:
        return folders.find(location.at(url), "")
    except ValueError as e:
        raise ValueError(
            f"{url}: no capture, and no folder that the server lists captures of; name one, as in {url.rstrip('/')}/20230324--0820--AEY864."
        ) from e


def run(
    captures: Sequence[Folder], out: pathlib.Path, request: Request, *, topology: Folder | None, threads: int, resume: bool
) -> dict[str, str]:
    """Draws captures into folders of their names, and of several a page that leads to all.

    Args:
      captures: their folders.
      out: gets a folder for each.
      request: what is to be drawn.
      topology: OBJ of the meshes; None: `face_topology.obj` beside each capture.
      threads: that read.
      resume: whether captures that were drawn by the same request before are left as they are.

    Returns:
      Why captures were not drawn, by name; of several captures, of which some were.

    Raises:
      ValueError: `out` lies in a capture or holds something else, two captures have one name, or none could be drawn.
    """
    _require_apart(captures, out)
    summaries: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with tqdm.tqdm(captures, desc="captures", unit="capture", dynamic_ncols=True, leave=False, disable=len(captures) < 2) as bar:
        for folder in bar:
            name = folder.name
            try:
                summary = _before(folder, out / name, request) if resume else None
                if summary is None:
                    summary = _draw(folder, out / name, request, topology, threads)
            except ValueError as e:
                if len(captures) == 1:
                    raise
                failed[name] = str(e)
                bar.write(f"{name}: not drawn: {e}", file=sys.stderr)
                continue
            summaries.append(summary)
            bar.write("\n".join([*inspecting.lines(summary), f"  wrote {out / name / INDEX}"]), file=sys.stdout)
    if not summaries:
        raise ValueError(f"none of {len(captures)} captures could be drawn.")
    if len(captures) > 1:
        thumbnails = {one["capture"]: Image.open(path) for one in summaries if (path := out / one["capture"] / THUMBNAIL).is_file()}
        files.replace(out / INDEX, page.overview(summaries, thumbnails, failed))
        print(f"wrote {out / INDEX}")
    return failed


def _draw(folder: Folder, out: pathlib.Path, request: Request, topology: Folder | None, threads: int) -> dict[str, Any]:
    """Draws one capture and writes it; its summary."""
    inspecting.require_ours(out)
    if not isinstance(folder, RemotePath):
        if not (folder / "decoder").is_dir() and not tree.is_multiface(folder):
            raise ValueError(f"{folder}: has no decoder/, the dome's part; the headset's, encoder/, is not drawn.")
    drawn = inspecting.draw(Subject(folder, topology=topology, threads=threads), request)
    inspecting.write(drawn, out)
    return drawn.summary


def _before(folder: Folder, out: pathlib.Path, request: Request) -> dict[str, Any] | None:
    """The summary of what the same request wrote before; None where it did not, or not to the end."""
    try:
        summary = json.loads((out / SUMMARY).read_text())
        whole = all((out / name).is_file() for name in summary["written"])
        same = summary["folder"] == str(folder) and summary["request"] == json.loads(json.dumps(inspecting.record(request)))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return summary if whole and same and summary["format"] == inspecting.FORMAT else None


def _require_apart(captures: Sequence[Folder], out: pathlib.Path) -> None:
    """Refuses an `out` that is a file or in a capture, and captures that would be written to one folder."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out={out}: is a file; name a folder.")
    seen: dict[str, Folder] = {}
    for folder in captures:
        if (other := seen.setdefault(folder.name, folder)) is not folder:
            raise ValueError(f"{other} and {folder} are of one name, and would be written to one folder; inspect them one after the other.")
        if not isinstance(folder, RemotePath) and out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"--out={out} lies in the capture {folder}, in which nothing is written; choose another, as in --out=inspect.")
