"""The published recipe: Adam, clipped by global norm, with one raise of the learning rate; and what short runs need beside it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax

from ava_jax.tasks.base import Optimizer, ParameterGroup

# The decoders' maps of one bias per texel.
_TEXEL_MAPS = ("geometry_decoder/bias$", "colour_decoder/bias$")
_BASES = ("geometry_decoder/basis/basis$", "colour_decoder/basis/basis$")


def optimizer(config: ml_collections.ConfigDict, *, bases: bool = False) -> Optimizer:
    """Adam for all, after clipping; texel maps learn faster.

    A texel's bias must travel tens of units (opacity is exp(0.1 x)), a weight thousandths; and no product of layers multiplies its error.
    Gradients that are not finite are taken as zero before they come here (`train.step`).

    Args:
      config: `config.optimizer`: `clip_norm`; `texel_lr_gain`, which multiplies the updates of the texel maps; `basis_lr_gain`, those of
        the bases of expressions; and see `learning_rate`.
      bases: whether the model has such bases.

    Source: Codec Avatar Studio, NeurIPS 2024, and its training code's defaults.
    """
    adam = _adam(learning_rate(config))
    texels = ParameterGroup("texels", optax.chain(adam, optax.scale(config.texel_lr_gain)), _TEXEL_MAPS)
    groups = [texels]
    if bases and config.basis_lr_gain != 1:
        groups.append(ParameterGroup("bases", optax.chain(adam, optax.scale(config.basis_lr_gain)), _BASES))
    return Optimizer((*groups, ParameterGroup("weights", adam)), clip_norm=config.clip_norm)


class _AdamState(NamedTuple):
    """`learning_rate`: f32 [], of the last update, for the log."""

    moments: optax.ScaleByAdamState
    learning_rate: jax.Array


def _adam(rate: optax.Schedule) -> optax.GradientTransformation:
    """`optax.adam(rate)` that keeps its learning rate. `optax.inject_hyperparams` keeps two counts more, a few kernels per group."""
    adam = optax.scale_by_adam()

    def init(params: optax.Params) -> _AdamState:
        return _AdamState(adam.init(params), jnp.zeros((), jnp.float32))

    def update(updates: optax.Updates, state: _AdamState, params: optax.Params | None = None) -> tuple[optax.Updates, _AdamState]:
        now = jnp.asarray(rate(state.moments.count), jnp.float32)
        updates, moments = adam.update(updates, state.moments, params)
        return jax.tree.map(lambda update: -now * update, updates), _AdamState(moments, now)

    return optax.GradientTransformation(init, update)


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
