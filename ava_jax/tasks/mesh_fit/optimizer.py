"""The published recipe, Adam at one rate for all parameters, and a warm-up and a decay for short runs."""

import jax.numpy as jnp
import ml_collections
import optax

from ava_jax.tasks.base import Optimizer, ParameterGroup


def optimizer(config: ml_collections.ConfigDict) -> Optimizer:
    """One group, "all".

    Args:
      config: `config.optimizer`: `b1`, `b2`, `eps` of Adam; `clip_norm`, 0 for none; and see `learning_rate`.

    Raises:
      ValueError: a value lies outside its range.
    """
    # Injected so that the learning rate can be logged; the other constants stay Python's, or 0.999 would be rounded.
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))
    transform = adam(learning_rate=learning_rate(config), b1=config.b1, b2=config.b2, eps=config.eps)
    if config.clip_norm < 0:
        raise ValueError(f"config.optimizer.clip_norm must be at least 0 (0: gradients are not clipped); got {config.clip_norm}.")
    return Optimizer((ParameterGroup("all", transform),), clip_norm=config.clip_norm or None)


def learning_rate(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Step -> learning rate.

    Args:
      config: `learning_rate`; `lr_warmup_steps`, over which it rises linearly; `lr_final_fraction`, to which part of itself it falls along
        a cosine by step `lr_decay_steps`, and stays; 0 steps: it does not fall.

    Raises:
      ValueError: a value lies outside its range.
    """
    if config.learning_rate <= 0 or not 0 <= config.lr_final_fraction <= 1 or min(config.lr_warmup_steps, config.lr_decay_steps) < 0:
        raise ValueError(
            "config.optimizer: learning_rate must be above 0, lr_final_fraction in 0..1, lr_warmup_steps and lr_decay_steps at least 0; "
            f"got {config.learning_rate}, {config.lr_final_fraction}, {config.lr_warmup_steps}, {config.lr_decay_steps}."
        )
    alpha = config.lr_final_fraction if config.lr_decay_steps else 1.0
    decay = optax.cosine_decay_schedule(config.learning_rate, max(config.lr_decay_steps, 1), alpha=alpha)

    def schedule(step):
        return decay(step) * jnp.minimum((step + 1) / max(config.lr_warmup_steps, 1), 1.0)

    return schedule
