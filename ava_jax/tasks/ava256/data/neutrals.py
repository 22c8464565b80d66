"""The neutral faces of a run's people, in one file beside its checkpoints, so that a trained avatar needs no captures.

Identity codes are computed from them. The codes themselves would be 62 MB a person at full size; a neutral face is the capture's own two
files, bytes as they are: about 180 KB at 1024 x 1024, 47 MB for 256 people.
"""

import pathlib
import zipfile
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import ava256 as layout
from ava_jax.core.types import Assets
from ava_jax.data import archive, images, mesh_files

FILE = "neutrals.zip"
_TEXTURE, _VERTICES = "texture.avif", "vertices.ply"


class Neutral(NamedTuple):
    """Neutral faces of B people.

    Attributes:
      texture: u8 [B, T, T, 3].
      vertices: f32 [B, V, 3], mm, head space.
    """

    texture: np.ndarray
    vertices: np.ndarray


def write(config: ConfigDict, assets: Assets, folder: pathlib.Path) -> None:
    """Writes FILE into `folder`, whole or not at all, unless it is there and has everyone.

    Raises:
      ValueError: a capture is missing, or has no neutral face.
    """
    path = folder / FILE
    people = assets.names["identities"]
    if path.is_file() and set(people) <= _people(path):
        return
    captures = {found.name: found for found in layout.find(config.data.root, config.data.ids)}
    if missing := [name for name in people if name not in captures]:
        raise ValueError(f"{config.data.root}: has no capture {missing[0]}, whose neutral face belongs to the run.")
    members = []
    for name in people:
        texture, vertices = _files(layout.load(captures[name]))
        members += [(f"{name}/{_TEXTURE}", texture), (f"{name}/{_VERTICES}", vertices)]
    partial = path.with_name(f".{FILE}.partial")
    archive.write(partial, members)
    partial.replace(path)


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
            texture, vertices = file.read(f"{name}/{_TEXTURE}"), file.read(f"{name}/{_VERTICES}")
        return Neutral(images.decode(texture, (size, size))[None], mesh_files.read_vertices(vertices)[None])
    except FileNotFoundError as e:
        raise ValueError(f"{path}: no such file; ava-train writes it when it starts: copy it along with the checkpoints.") from e
    except KeyError as e:
        raise ValueError(f"{path}: has no neutral face of {name}.") from e
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise ValueError(f"{path}: the neutral face of {name} cannot be read ({e}).") from e


def _people(path: pathlib.Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as file:
            return {name.partition("/")[0] for name in file.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()  # written anew


def _files(capture: layout.Capture) -> tuple[bytes, bytes]:
    """Texture and mesh of the first frame of the neutral segment that has both, as they are on disk."""
    archives = archive.Archives()
    for frame in capture.frames[capture.segments == layout.NEUTRAL].tolist():
        texture, vertices = archives.read(capture.texture, frame), archives.read(capture.vertices, frame)
        if texture is not None and vertices is not None:
            return texture, vertices
    raise ValueError(f"{capture.decoder}: no frame of {layout.NEUTRAL} has both vertices and texture, so there is no neutral face.")
