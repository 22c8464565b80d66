"""Pictures in order: people in expressions, seen by cameras that may move, one by one, in a grid, or beside the truth."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from ava_jax.core.pixels import to_uint8
from ava_jax.core.types import Cameras
from ava_jax.tasks.ava256.apps import camera_paths
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.expressions import Mix
from ava_jax.tasks.ava256.apps.people import Person
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.viz import sheet

T, R = TypeVar("T"), TypeVar("R")
_BLACK = np.zeros(3, np.float32)


@dataclasses.dataclass(frozen=True)
class Look:
    """How pictures are drawn.

    Attributes:
      height, width: of a picture, pixels.
      camera: name of the row of the rig's cameras whose colour calibration is taken, None: the mean of all.
      background: LEARNED, which is black where the person or the camera was not seen in training; None is transparent; else a colour [3]
        or a picture [height, width, 3], 0-255.
    """

    height: int
    width: int
    camera: str | None
    background: str | np.ndarray | None


class Mixed(NamedTuple):
    """People blended into each other from moment to moment: `mix` of `people`, in order."""

    people: Sequence[Person]
    mix: Mix

    def at(self, moment: int) -> tuple[IdentityCode, list[tuple[Person, float]]]:
        """The code, and whose colour calibration and background to take, with weights that sum to 1."""
        first, second, weight = (part[moment] for part in self.mix)
        one, other = self.people[first], self.people[second]
        if weight == 0 or first == second:
            return one.code, [(one, 1.0)]
        code = jax.tree.map(lambda a, b: (1 - weight) * a + weight * b, one.code, other.code)
        return code, [(one, 1 - float(weight)), (other, float(weight))]


def alone(person: Person, count: int) -> Mixed:
    """The same person all the time."""
    return Mixed([person], Mix(np.zeros(count, int), np.zeros(count, int), np.zeros(count)))


class Cell(NamedTuple):
    """A picture's place in a grid: who, codes [A, 4, 4, 16] and cameras [A]."""

    subject: Mixed
    codes: np.ndarray
    cameras: Cameras


def _drawn(avatar: Avatar, cell: Cell, moment: int, look: Look) -> jax.Array:
    """One picture, f32 [1, H, W, 4], as `Avatar.render` gives it."""
    identity, shares = cell.subject.at(moment)
    camera = camera_paths.at(cell.cameras, moment)
    decoded = avatar.decode(identity, cell.codes[moment : moment + 1], camera.position)
    total = None
    for person, share in shares:  # calibration is linear: a blend of pictures is the blend's picture
        background = look.background
        if isinstance(background, str) and (person.known is None or look.camera is None or not avatar.has_background):
            background = _BLACK
        drawn = avatar.render(decoded, camera, look.height, look.width, identity=person.known, camera=look.camera, background=background)
        total = share * drawn if total is None else total + share * drawn
    return total


def grid(avatar: Avatar, cells: Sequence[Sequence[Cell | None]], count: int, look: Look) -> Iterator[np.ndarray]:
    """Rows of cells, moment by moment.

    Args:
      cells: rows of one length; None leaves a place empty.
      count: of moments.
      look: of every picture.

    Returns:
      An iterator over `count` pictures u8, [H', W', 3], or [H', W', 4], straight alpha, where it is transparent.
    """

    def draw(moment: int) -> list[list[jax.Array | None]]:
        return [[None if cell is None else _drawn(avatar, cell, moment, look) for cell in row] for row in cells]

    for rows in ahead(draw, range(count)):
        yield np.concatenate(
            [np.concatenate([_empty(look) if one is None else _as_bytes(one, look) for one in row], axis=1) for row in rows]
        )


def beside_truth(
    avatar: Avatar, row: Sequence[tuple[str, Cell]], truth: Callable[[int], tuple[str, np.ndarray]], titles: Sequence[str], look: Look
) -> Iterator[np.ndarray]:
    """The driver as he was, and beside it avatars with his expressions, with captions.

    Args:
      row: (caption, cell) of each avatar.
      truth: (caption, photograph u8 [H, W, 3]) of a moment.
      titles: of each moment.

    Returns:
      An iterator over pictures u8 [H', W', 3].
    """

    def draw(moment: int) -> list[jax.Array]:
        return [_drawn(avatar, cell, moment, look) for _, cell in row]

    for moment, drawn in enumerate(ahead(draw, range(len(titles)))):
        panels = [truth(moment), *((caption, _as_bytes(one, look)) for (caption, _), one in zip(row, drawn, strict=True))]
        strip = sheet.Strip(titles[moment], tuple(panels))
        yield np.asarray(sheet.compose([strip], columns=1, height=max(sheet.PANEL_HEIGHT, look.height)))


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`work` of each item, begun for the next one before one is handed out: the device works while the host writes."""
    waiting: list[R] = []
    for item in items:
        waiting.append(work(item))
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def near_square(items: Sequence[T]) -> list[list[T | None]]:
    """Rows of equal length, about as many as columns; the last row is filled up with None."""
    columns = int(np.ceil(np.sqrt(len(items))))
    rows = -(-len(items) // columns)
    filled = [*items, *[None] * (rows * columns - len(items))]
    return [filled[row * columns : (row + 1) * columns] for row in range(rows)]


def _empty(look: Look) -> np.ndarray:
    """A place where nobody is."""
    if look.background is None:
        return np.zeros((look.height, look.width, 4), np.uint8)
    behind = _BLACK if isinstance(look.background, str) else look.background
    return np.broadcast_to(np.rint(behind).astype(np.uint8), (look.height, look.width, 3))


def _as_bytes(drawn: jax.Array, look: Look) -> np.ndarray:
    """u8 [H, W, 4], [H, W, 3] where there is a background."""
    rgba = to_uint8(drawn)[0]
    return rgba if look.background is None else rgba[..., :3]
