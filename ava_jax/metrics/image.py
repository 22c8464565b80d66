"""How close a rendered image is to the photograph: PSNR, SSIM and L1 of each image, over all of it,
over a mask, or over the parts that labels name.

Built on dm_pix, whose values are scikit-image's; what is added here are masks, parts and colour correction.
"""

from collections.abc import Sequence

import dm_pix
import jax
import jax.numpy as jnp

from ava_jax.core.types import Array

WINDOW = 11  # side of SSIM's Gaussian window, pixels (Wang et al., Image Quality Assessment, 2004)
PSNR_LIMIT = 100.0  # dB, given to images that agree: an infinite one would swallow every mean
# Of a colour correction, of values in 0..1: below these there is nothing but rounding to fit.
_LEAST_VARIANCE, _LEAST_SLOPE = 1e-8, 1e-4


def psnr(image: Array, truth: Array, mask: Array | None = None) -> jax.Array:
    """Peak signal-to-noise ratio of each image.

    Args:
      image: [B, H, W, 3], 0-255; clipped to that range.
      truth: [B, H, W, 3], 0-255.
      mask: bool [B, H, W], the pixels that count; None = all.

    Returns:
      f32 [B], dB, PSNR_LIMIT at most. NaN where an image's mask is empty.

    Raises:
      ValueError: the shapes do not agree.
    """
    image, truth = _unit_range("psnr", image, truth, mask)
    return _decibels(dm_pix.mse(_only(image, mask), truth, ignore_nans=True))


def l1(image: Array, truth: Array, mask: Array | None = None) -> jax.Array:
    """Mean absolute difference of each image, in units of 0-255. Arguments, result and errors as for `psnr`."""
    image, truth = _unit_range("l1", image, truth, mask)
    return 255.0 * dm_pix.mae(_only(image, mask), truth, ignore_nans=True)


def ssim(image: Array, truth: Array, mask: Array | None = None) -> jax.Array:
    """Structural similarity of each image: the mean over the windows that lie in it whole (over those centred on the mask).

    Outside the mask the render is taken as right, so that a window across its border sees the errors inside alone.

    Arguments and result as for `psnr`.

    Raises:
      ValueError: the shapes do not agree, or an image is smaller than a window.
    """
    image, truth = _unit_range("ssim", image, truth, mask)
    if min(truth.shape[1:3]) < WINDOW:
        raise ValueError(f"ssim: images must be at least {WINDOW} x {WINDOW}, the window; got {truth.shape[1]} x {truth.shape[2]}.")
    border = WINDOW // 2
    inside = slice(border, -border)
    if mask is None:
        return dm_pix.ssim(image, truth, filter_size=WINDOW)
    similarity = dm_pix.ssim(jnp.where(mask[..., None], image, truth), truth, filter_size=WINDOW, return_map=True)
    return jnp.nanmean(_only(similarity, mask[:, inside, inside]), axis=(1, 2, 3))


def scores(image: Array, truth: Array, mask: Array | None = None) -> dict[str, jax.Array]:
    """All three by name. Arguments and errors as for `ssim`."""
    return {"psnr": psnr(image, truth, mask), "ssim": ssim(image, truth, mask), "l1": l1(image, truth, mask)}


def colour_corrected(image: Array, truth: Array, mask: Array | None = None) -> jax.Array:
    """The images in the photographs' colours: a gain and an offset of each channel of each image.

    Per channel, image = a truth + b is fitted by least squares over the pixels that count, and the correction is the inverse,
    (image - b) / a: gsplat's affine correction, of its `cc_psnr`, `cc_ssim` and `cc_lpips`. Fitted in this direction it does not lower the
    contrast of an image that is merely imprecise.

    Arguments and errors as for `psnr`.

    Returns:
      f32 [B, H, W, 3], clipped to 0-255. A channel that is flat in either, or whose fit has a slope near 0, is only moved to the mean.
    """
    image, truth = _unit_range("colour_corrected", image, truth, mask)
    axes = (1, 2)
    weight = jnp.ones((*truth.shape[:3], 1)) if mask is None else jnp.asarray(mask, jnp.float32)[..., None]
    count = jnp.maximum(weight.sum(axes, keepdims=True), 1.0)

    def mean(values: jax.Array) -> jax.Array:
        return (weight * values).sum(axes, keepdims=True) / count

    middle, level = mean(truth), mean(image)
    variance, shared = mean((truth - middle) ** 2), mean((truth - middle) * (image - level))
    slope = shared / jnp.maximum(variance, _LEAST_VARIANCE)
    slope = jnp.where(jnp.abs(slope) < _LEAST_SLOPE, 1.0, slope)
    return 255.0 * jnp.clip((image - level) / slope + middle, 0.0, 1.0)


def by_label(image: Array, truth: Array, labels: Array, wanted: Sequence[int]) -> dict[str, jax.Array]:
    """`psnr`, dB, and `l1`, of 255, of the pixels of each label.

    Args:
      image, truth: as for `psnr`.
      labels: u8 [B, H, W], of the photographs.
      wanted: N labels.

    Returns:
      name -> f32 [B, N]; NaN where an image has no pixel of a label.

    Raises:
      ValueError: the shapes do not agree.
    """
    image, truth = _unit_range("by_label", image, truth, labels)
    difference = image - truth
    squares, absolute = (difference**2).mean(-1), jnp.abs(difference).mean(-1)
    masks = [labels == label for label in wanted]  # a sum for each, all of which the compiler takes in one pass

    def mean(values: jax.Array) -> jax.Array:
        return jnp.stack([jnp.where(mask, values, 0.0).sum((1, 2)) / mask.sum((1, 2)) for mask in masks], axis=1)

    return {"psnr": _decibels(mean(squares)), "l1": 255.0 * mean(absolute)}


def _decibels(error: jax.Array) -> jax.Array:
    """PSNR of mean squared errors of values in 0..1."""
    return -10.0 * jnp.log10(jnp.maximum(error, 10.0 ** (-PSNR_LIMIT / 10.0)))


def _unit_range(who: str, image: Array, truth: Array, mask: Array | None) -> tuple[jax.Array, jax.Array]:
    """The images as f32 in 0..1, checked."""
    if image.ndim != 4 or image.shape != truth.shape:
        raise ValueError(f"{who}: image and truth must be [B, H, W, 3] alike; got {image.shape} and {truth.shape}.")
    if mask is not None and mask.shape != truth.shape[:3]:
        raise ValueError(f"{who}: mask must be [B, H, W] = {truth.shape[:3]}; got {mask.shape}.")
    return jnp.clip(jnp.asarray(image, jnp.float32), 0.0, 255.0) / 255.0, jnp.asarray(truth, jnp.float32) / 255.0


def _only(values: jax.Array, mask: Array | None) -> jax.Array:
    """`values` [B, H, W, C] with NaN, which the means pass over, outside the mask."""
    return values if mask is None else jnp.where(jnp.asarray(mask)[..., None], values, jnp.nan)
