"""The published recipe: Adam, clipped by global norm, with one raise of the learning rate; and what short runs need beside it."""

from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from ava_jax.core.norms import global_norm

_TEXEL_MAPS = ("geometry_decoder/bias", "colour_decoder/bias")


def optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Gradients to updates.

    Gradients that are not finite are taken as zero before they come here (`train.step`).

    Args:
      config: `config.optimizer`: `clip_norm`; `texel_lr_gain`, which multiplies the updates of the decoders' texel maps; and see
        `learning_rate`.

    Source: Codec Avatar Studio, NeurIPS 2024, and its training code's defaults.
    """
    # Injected so that the learning rate can be logged; the other constants stay Python's, or 0.999 would be rounded.
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))
    return optax.with_extra_args_support(
        optax.chain(
            optax.stateless(lambda updates, params: _clipped(updates, config.clip_norm)),
            adam(learning_rate=learning_rate(config)),
            optax.stateless(lambda updates, params: _scale_texels(updates, config.texel_lr_gain)),
        )
    )


def learning_rate(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Step -> learning rate.

    Args:
      config: `learning_rate`; `lr_boost`, which multiplies it from step `lr_boost_step` on (published: 1.4 at 10,000); `lr_warmup_steps`,
        over which it rises linearly; `lr_final_fraction`, to which fraction of itself it falls along a cosine by step `lr_decay_steps`, and
        stays. The published recipe has neither warm-up nor decay.
    """
    boosted = optax.piecewise_constant_schedule(config.learning_rate, {config.lr_boost_step: config.lr_boost})
    fall = optax.cosine_decay_schedule(1.0, max(config.lr_decay_steps, 1), alpha=config.lr_final_fraction)

    def schedule(step):
        ramp = jnp.minimum((step + 1) / max(config.lr_warmup_steps, 1), 1.0)
        return boosted(step) * ramp * fall(step)

    return schedule


def _clipped(updates: Any, clip_norm: float) -> Any:
    """Scaled to a global norm of at most `clip_norm`, as `optax.clip_by_global_norm` does; its norm costs two kernels an array."""
    norm = global_norm(updates)
    return jax.tree.map(lambda update: jnp.where(norm < clip_norm, update, update / norm * clip_norm), updates)


def _scale_texels(updates: Any, gain: float) -> Any:
    """Multiplies the updates of the decoders' maps of one bias a texel.

    A texel's bias must travel tens of units (opacity is exp(0.1 x)), a weight thousandths; and no product of layers multiplies its error.
    """

    def scaled(path: tuple, update: jax.Array) -> jax.Array:
        name = "/".join(str(getattr(key, "key", key)) for key in path)
        return update * gain if name.startswith(_TEXEL_MAPS) else update

    return jax.tree_util.tree_map_with_path(scaled, updates)
