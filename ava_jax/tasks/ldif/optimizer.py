"""The published recipe, Adam at one rate, with a warm-up and a decay for short runs."""

import ml_collections
import optax

from ava_jax.tasks.base import Optimizer, ParameterGroup


def optimizer(config: ml_collections.ConfigDict) -> Optimizer:
    """One group, "all".

    Args:
      config: `config.optimizer`: `learning_rate`; `lr_warmup_steps`, over which it rises linearly; `lr_decay_steps`, by which it has fallen
        to 0 along a cosine, 0: it stays; `clip_norm`, 0 for none.

    Raises:
      ValueError: a value lies outside its range.
    """
    if not (config.learning_rate > 0 and min(config.lr_warmup_steps, config.lr_decay_steps, config.clip_norm) >= 0):
        raise ValueError("config.optimizer: learning_rate must be above 0, lr_warmup_steps, lr_decay_steps and clip_norm at least 0.")
    start = 0.0 if config.lr_warmup_steps else config.learning_rate
    if config.lr_decay_steps:
        rate = optax.warmup_cosine_decay_schedule(start, config.learning_rate, config.lr_warmup_steps, config.lr_decay_steps)
    else:
        rate = optax.linear_schedule(start, config.learning_rate, config.lr_warmup_steps or 1)
    adam = optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))
    return Optimizer((ParameterGroup("all", adam(learning_rate=rate, b1=0.9, b2=0.999, eps=1e-8)),), clip_norm=config.clip_norm or None)
