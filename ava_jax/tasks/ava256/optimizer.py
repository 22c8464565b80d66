"""The published recipe: Adam, clipped by global norm, with one raise of the learning rate."""

import ml_collections
import optax


def optimizer(config: ml_collections.ConfigDict) -> optax.GradientTransformationExtraArgs:
    """Gradients to updates.

    Gradients that are not finite are taken as zero before they come here (`train.step`).

    Args:
      config: `config.optimizer`: `learning_rate`; `boost`, which multiplies it from step `boost_step` on; `clip_norm`.

    Source: Codec Avatar Studio, NeurIPS 2024, and its training code's defaults.
    """
    schedule = optax.piecewise_constant_schedule(config.learning_rate, {config.boost_step: config.boost})
    # Injected so that the learning rate can be logged; the other constants stay Python's, or 0.999 would be rounded.
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))
    return optax.with_extra_args_support(optax.chain(optax.clip_by_global_norm(config.clip_norm), adam(learning_rate=schedule)))
