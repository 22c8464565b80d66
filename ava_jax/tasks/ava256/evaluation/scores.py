"""Scores of held-out images: over the whole image, and over the face."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array, Batch
from ava_jax.metrics import image as metrics
from ava_jax.tasks.ava256.model.codec import AvatarCodec

NOT_FACE = (0, 3)  # labels of `segmentation_parts`: background, chair


def face_mask(segmentation: Array) -> Array:
    """Pixels of the person, bool [B, H, W]: neither background nor chair. Of captures without a chair: all whose label is not 0."""
    return (segmentation != NOT_FACE[0]) & (segmentation != NOT_FACE[1])


def scores(model: AvatarCodec, batch: Batch) -> dict[str, jax.Array]:
    """`psnr`, `ssim`, `l1` and the same over the face, `face_psnr`, ...: [B] each.

    A camera that was not seen in training (index -1) has no background and the mean colour calibration of those that were: it is
    scored over the face alone, its whole-image scores are NaN. So are the face's scores of an image that shows none.
    """
    truth = batch["image"]
    rendered = model.reconstruct(batch)
    whole = metrics.scores(rendered, truth)
    face = metrics.scores(rendered, truth, face_mask(batch["segmentation"]))
    seen = batch["camera"] >= 0
    return {
        **{name: jnp.where(seen, values, jnp.nan) for name, values in whole.items()},
        **{f"face_{name}": values for name, values in face.items()},
    }
