"""Scores of held-out images: over the whole image, and over the face."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array, Batch
from ava_jax.metrics import image as metrics
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.base import Score

_OF_AN_IMAGE = (Score("psnr", True, "dB"), Score("ssim", True, digits=4), Score("l1", False, "of 255"))
DECLARED = (*_OF_AN_IMAGE, *(dataclasses.replace(score, name=f"face_{score.name}") for score in _OF_AN_IMAGE))

NOT_FACE = (0, 3)  # labels of `segmentation_parts`: background, chair


def face_mask(segmentation: Array) -> Array:
    """Pixels of the person, bool [B, H, W]: neither background nor chair. Of captures without a chair: all whose label is not 0."""
    return (segmentation != NOT_FACE[0]) & (segmentation != NOT_FACE[1])


def predict(model: AvatarCodec, batch: Batch, size: tuple[int, int]) -> dict[str, Any]:
    """The model's picture of each sample and, where there are photographs, how good it is.

    Args:
      model: the codec.
      batch: of a capture's source; `image` and `segmentation` [B, H, W] may be missing.
      size: height and width of pictures where there are no photographs.

    Returns:
      `image`, f32 [B, H, W, 3], about 0-255; and `scores`, by name [B], where the batch has `image` and `segmentation`: computed here,
      as a device does it hundreds of times as fast as the host.
    """
    image = model.reconstruct(batch, batch["image"].shape[1:3] if "image" in batch else size)
    if "image" not in batch or "segmentation" not in batch:
        return {"image": image}
    return {"image": image, "scores": scores(image, batch)}


def scores(image: Array, batch: Batch) -> dict[str, jax.Array]:
    """`psnr`, `ssim`, `l1` and the same over the face, `face_psnr`, ...: [B] each, of pictures [B, H, W, 3].

    A camera or a person not seen in training (index below 0) has no background and the mean colour calibration of those that were: it
    is scored over the face alone, its whole-image scores are NaN. So are the face's scores of an image that shows none.
    """
    truth = batch["image"]
    whole = metrics.scores(image, truth)
    face = metrics.scores(image, truth, face_mask(batch["segmentation"]))
    seen = (batch["camera"] >= 0) & (batch["identity"] >= 0)
    return {
        **{name: jnp.where(seen, values, jnp.nan) for name, values in whole.items()},
        **{f"face_{name}": values for name, values in face.items()},
    }


def on_host(prediction: dict[str, Any]) -> dict[str, np.ndarray]:
    """The scores of a prediction, brought to the host: name -> [B].

    Raises:
      ValueError: the batch had no photographs.
    """
    if "scores" not in prediction:
        raise ValueError("ava256: samples without image and segmentation cannot be scored.")
    return {name: np.asarray(values) for name, values in prediction["scores"].items()}
