"""The universal avatar codec. Source: Codec Avatar Studio, NeurIPS 2024, section 4."""

import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from ava_jax.core.parallel import by_sample
from ava_jax.core.types import Array, Assets, Batch, Cameras, Primitives
from ava_jax.core.variables import Constant
from ava_jax.losses import terms as errors
from ava_jax.nn.bottleneck import GaussianBottleneck, reparameterise
from ava_jax.ops import camera_rays, raymarch
from ava_jax.tasks.ava256.model import components, losses, texels
from ava_jax.tasks.ava256.model.assembler import PLACEMENTS, Assembler
from ava_jax.tasks.ava256.model.background import FRACTIONS, Background, composite, pixel_weights
from ava_jax.tasks.ava256.model.calibration import ColourCalibration
from ava_jax.tasks.ava256.model.decoders import ColourDecoder, GeometryDecoder
from ava_jax.tasks.ava256.model.encoders import ExpressionEncoder, IdentityCode, IdentityEncoder
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, Sizes
from ava_jax.tasks.ava256.model.uv import ChartLookup, UvMap, interpolate

_LEAST_FACTOR = 0.05  # of a view, that colours are divided by: darker voxels show next to nothing of theirs
LOSS_TERMS = ("image", "image_squared", "texture", "vertices", "kl", "volume")


class Decoded(NamedTuple):
    """An avatar in one pose.

    Attributes:
      primitives: F = B frames, volume radii.
      vertices: [B, V, 3], mm.
    """

    primitives: Primitives
    vertices: jax.Array


class _ImageError(NamedTuple):
    """Absolute error of pictures [B, H, W, 3], 0-255, and its pixels' weights in the loss, [B, H, W, 1] or 1."""

    error: jax.Array
    weight: jax.Array | float


def cameras_of(batch: Batch) -> Cameras:
    """The cameras of a batch, leading axis [B]."""
    return Cameras(batch["camera_rotation"], batch["camera_position"], batch["focal"], batch["principal"])


class AvatarCodec(nnx.Module):
    """Encodes who a person is and what the face does; decodes both to volumetric primitives.

    Textures are uint8 [B, T, T, 3], meshes f32 [B, V, 3] in mm, codes [B, 4, 4, 16]; all are normalised inside.
    """

    def __init__(self, config: Any, assets: Assets, *, uv_maps: Mapping[int, UvMap] | None = None, rngs: nnx.Rngs):
        """A fresh model.

        Args:
          config: `config.model`.
          assets: `texture_mean`, `texture_std`, `vertices_mean`, `vertices_std`, `faces`, `face_uvs`, `uvs`; names of
            `cameras`, `identities`.
          uv_maps: side -> (vertex index, weights), instead of the maps computed from the topology.
          rngs: stream `params`.
        """
        sizes = Sizes.of(config)
        _check(config, assets, sizes)
        chart = ChartLookup(assets, uv_maps)
        self.identity_encoder = IdentityEncoder(sizes, rngs=rngs)
        self.expression_encoder = ExpressionEncoder(sizes, rngs=rngs)
        self.bottleneck = GaussianBottleneck(
            self.expression_encoder.d_out,
            CODE_CHANNELS,
            initial_gain=config.initial_code_gain,
            initial_std=config.initial_code_std,
            rngs=rngs,
        )
        mesh = np.asarray(assets.arrays["vertices_mean"])
        uv_map = chart.uv_map(sizes.slab)
        self.assembler = Assembler(sizes, uv_map, config.volume_radius, placement=config.primitive_placement, mesh=mesh)
        density = _initial_density(config, self.assembler, assets)
        shapes, colours = components.as_decoded(assets, sizes) if config.expression_components else (None, None)
        self.component_code = components.ComponentCode(*components.of(assets)) if config.expression_components else None
        self.geometry_decoder = GeometryDecoder(
            sizes, chart.vertex_uvs, initial_density=density, basis=config.expression_basis, components=shapes, rngs=rngs
        )
        texture = jnp.asarray(assets.arrays["texture_mean"], jnp.float32)
        texture = texture if config.initial_texture else None
        self.colour_decoder = ColourDecoder(
            sizes,
            initial_texture=texture,
            basis=config.expression_basis,
            components=colours,
            view_degree=config.view_degree,
            rngs=rngs,
        )
        cameras, identities = len(assets.names["cameras"]), len(assets.names["identities"])
        self.calibration = ColourCalibration(cameras, identities, np.asarray(assets.arrays.get("camera_anchors", ())).tolist())
        self.background = Background(cameras, identities, sizes, rngs=rngs) if config.background else None
        self.background_fraction = config.background_fraction
        index, weights = chart.uv_map(sizes.texture)
        self.uv_index, self.uv_weights = Constant(jnp.asarray(index)), Constant(jnp.asarray(weights))
        for name in ("texture_mean", "texture_std", "vertices_mean", "vertices_std"):
            setattr(self, name, Constant(jnp.asarray(assets.arrays[name], jnp.float32)))
        self.dtype = sizes.dtype
        self.volume_radius = config.volume_radius
        self.step_size = config.step_size
        self.guided_steps = config.guided_steps
        self.view_noise = config.view_noise
        self.from_neutral = config.from_neutral
        self.moved_weight = config.moved_weight
        self.sizes = sizes

    def encode_identity(self, neutral_texture: Array, neutral_vertices: Array) -> IdentityCode:
        """Who this is: from the texture u8 [B, T, T, 3] and mesh f32 [B, V, 3], mm, of the neutral face."""
        images = self.identity_images(neutral_texture, neutral_vertices)
        with jax.named_scope("identity_encoder"):
            code = self.identity_encoder(*images)
        if not self.from_neutral:
            return code
        code = code._replace(colours=texels.at_voxels(neutral_texture, self.sizes), vertices=jnp.asarray(neutral_vertices, jnp.float32))
        if self.component_code is None:
            return code
        around = texels.surroundings(texels.means(neutral_texture, texels.COMPONENT_SIDE))
        return code._replace(around=texels.at_voxels(around, self.sizes))

    def encode_expression(
        self, texture: Array, vertices: Array, neutral_texture: Array, neutral_vertices: Array
    ) -> tuple[jax.Array, jax.Array]:
        """What the face does: mean and logstd of the expression code, [B, 4, 4, 16] each. Arguments as for `encode_identity`, twice."""
        images = self.expression_images(texture, vertices, neutral_texture, neutral_vertices)
        with jax.named_scope("expression_encoder"):
            mean, logstd = self.bottleneck(self.expression_encoder(*images))
        if self.component_code is None:
            return mean, logstd
        return mean + self.component_code(texture, vertices, neutral_texture, neutral_vertices), logstd

    def decode(
        self,
        identity: IdentityCode,
        z: jax.Array,
        camera_position: Array,
        *,
        guide_vertices: Array | None = None,
        guided: jax.Array | bool = True,
    ) -> Decoded:
        """Codes to primitives.

        Args:
          identity: from `encode_identity`.
          z: the expression code.
          camera_position: [B, 3], mm, head space: colour depends on the view.
          guide_vertices: [B, V, 3], mm: meshes that carry the primitives while `guided` is true, without residuals, the running scale
            following them. None: the decoded mesh carries them and the running scale stays.
          guided: read only with `guide_vertices`; may be traced.
        """
        with jax.named_scope("geometry_decoder"):
            geometry = self.geometry_decoder(z, identity)
        with jax.named_scope("colour_decoder"):
            colour = self.colour_decoder(z, identity, camera_position)
        mean = self.vertices_mean[...] if identity.vertices is None else identity.vertices
        vertices = geometry.vertices * self.vertices_std[...] + mean
        with jax.named_scope("assembler"):
            if guide_vertices is None:
                primitives = self.assembler(geometry, colour, vertices)
            else:
                primitives = self.assembler(geometry, colour, jnp.where(guided, guide_vertices, vertices), guided=guided)
        return Decoded(primitives, vertices)

    @jax.named_scope("raymarch")
    def render(self, primitives: Primitives, cameras: Cameras, height: int, width: int) -> jax.Array:
        """One view per frame: cameras with leading axis [B]. Returns [B, H, W, 4], colour 0-255 weighted by alpha."""
        one_view = jax.tree.map(lambda x: jnp.asarray(x)[:, None], cameras)
        rays = camera_rays(one_view, height, width, radius=self.volume_radius)
        return raymarch(rays, primitives, step_size=self.step_size)[:, 0]

    @jax.named_scope("background")
    def background_image(
        self,
        camera: Array,
        identity: Array,
        height: int,
        width: int,
        *,
        mask: jax.Array | bool = True,
        gradient_weight: jax.Array | None = None,
    ) -> jax.Array:
        """The learned background by indices [B]: [B, H, W, 3], 0-255.

        Black where an index is -1, outside of `mask`, and where the model has no background.

        Args:
          camera, identity: [B].
          height, width: of the image.
          mask: bool [B, H, W], the pixels to compute.
          gradient_weight: f32 [B, H, W], multiplies a pixel's gradient for the background's parameters. None: 1.
        """
        camera, identity = jnp.asarray(camera), jnp.asarray(identity)
        shape = len(camera), height, width
        if self.background is None:
            return jnp.zeros((*shape, 3))
        known = ((camera >= 0) & (identity >= 0))[:, None, None]
        return self.background(camera, identity, height, width, mask=jnp.broadcast_to(known & mask, shape), gradient_weight=gradient_weight)

    @jax.named_scope("composite")
    def calibrate_and_composite(self, rgba: jax.Array, camera: Array, identity: Array, *, background: jax.Array | None = None) -> jax.Array:
        """Calibrates a render's colours and puts it over the background: [B, H, W, 4] to [B, H, W, 3], 0-255.

        Where the camera's or identity's index is -1, calibration is the mean of those known and the background black.

        Args:
          background: [B, H, W, 3], what `background_image` gave, where it is known already.
        """
        camera, identity = jnp.asarray(camera), jnp.asarray(identity)
        image = self.calibration(rgba[..., :3], camera, identity)
        if self.background is None:
            return image
        if background is None:  # where a ray ended, neither colour nor gradient depends on it
            background = self.background_image(camera, identity, *rgba.shape[1:3], mask=rgba[..., 3] < 1.0)
        return composite(jnp.concatenate([image, rgba[..., 3:]], axis=-1), background)

    def training_loss_terms(
        self, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str] = LOSS_TERMS
    ) -> dict[str, tuple[Array, None]]:
        """Loss terms, unreduced, by the names of `config.loss_weights`: those asked for. Without "image" nothing is drawn.

        Moves the running scale while `step < guided_steps`.

        Returns:
          image [B, H, W, 3], 0-255, and image_squared, its squares, both of which with `config.background_fraction` below 1 are weighted
          by `background.pixel_weights` (of the same mean, in expectation); texture [B, K, d, d, 3], 0-255, of the primitives' colours,
          their mean over depth, and vertices [B, V, 3], mm, both weighted by `losses.weight_of_moved`; kl [B, 4, 16]; volume [B], volume
          radii cubed. No masks.
        """
        identity = self.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
        mean, logstd = self.encode_expression(*(batch[k] for k in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
        seen_from = _with_view_noise(batch["camera_position"], self.view_noise, jax.random.fold_in(key, 2))
        decoded = self.decode(
            identity,
            reparameterise(mean, logstd, key),
            seen_from,
            guide_vertices=batch["vertices"],
            guided=step < self.guided_steps,
        )
        image_error = functools.cache(lambda: self._image_error(decoded.primitives, batch, key))  # drawn once
        found = {
            "image": lambda: image_error().weight * image_error().error,
            "image_squared": lambda: image_error().weight * image_error().error ** 2,
            "texture": lambda: self._texture_error(decoded.primitives, seen_from, batch),
            "vertices": lambda: self._vertex_error(decoded.vertices, batch),
            "kl": lambda: losses.kl_with_absolute_logstd(mean, logstd),
            "volume": lambda: errors.primitive_volume(decoded.primitives),
        }
        return {name: (found[name](), None) for name in terms}

    def _texture_error(self, primitives: Primitives, seen_from: jax.Array, batch: Batch) -> jax.Array:
        """Absolute error of the voxels' colours, their mean over depth, against the tracked texture: [B, K, d, d, 3], weighted.

        The tracked texture is a mean over cameras: what the colour decoder's factors make of it from this one is what voxels should show.
        """
        target, neutral = (texels.at_voxels(batch[name], self.sizes) for name in ("texture", "neutral_texture"))
        colours = jnp.mean(primitives.rgba[..., :3].astype(jnp.float32), axis=2)
        weight = losses.weight_of_moved(target - neutral, self.moved_weight, losses.MOVED_TEXEL)
        target = target * lax.stop_gradient(self.colour_decoder.factors(seen_from))
        return texels.as_primitives(weight, self.sizes) * jnp.abs(colours - texels.as_primitives(target, self.sizes))

    def unshaded(self, colours: Array, camera_position: Array) -> jax.Array:
        """Primitives' colours [B, K, d, d, 3] as they are from everywhere, without what the view of cameras [B, 3] makes of them.

        This is what the loss term "texture" compares with the tracked texture.
        """
        if self.colour_decoder.view_factors is None:
            return jnp.asarray(colours)
        factors = texels.as_primitives(self.colour_decoder.view_factors(camera_position), self.sizes)
        return colours / jnp.maximum(factors, _LEAST_FACTOR)

    def _vertex_error(self, vertices: jax.Array, batch: Batch) -> jax.Array:
        """Absolute error of the decoded mesh [B, V, 3], mm, weighted."""
        weight = losses.weight_of_moved(batch["vertices"] - batch["neutral_vertices"], self.moved_weight, losses.MOVED_VERTEX)
        return weight * errors.absolute_error(vertices, batch["vertices"])

    def _image_error(self, primitives: Primitives, batch: Batch, key: jax.Array) -> "_ImageError":
        """Absolute error of the calibrated, composited pictures."""
        rgba = self.render(primitives, cameras_of(batch), *batch["image"].shape[1:3])
        if self.background is None or self.background_fraction == 1:
            drawn = self.calibrate_and_composite(rgba, batch["camera"], batch["identity"])
            return _ImageError(errors.absolute_error(drawn, batch["image"]), 1.0)
        # The background learns from far fewer pixels than show it. Where nothing covers it, only it and the offsets learn.
        alpha, indices = rgba[..., 3], (batch["camera"], batch["identity"])
        weights = pixel_weights(alpha <= 0, self.background_fraction, jax.random.fold_in(key, 1))
        mask = (weights.loss > 0) & (alpha < 1.0)
        background = self.background_image(*indices, *alpha.shape[1:], mask=mask, gradient_weight=weights.gradient)
        drawn = self.calibrate_and_composite(rgba, *indices, background=background)
        return _ImageError(errors.absolute_error(drawn, batch["image"]), weights.loss[..., None])

    def reconstruct(self, batch: Batch, size: tuple[int, int] | None = None) -> jax.Array:
        """The model's picture of each sample, from the mean of its code: [B, H, W, 3], f32, about 0-255.

        `size` is (H, W); None: that of the photographs.
        """
        return self.reconstruct_with_mesh(batch, size)[0]

    def reconstruct_with_mesh(self, batch: Batch, size: tuple[int, int] | None = None) -> tuple[jax.Array, jax.Array]:
        """As `reconstruct`, and the decoded mesh [B, V, 3], mm, head space."""
        identity = self.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
        mean, _ = self.encode_expression(*(batch[k] for k in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
        decoded = self.decode(identity, mean, batch["camera_position"])
        height, width = size or batch["image"].shape[1:3]
        rgba = self.render(decoded.primitives, cameras_of(batch), height, width)
        return self.calibrate_and_composite(rgba, batch["camera"], batch["identity"]), decoded.vertices

    @jax.named_scope("inputs")
    def identity_images(self, neutral_texture: Array, neutral_vertices: Array) -> tuple[jax.Array, jax.Array]:
        """What the identity encoder sees: texture and geometry image [B, T, T, 3], normalised."""
        texture = (neutral_texture.astype(jnp.float32) - self.texture_mean[...]) / self.texture_std[...]
        return texture, self.geometry_image((neutral_vertices - self.vertices_mean[...]) / self.vertices_std[...])

    @jax.named_scope("inputs")
    def expression_images(
        self, texture: Array, vertices: Array, neutral_texture: Array, neutral_vertices: Array
    ) -> tuple[jax.Array, jax.Array]:
        """What the expression encoder sees: the differences to the neutral [B, T, T, 3], in deviations."""
        # Means cancel in a difference.
        texture = (texture.astype(jnp.float32) - neutral_texture.astype(jnp.float32)) / self.texture_std[...]
        return texture, self.geometry_image((vertices - neutral_vertices) / self.vertices_std[...])

    def geometry_image(self, vertices: Array) -> jax.Array:
        """Vertices [B, V, 3] on the chart at the texture's size: [B, T, T, 3], in the vertices' unit."""
        image = interpolate(jnp.asarray(vertices), self.uv_index[...], self.uv_weights[...])
        # A barrier: fused with the new layout that a convolution in bfloat16 asks for, the look-up took an H200 ten times as long.
        return lax.optimization_barrier(image) if self.dtype == jnp.bfloat16 else image


def _with_view_noise(position: Array, noise: float, key: jax.Array) -> Array:
    """Camera positions [B, 3] with noise of this standard deviation on their unit direction from the head's centre; at 0 as they are.

    Training has few cameras; what colour makes of a direction between them is otherwise left to chance.
    """
    if not noise:
        return position
    distance = jnp.linalg.norm(position, axis=-1, keepdims=True)
    drawn = by_sample(lambda own: jax.random.normal(own, position.shape[1:], position.dtype), key, len(position))
    return position + noise * distance * drawn


def _initial_density(config: Any, assembler: Assembler, assets: Assets) -> jax.Array:
    """Of voxels by their depth, [d]: `initial_density`, and outside of the mesh its fraction `initial_density_outside`."""
    depth = config.primitive_side
    height = assembler.outward(assets.arrays["vertices_mean"]) * (jnp.arange(depth) - (depth - 1) / 2)
    return config.initial_density * jnp.where(height > 0, config.initial_density_outside, 1.0)


def _check(config: Any, assets: Assets, sizes: Sizes) -> None:
    if config.guided_steps < 1:
        raise ValueError(
            f"config.model.guided_steps must be at least 1, as the primitives' scale is measured in these steps; got {config.guided_steps}."
        )
    if not config.initial_density > 0 or config.view_noise < 0:
        raise ValueError(
            "config.model.initial_density must be positive and view_noise at least 0; "
            f"got {config.initial_density} and {config.view_noise}."
        )
    if config.primitive_placement not in PLACEMENTS:
        raise ValueError(f"config.model.primitive_placement must be one of {', '.join(PLACEMENTS)}; got {config.primitive_placement!r}.")
    if config.from_neutral and config.initial_texture:
        raise ValueError("config.model.initial_texture must be False with from_neutral: colours start as the neutral ones then.")
    if config.expression_basis < 0 or (config.expression_basis and not config.from_neutral):
        raise ValueError(
            "config.model.expression_basis must be at least 0, and 0 without from_neutral: it holds differences to the neutral face; "
            f"got {config.expression_basis}."
        )
    if config.expression_components and not config.expression_basis:
        raise ValueError("config.model.expression_basis must be at least 1 with expression_components: it says how many there are.")
    if config.view_degree < 0 or (config.view_degree and not config.from_neutral):
        raise ValueError(f"config.model.view_degree must be at least 0, and 0 without from_neutral; got {config.view_degree}.")
    if not config.initial_density_outside > 0 or config.moved_weight < 0:
        raise ValueError(
            "config.model.initial_density_outside must be positive and moved_weight at least 0; "
            f"got {config.initial_density_outside} and {config.moved_weight}."
        )
    if config.background_fraction not in FRACTIONS:
        allowed = ", ".join(f"{fraction:g}" for fraction in FRACTIONS)
        raise ValueError(f"config.model.background_fraction must be one of {allowed}; got {config.background_fraction}.")
    shape, needed = assets.arrays["texture_mean"].shape, (sizes.texture, sizes.texture, 3)
    if shape != needed:
        raise ValueError(f"AvatarCodec: assets.arrays['texture_mean'] must be {needed}, as config.model.texture_size says; got {shape}.")
    for name in ("cameras", "identities"):
        if not assets.names[name]:
            raise ValueError(f"AvatarCodec: assets.names[{name!r}] is empty; at least one is needed.")
