"""Scores of held-out images: over the whole image, the face and the parts of the segmentation; and of the meshes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.metrics import image as metrics
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.base import Score

NOT_FACE = (0, 3)  # labels of `segmentation_parts`: background, chair
PARTS = {
    **{"hair": 1, "body": 2, "apparel": 4, "lenses": 5, "upper_lip": 6, "lower_lip": 7},
    **{"upper_teeth": 8, "lower_teeth": 9, "tongue": 10},
}

_OF_AN_IMAGE = (
    Score("psnr", True, "dB", what="10 log10(255^2 / mean squared error)"),
    Score("ssim", True, digits=4, what="Gaussian window 11 x 11, sigma 1.5, K 0.01 and 0.03, mean over whole windows and channels"),
    Score("l1", False, "of 255", what="mean absolute difference"),
)
_WHOLE = "all pixels, where camera and person were seen in training"
_FACE = "pixels whose label is neither background (0) nor chair (3)"
_CORRECTED = "after a gain and an offset per channel, fitted to the photograph over the same pixels"


def _of(region: str, prefix: str, where: str, *, main: bool) -> tuple[Score, ...]:
    return tuple(
        Score(f"{prefix}{s.name}", s.higher_is_better, s.unit, s.digits, main=main, row=region, column=s.name, what=f"{s.what}; {where}")
        for s in _OF_AN_IMAGE
    )


def _of_part(part: str, label: int) -> tuple[Score, ...]:
    """Without SSIM: most parts are smaller than a window."""
    return tuple(score for score in _of(part, f"{part}_", f"pixels of label {label}", main=False) if score.column != "ssim")


DECLARED = (
    *_of("image", "", _WHOLE, main=True),
    *_of("face", "face_", _FACE, main=True),
    Score("vertex_error", False, "mm", what="mean distance of decoded from tracked vertices, over the vertices that faces use"),
    *_of("image, colours corrected", "cc_", f"{_WHOLE}; {_CORRECTED}", main=False),
    *_of("face, colours corrected", "face_cc_", f"{_FACE}; {_CORRECTED}", main=False),
    *(score for part, label in PARTS.items() for score in _of_part(part, label)),
)


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
      `image`, f32 [B, H, W, 3], about 0-255; and where the batch has `image` and `segmentation`, `scores`, by name [B], computed here, as a
      device does it hundreds of times as fast as the host, and `vertex_distances`, f32 [B, V], mm, of decoded from tracked vertices.
    """
    image, vertices = model.reconstruct_with_mesh(batch, batch["image"].shape[1:3] if "image" in batch else size)
    if "image" not in batch or "segmentation" not in batch:
        return {"image": image}
    distances = jnp.linalg.norm(vertices - batch["vertices"], axis=-1)
    return {"image": image, "scores": scores(image, batch), "vertex_distances": distances}


def scores(image: Array, batch: Batch) -> dict[str, jax.Array]:
    """What of DECLARED is of pictures [B, H, W, 3]: name -> [B].

    A camera or a person not seen in training (index below 0) has no background and the mean colour calibration of those that were: it
    is scored over the face alone, its whole-image scores are NaN. So are the face's scores of an image that shows none.
    """
    truth, seen = batch["image"], known(batch)
    face = face_mask(batch["segmentation"])
    whole = _raw_and_corrected(image, truth, None)
    parts = metrics.by_label(image, truth, batch["segmentation"], tuple(PARTS.values()))
    return {
        **{name: jnp.where(seen, values, jnp.nan) for name, values in whole.items()},
        **{f"face_{name}": values for name, values in _raw_and_corrected(image, truth, face).items()},
        **{f"{part}_{name}": values[:, i] for name, values in parts.items() for i, part in enumerate(PARTS)},
    }


def known(batch: Batch) -> Array:
    """Samples whose camera and person were seen in training, bool [B]: those with a background and colours of their own."""
    return (batch["camera"] >= 0) & (batch["identity"] >= 0)


def _raw_and_corrected(image: Array, truth: Array, mask: Array | None) -> dict[str, jax.Array]:
    """`psnr`, `ssim`, `l1` of the pictures as they are, and as "cc_" in the photographs' colours: computed as one batch."""
    corrected = metrics.colour_corrected(image, truth, mask)
    twice = None if mask is None else jnp.concatenate([mask, mask])
    both = metrics.scores(jnp.concatenate([image, corrected]), jnp.concatenate([truth, truth]), twice)
    count = len(truth)
    return {name: values[:count] for name, values in both.items()} | {f"cc_{name}": values[count:] for name, values in both.items()}


def vertex_error(distances: Array, faces: Array) -> np.ndarray:
    """Mean of the distances [B, V] over the vertices that faces [M, 3] use: [B].

    What no face uses is never seen, and a model of this kind decodes nothing of its own there.
    """
    return np.asarray(distances)[:, np.unique(np.asarray(faces))].mean(1)


def on_host(prediction: dict[str, Any], assets: Assets) -> dict[str, np.ndarray]:
    """The scores of a prediction, brought to the host: name -> [B].

    Raises:
      ValueError: the batch had no photographs.
    """
    if "scores" not in prediction:
        raise ValueError("ava256: samples without image and segmentation cannot be scored.")
    found = {name: np.asarray(values) for name, values in prediction["scores"].items()}
    return found | {"vertex_error": vertex_error(prediction["vertex_distances"], assets.arrays["faces"])}
