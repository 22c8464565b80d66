"""The neutral faces of a run's people, in one file beside its checkpoints, so that a trained avatar needs no captures.

Identity codes are computed from them. The codes themselves would be 62 MB per person at full size; a neutral face is the capture's own
two files, bytes as they are: about 180 KB at 1024 x 1024, 47 MB for 256 people.
"""

import pathlib
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures import reading, statistics
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Assets
from ava_jax.data import archive, images, mesh_files

FILE = "neutrals.zip"
_MOST_BYTES = 1 << 27  # of a neutral face's texture or mesh
_TEXTURE, _VERTICES = "texture.avif", "vertices.ply"


class Neutral(NamedTuple):
    """Neutral faces of B people.

    Attributes:
      texture: u8 [B, T, T, 3].
      vertices: f32 [B, V, 3], mm, head space.
    """

    texture: np.ndarray
    vertices: np.ndarray


def write(captures: CaptureSet, assets: Assets, folder: pathlib.Path, *, kept: str = "", fill_unseen: bool = True) -> None:
    """Writes FILE into `folder`, whole or not at all, unless it is there and has everyone.

    Imported weights know people whose captures are not at hand, or not whole: those are left out, and a line says how many.

    Args:
      captures: those at hand.
      assets: the run's, whose identities are wanted.
      folder: the run's.
      fill_unseen: as of `CaptureSource`.
      kept: the folder of another run, whose file has those of them who have no capture at hand; "": of none.

    Raises:
      ValueError: all of the run's people have captures at hand, and one of these has no neutral face.
    """
    path = folder / FILE
    people = assets.names["identities"]
    if path.is_file() and set(people) <= names(folder):
        return
    known = captures.by_name
    members = _kept(pathlib.Path(kept), [name for name in people if name not in known]) if kept else []
    for name in filter(known.__contains__, people):
        try:
            members += _members(captures, name, assets, fill_unseen)
        except ValueError:
            if set(people) <= set(known):
                raise
    there = len(members) // 2
    if there < len(people):
        captures.say(
            f"{path}: has the neutral faces of {there} of {len(people)} people; captures of the others are not at hand, or not whole"
        )
    archive.write(path, members)


def _members(captures: CaptureSet, name: str, assets: Assets, fill_unseen: bool) -> list[tuple[str, bytes]]:
    capture = captures.by_name[name]
    frame = reading.neutral_frame(captures.archives, capture)
    if capture.data_set:
        return _drawn(captures, name, frame, np.asarray(assets.arrays["texture_mean"], np.float32), fill_unseen)
    found = []
    for member, source in ((_TEXTURE, capture.texture), (_VERTICES, capture.vertices)):
        content = captures.archives.read(source, frame)
        if content is None:
            raise ValueError(f"{source}: frame {frame}, a neutral face, is no longer in the zip.")
        found.append((f"{name}/{member}", content))
    return found


def _drawn(captures: CaptureSet, name: str, frame: int, texture_mean: np.ndarray, fill_unseen: bool) -> list[tuple[str, bytes]]:
    """Of captures whose files are of other kinds: the texture as the model sees it, f32 mean [T, T, 3] where nobody saw it, and a PLY."""
    capture = captures.by_name[name]
    (mean,) = statistics.vertex_means([capture.vertices_mean])
    size = {"texture_size": len(texture_mean), "vertices": len(mean)}
    reader = reading.Reader(
        captures.archives, downsample=1, segmentation=False, frames_kept=1, unseen=texture_mean if fill_unseen else None, **size
    )
    try:
        texture, vertices = reader.surface(capture, frame)
    except reading.Unreadable as e:
        raise ValueError(f"the neutral face of {name} cannot be read: {e}") from e
    # Readers go by what is in a member, not by its name.
    return [(f"{name}/{_TEXTURE}", images.encode(texture, "png")), (f"{name}/{_VERTICES}", mesh_files.write_vertices(vertices))]


def names(folder: pathlib.Path) -> set[str]:
    """The people whose neutral faces a run's folder has; none where the file is missing, or no zip."""
    try:
        with zipfile.ZipFile(folder / FILE) as file:
            return {name.partition("/")[0] for name in file.namelist()}
    except Exception:  # zipfile raises many kinds on nonsense; as good as none: written anew, and `read` says what is wrong
        return set()


def _kept(folder: pathlib.Path, people: Sequence[str]) -> list[tuple[str, bytes]]:
    """Members of another run's file, of those of these people whom it has."""
    path = folder / FILE
    there = names(folder)
    if not any(name in there for name in people):
        return []
    with zipfile.ZipFile(path) as file:
        return [(f"{name}/{one}", _member(file, f"{name}/{one}")) for name in people if name in there for one in (_TEXTURE, _VERTICES)]


def read(folder: pathlib.Path, name: str, size: int) -> Neutral:
    """A person's neutral face, B = 1.

    Args:
      folder: a run's.
      name: one of the run's identities.
      size: T, texels.

    Raises:
      ValueError: the file is missing or damaged, or lacks the person.
    """
    path = folder / FILE
    try:
        with zipfile.ZipFile(path) as file:
            texture, vertices = _member(file, f"{name}/{_TEXTURE}"), _member(file, f"{name}/{_VERTICES}")
        return Neutral(images.decode(texture, (size, size))[None], mesh_files.read_vertices(vertices)[None])
    except FileNotFoundError as e:
        raise ValueError(f"{path}: no such file; ava-train writes it when it starts: copy it along with the checkpoints.") from e
    except KeyError as e:
        raise ValueError(f"{path}: has no neutral face of {name}.") from e
    except Exception as e:  # zipfile raises many kinds on nonsense
        raise ValueError(f"{path}: the neutral face of {name} cannot be read ({' '.join(str(e).split())[:300]}).") from e


def _member(file: zipfile.ZipFile, name: str) -> bytes:
    """A member's content; raises KeyError where it is not there, ValueError where it claims to be larger than any face."""
    if file.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} has {file.getinfo(name).file_size} bytes")
    return file.read(name)
