"""Avatars seen: a person's own expressions or another's, through a camera of the capture or one that orbits the head."""

import jax
import numpy as np

from ava_jax.core.types import Array, Batch, Cameras
from ava_jax.tasks.ava256.model.codec import AvatarCodec, cameras_of
from ava_jax.tasks.ava256.model.encoders import IdentityCode


def encode_identity(model: AvatarCodec, batch: Batch) -> IdentityCode:
    """Identity codes of a batch's people, from their neutral faces."""
    return model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])


def encode_expression(model: AvatarCodec, batch: Batch) -> jax.Array:
    """Expression codes of a batch: means, [B, 4, 4, 16]."""
    return model.encode_expression(batch["texture"], batch["vertices"], batch["neutral_texture"], batch["neutral_vertices"])[0]


def drive(model: AvatarCodec, code: IdentityCode, identity: Array, driver: Batch, behind: Array | None = None) -> jax.Array:
    """People with the expressions and cameras of others.

    Args:
      code: of the people shown, B of them.
      identity: int32 [B], theirs: chooses colour calibration and background.
      driver: batch of B whose expressions and cameras are taken.
      behind: what `background` gave for these, where it is known already: it is the same for all frames of a camera.

    Returns:
      [B, H, W, 3], 0-255, not clipped; the size of `driver`'s images.
    """
    height, width = driver["image"].shape[1:3]
    decoded = model.decode(code, encode_expression(model, driver), driver["camera_position"])
    rgba = model.render(decoded.primitives, cameras_of(driver), height, width)
    return model.calibrate_and_composite(rgba, driver["camera"], identity, background=behind)


def background(model: AvatarCodec, identity: Array, driver: Batch) -> jax.Array:
    """What stands behind people [B] in the driver's pictures: [B, H, W, 3], 0-255."""
    return model.background_image(driver["camera"], identity, *driver["image"].shape[1:3])


def orbit(camera: Cameras, center: Array, angles: Array, height: int, width: int) -> Cameras:
    """A camera carried around a head, about the axis through the head's centre that is upright in its picture.

    The picture is shifted so that the centre lies in its middle.

    Args:
      camera: without leading axes.
      center: [3], mm, head space.
      angles: [A], radians; 0 is the camera's own place, positive moves it to its right.
      height, width: of the picture, pixels.

    Returns:
      Cameras with a leading axis A, f32.
    """
    rotation, center = np.asarray(camera.rotation, np.float64), np.asarray(center, np.float64)
    offset = np.asarray(camera.position, np.float64) - center
    seen = rotation @ -offset
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    principal = middle - seen[:2] / seen[2] * np.asarray(camera.focal, np.float64)
    up = -rotation[1]
    turns = np.stack([_rotation_about(up, angle) for angle in np.asarray(angles)])
    count = len(turns)
    return Cameras(
        rotation=(rotation @ turns.transpose(0, 2, 1)).astype(np.float32),
        position=(center + turns @ offset).astype(np.float32),
        focal=np.tile(np.asarray(camera.focal, np.float32), (count, 1)),
        principal=np.tile(principal.astype(np.float32), (count, 1)),
    )


def _rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation by `angle` about a unit axis, right-handed (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
