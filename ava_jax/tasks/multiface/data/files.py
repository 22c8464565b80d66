"""What a sample needs of a capture's files, decoded: from the files as they are released, or from a packed copy of them (`packed`)."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ava_jax.captures.multiface import layout, recording
from ava_jax.captures.multiface.recording import Recording
from ava_jax.data import images
from ava_jax.data.frame_files import FrameFiles


class Unreadable(Exception):
    """A file is there and cannot be decoded; the message names it."""


class Shared(NamedTuple):
    """What all views of a frame share: average texture u8 [S, S, 3], rows turned; vertices f32 [V, 3], mm; head pose f64 [3, 4], mm."""

    average: np.ndarray
    vertices: np.ndarray
    pose: np.ndarray


class Reader(Protocol):
    """Reads by a frame's number and a camera's name. Safe from several threads."""

    def there(self, numbers: Sequence[int], camera: str = "", *, texture: bool = False, image: bool = False) -> np.ndarray:
        """Which frames have all that views share or, of a camera, its texture or image, as asked: bool [len(numbers)]."""

    def shared(self, number: int) -> Shared:
        """What views of a frame share; raises Unreadable."""

    def texture(self, number: int, camera: str) -> np.ndarray:
        """A camera's texture, u8 [S, S, 3], rows turned; raises Unreadable."""

    def image(self, number: int, camera: str) -> np.ndarray:
        """A camera's photograph, u8 [H, W, 3]; raises Unreadable."""


class Files:
    """Reads the files as they are released."""

    def __init__(self, found: Recording, texels: int, vertices: int, image_size: tuple[int, int]) -> None:
        """`texels`: S; `vertices`: V; `image_size`: (height, width) that photographs are resized to."""
        self._found, self._texels, self._vertices, self._image_size = found, texels, vertices, image_size

    def there(self, numbers: Sequence[int], camera: str = "", *, texture: bool = False, image: bool = False) -> np.ndarray:
        """As of `Reader`: bool [len(numbers)]; folders are listed, nothing is read."""
        found = self._found
        kinds = [found.vertices, found.head_pose, found.texture()] if not camera else []
        kinds += [found.texture(camera)] * texture + [found.image(camera)] * image
        return np.logical_and.reduce([np.ones(len(numbers), bool), *(kind.there(numbers) for kind in kinds)])

    def shared(self, number: int) -> Shared:
        """Average texture, vertices and head pose."""
        found = self._found
        return Shared(
            _decoded(found.texture(), number, self._unwrapped),
            _decoded(found.vertices, number, self._mesh),
            _decoded(found.head_pose, number, recording.pose),
        )

    def texture(self, number: int, camera: str) -> np.ndarray:
        """A camera's texture, u8 [S, S, 3], rows turned."""
        return _decoded(self._found.texture(camera), number, self._unwrapped)

    def image(self, number: int, camera: str) -> np.ndarray:
        """A camera's photograph, u8 [H, W, 3]."""
        size = self._image_size
        return _decoded(self._found.image(camera), number, lambda data: images.decode(data, size, whole=layout.SENSOR))

    def _unwrapped(self, data: bytes) -> np.ndarray:
        texture = images.decode(data, whole=(1, 1))
        if texture.shape[0] != self._texels:
            raise ValueError(f"a texture must have {self._texels} texels a side, as the mean one; it has {texture.shape[0]}")
        return texture[::-1]

    def _mesh(self, data: bytes) -> np.ndarray:
        vertices = recording.points(data)
        if len(vertices) != self._vertices:
            raise ValueError(f"a mesh must have {self._vertices} vertices, as the mean one; it has {len(vertices)}")
        return vertices


def _decoded(files: FrameFiles, number: int, decode: Callable[[bytes], Any]) -> Any:
    try:
        data = files.read(number)
        if data is None:
            raise ValueError("the file is no longer there")
        return decode(data)
    except ValueError as e:
        raise Unreadable(f"{files.path(number)}: {e}") from e


def sizes(folder: pathlib.Path) -> tuple[int, int]:
    """S and V of a capture, by its mean texture and mean mesh.

    Raises:
      ValueError: one cannot be read.
    """
    return len(turned(folder / layout.TEXTURE_MEAN)), len(recording.vertex_mean(folder / layout.VERTEX_MEAN))


def turned(path: pathlib.Path) -> np.ndarray:
    """A square picture u8 [S, S, 3], its rows turned: row 0 is v = 0.

    Raises:
      ValueError: it cannot be read, or is none.
    """
    try:
        found = images.decode(path.read_bytes(), whole=(1, 1))
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e
    if found.shape[0] != found.shape[1]:
        raise ValueError(f"{path}: must be square; it is {found.shape[0]} x {found.shape[1]}.")
    return np.ascontiguousarray(found[::-1])
