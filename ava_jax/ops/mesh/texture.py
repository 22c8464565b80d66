"""Textures read at pixels, from one level or between mip levels. Differentiable in texture, coordinates and level."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.mesh.checks import choose_native, require_axes
from ava_jax.ops.mesh.texture_jax import sample_texture_jax
from ava_jax.ops.per_image import call_per_image
from ava_jax.ops.varying import vary_together

_FILTERS, _WRAPS = ("nearest", "bilinear", "trilinear"), ("wrap", "clamp", "zero")


def sample_texture(
    texture: Array | Sequence[Array],
    uv: Array,
    *,
    filtering: str = "bilinear",
    wrap: str = "clamp",
    level: Array | None = None,
    where: Array | None = None,
    implementation: str | None = None,
) -> jax.Array:
    """Reads a texture at each pixel. Texel i of N is centred at (i + 0.5) / N; row 0 is at v = 0, its upper border.

    Works under jit, vmap and grad; the same bits from run to run, gradients included.

    Args:
      texture: f32 [B, S, T, C], S rows and T columns, or [S, T, C] for all images; for "trilinear" a list of mip levels, largest first,
        as `mipmaps` makes them.
      uv: f32 [B, H, W, 2], u along columns and v along rows, 0 to 1 across the texture.
      filtering: "nearest" texel, "bilinear", or "trilinear": bilinear in two levels, and linear between them.
      wrap: what lies outside: "wrap" repeats the texture, "clamp" continues its border, "zero" is 0.
      level: f32 [B, H, W] for "trilinear", 0 for the largest, as `texture_level` gives it; beyond the last, the last.
      where: bool [B, H, W]: 0 is returned elsewhere, and nothing read. None for everywhere.
      implementation: "native", "jax" or None, as in `rasterize`.

    Returns:
      [B, H, W, C]. Differentiable in texture, uv and level.

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.
    """
    uv = jnp.asarray(uv)
    _check_options(filtering, wrap, uv, level, where)
    texels, sizes = _pack(texture, len(uv))
    if (filtering == "trilinear") != (level is not None) or (len(sizes) > 1 and level is None):
        raise ValueError(f'sample_texture: levels belong to filtering="trilinear", and it needs `level`; got {filtering!r}.')
    b, h, w, _ = uv.shape
    use_native = choose_native("sample_texture", implementation, jnp.result_type(texels, uv))
    texels, uv, level, where = vary_together(texels, uv, level, None if where is None else jnp.asarray(where).astype(jnp.int32))
    flat = uv.reshape(b, h * w, 2)
    level = None if level is None else level.reshape(b, h * w)
    where = None if where is None else where.reshape(b, h * w) > 0
    within = "nearest" if filtering == "nearest" else "bilinear"
    if use_native:
        none = jnp.zeros(0, jnp.float32), jnp.zeros(0, bool)
        optional = none[0] if level is None else level, none[1] if where is None else where
        out = _native(tuple(sizes), within, wrap, w, texels, flat, *optional)
    else:
        texels = jnp.broadcast_to(texels, (b, *texels.shape[1:]))
        out = sample_texture_jax(texels, tuple(sizes), flat, level, where, within, wrap)
    return out.reshape(b, h, w, -1)


def mipmaps(texture: Array, levels: int | None = None) -> list[jax.Array]:
    """Halves a texture again and again, by means of 2 x 2 texels. Of an odd number of rows or columns, the last is left out.

    Args:
      texture: [..., S, T, C].
      levels: how many, the texture itself among them; None for all, down to a side of 1.

    Returns:
      Levels [..., S / 2^i, T / 2^i, C], i = 0, 1, ....

    Raises:
      ValueError: there are not so many levels.
    """
    out = [jnp.asarray(texture)]
    most = min(out[0].shape[-3:-1]).bit_length()
    if levels is not None and not 1 <= levels <= most:
        raise ValueError(f"mipmaps: levels must be 1 to {most} for a texture of {out[0].shape[-3:-1]}; got {levels}.")
    for _ in range((levels or most) - 1):
        x = out[-1]
        s, t = x.shape[-3] // 2, x.shape[-2] // 2
        x = x[..., : 2 * s, : 2 * t, :].reshape(*x.shape[:-3], s, 2, t, 2, x.shape[-1])
        out.append(x.mean((-4, -2)))
    return out


def texture_level(uv_derivatives: Array, height: int, width: int) -> jax.Array:
    """The mip level whose texels are as large as pixels: log2 of the longer side of a pixel in texels.

    Args:
      uv_derivatives: [..., 2, 2]: derivative of (u, v) by column and row, as `uv_derivatives` gives it.
      height, width: of level 0, texels.

    Returns:
      [...]. Not below -20; where nothing changes its gradient is 0.
    """
    texels = jnp.asarray(uv_derivatives) * jnp.asarray([width, height], jnp.result_type(uv_derivatives))[:, None]
    square = texels[..., 0, :] ** 2 + texels[..., 1, :] ** 2
    square = jnp.maximum(square[..., 0], square[..., 1])
    return 0.5 * jnp.log2(jnp.maximum(square, 2.0**-40))


def _check_options(filtering, wrap, uv, level, where) -> None:
    require_axes("sample_texture", "uv", uv, "B, H, W, 2", 4)
    if uv.shape[-1] != 2:
        raise ValueError(f"sample_texture: uv must be [B, H, W, 2]; got {uv.shape}.")
    for name, value, known in (("filtering", filtering, _FILTERS), ("wrap", wrap, _WRAPS)):
        if value not in known:
            raise ValueError(f"sample_texture: {name} must be one of {', '.join(known)}; got {value!r}.")
    for name, value in (("level", level), ("where", where)):
        if value is not None and jnp.shape(value) != uv.shape[:3]:
            raise ValueError(f"sample_texture: {name} must be [B, H, W] as uv is, {uv.shape[:3]}; got {jnp.shape(value)}.")


def _pack(texture, images: int) -> tuple[jax.Array, list[tuple[int, int]]]:
    """Levels one after the other, [B or 1, Q, C], and their sizes."""
    levels = [jnp.asarray(x) for x in (texture if isinstance(texture, (list, tuple)) else [texture])]
    levels = [x[None] if x.ndim == 3 else x for x in levels]
    for x in levels:
        require_axes("sample_texture", "texture", x, "B, S, T, C or S, T, C", 4)
        if len(x) not in (1, images) or x.shape[::3] != levels[0].shape[::3] or 0 in x.shape:
            raise ValueError(f"sample_texture: texture must be that of {images} images as uv is, or of all, and not empty; got {x.shape}.")
    packed = [x.reshape(len(x), -1, x.shape[-1]) for x in levels]
    return (packed[0] if len(packed) == 1 else jnp.concatenate(packed, 1)), [x.shape[1:3] for x in levels]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _native(sizes, filtering, wrap, width, texels, uv, level, where) -> jax.Array:
    return _forward(sizes, filtering, wrap, width, texels, uv, level, where)[0]


def _forward(sizes, filtering, wrap, width, texels, uv, level, where):
    del width
    channels = texels.shape[-1]
    result = jax.eval_shape(lambda x: jnp.broadcast_to(x[..., :1], (*x.shape[:-1], channels)), uv)
    arguments = texels, uv, level, where
    return call_per_image("ava_texture_read", result, arguments, _per_image(*arguments), **_attributes(sizes, filtering, wrap)), arguments


# A call each: the compiler drops the one that nothing learns from.
def _backward(sizes, filtering, wrap, width, residuals, cotangent):
    texels, uv, level, where = residuals
    attributes, per_image = _attributes(sizes, filtering, wrap), _per_image(*residuals)
    d_texels = call_per_image(
        "ava_texture_spread",
        jax.eval_shape(lambda x: x, texels),
        (uv, level, where, cotangent),
        (*per_image[1:], True),
        results_per_image=per_image[:1],
        scratch=_scratch_of(width),
        **attributes,
        **({"width": np.int64(width)} if native.spreads_by_tiles() else {}),
    )
    d_uv, d_level = call_per_image(
        "ava_texture_locate",
        jax.eval_shape(lambda *x: x, uv, level),
        (*residuals, cotangent),
        (*per_image, True),
        results_per_image=per_image[1:3],
        **attributes,
    )
    return d_texels, d_uv, d_level, None


@functools.cache
def _scratch_of(width: int):
    def scratch(arguments, results) -> int | None:
        (images, pixels), texels = arguments[0].shape[:2], results[0].shape
        return native.mesh_scratch("texture", images, pixels // max(width, 1), width, *texels[1:], texels[0] == 1)

    return scratch


def _per_image(texels, uv, level, where) -> tuple[bool, ...]:
    return len(texels) == len(uv), True, level.size > 0, where.size > 0


_native.defvjp(_forward, _backward)


def _attributes(sizes, filtering, wrap) -> dict:
    return {
        "sizes": np.asarray(list(itertools.chain(*sizes)), np.int64),
        "filter": np.int32(filtering == "bilinear"),
        "wrap": np.int32(_WRAPS.index(wrap)),
    }
