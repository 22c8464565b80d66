"""A segment of a trained avatar as a page: who is shown, what the face does, and the cameras that it is baked from."""

import pathlib
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Cameras
from ava_jax.tasks.ava256.apps.avatar import PORTRAIT_MARGIN, Avatar
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.ava256.webpage import page
from ava_jax.tasks.ava256.webpage.bake import Baked, bake
from ava_jax.tasks.base import Compile

# Degrees: azimuth, elevation. The first one is where colours are exact.
_VIEWS = (
    (0, 0), (40, 0), (-40, 0), (80, 0), (-80, 0), (125, 0), (-125, 0), (180, 0),
    (0, 35), (60, 35), (-60, 35), (0, -35), (60, -35), (-60, -35),
)  # fmt: skip
_DISTANCE = 1000.0  # mm


class Segment(NamedTuple):
    """What is shown.

    Attributes:
      identity: of one person.
      name: the person's, if it was trained on: whose colour calibration is taken; None: the mean.
      codes: f32 [F, 4, 4, 16].
      title: of the page.
      about: a line in the page's corner.
    """

    identity: IdentityCode
    name: str | None
    codes: np.ndarray
    title: str
    about: str


def bake_segment(avatar: Avatar, config: ConfigDict, segment: Segment, *, rank: int = 8) -> Baked:
    """Bakes a segment, seen from all around.

    Args:
      avatar: that `segment.identity` is of.
      config: its run's.
      rank: components of the voxels.

    Raises:
      ValueError: nothing is seen.
    """
    slab = config.model.primitives_per_side * config.model.primitive_side
    height = min(2 * slab, 1536)  # two pixels a texel of a head that fills the picture, about; one at full size
    width = 3 * height // 4

    def decode(frame: int, position: np.ndarray):
        return avatar.decode(segment.identity, segment.codes[frame : frame + 1], position[None]).primitives

    cameras = views(avatar, height, width)
    return bake(
        decode, len(segment.codes), cameras, (height, width), step_size=config.model.step_size, radius=config.model.volume_radius, rank=rank
    )


def views(avatar: Avatar, height: int, width: int) -> Cameras:
    """The cameras [V] that a segment is baked from."""
    azimuth, elevation = np.array(_VIEWS, np.float64).T
    return avatar.portrait(height, width, azimuth=azimuth, elevation=elevation, distance=_DISTANCE)


def write_page(
    out: pathlib.Path,
    avatar: Avatar,
    config: ConfigDict,
    compile_model: Compile,
    segment: Segment,
    baked: Baked,
    *,
    fps: float,
    background: tuple[int, int, int],
) -> int:
    """Writes the page of a baked segment; returns its bytes.

    Raises:
      OSError: it cannot be written.
    """
    gain, offset = calibration(avatar, compile_model, segment.name)
    box = avatar.box
    return page.write(
        out,
        baked,
        page.Page(
            title=segment.title,
            about=segment.about,
            fps=fps,
            background=background,
            gain=gain,
            offset=offset,
            step_size=config.model.step_size,
            radius=config.model.volume_radius,
            middle=avatar.middle,
            size=(float(box[0]), float(box[1])),
            margin=PORTRAIT_MARGIN,
            distance=_DISTANCE,
        ),
    )


def calibration(avatar: Avatar, compile_model: Compile, name: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Gain and offset [3] of a person's colours, 0-255, seen by the mean camera; of the mean person for None."""

    def both(model: AvatarCodec, camera, identity):
        black = jnp.zeros((1, 1, 1, 3))
        offset = model.calibration(black, camera, identity)
        return jnp.concatenate([model.calibration(black + 1.0, camera, identity) - offset, offset], axis=1)

    index = -1 if name is None else avatar.identities.index(name)
    gain, offset = np.asarray(compile_model(both)(np.array([-1], np.int32), np.array([index], np.int32)))[0, :, 0]
    return gain, offset
