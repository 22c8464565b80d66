"""Avatars seen through a camera of the capture, with a person's own expressions or another's: functions of a model, to be compiled."""

import jax

from ava_jax.core.types import Array, Batch
from ava_jax.tasks.ava256.model.codec import AvatarCodec, cameras_of
from ava_jax.tasks.ava256.model.encoders import IdentityCode


def encode_identity(model: AvatarCodec, batch: Batch) -> IdentityCode:
    """Identity codes of a batch's people, from their neutral faces."""
    return model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])


def encode_expression(model: AvatarCodec, batch: Batch) -> jax.Array:
    """Expression codes of a batch: means, [B, 4, 4, 16]."""
    return model.encode_expression(batch["texture"], batch["vertices"], batch["neutral_texture"], batch["neutral_vertices"])[0]


def drive(model: AvatarCodec, code: IdentityCode, identity: Array, driver: Batch) -> jax.Array:
    """People with the expressions and cameras of others.

    Args:
      code: of the people shown, B of them.
      identity: int32 [B], theirs: chooses colour calibration and background.
      driver: batch of B whose expressions and cameras are taken.

    Returns:
      [B, H, W, 3], 0-255, not clipped; the size of `driver`'s images.
    """
    height, width = driver["image"].shape[1:3]
    decoded = model.decode(code, encode_expression(model, driver), driver["camera_position"])
    rgba = model.render(decoded.primitives, cameras_of(driver), height, width)
    return model.calibrate_and_composite(rgba, driver["camera"], identity)
