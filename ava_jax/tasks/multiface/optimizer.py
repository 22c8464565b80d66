"""The published recipe: Adam for the model, its rate less after each epoch; Adam for colour correction, whose rate stays."""

import ml_collections
import optax

from ava_jax.tasks.base import Optimizer, ParameterGroup


def optimizer(config: ml_collections.ConfigDict, steps_per_epoch: int) -> Optimizer:
    """Groups "colour" and "model"; gradients of both are clipped together.

    Args:
      config: `config.optimizer`: `learning_rate`; `epoch_decay`, which multiplies the model's after each epoch; `lr_warmup_steps`, over
        which it rises linearly; `lr_decay_steps`, by which it has fallen to 0 along a cosine, in place of `epoch_decay`, 0: it does not;
        `clip_norm`, 0 for none.
      steps_per_epoch: of this run.

    Raises:
      ValueError: a value lies outside its range.
    """
    if not (config.learning_rate > 0 and 0 < config.epoch_decay <= 1):
        raise ValueError(
            f"config.optimizer: learning_rate must be above 0, epoch_decay in 0..1; got {config.learning_rate}, {config.epoch_decay}."
        )
    if min(config.lr_warmup_steps, config.lr_decay_steps, config.clip_norm) < 0:
        raise ValueError("config.optimizer: lr_warmup_steps, lr_decay_steps and clip_norm must be at least 0.")
    groups = (
        ParameterGroup("colour", _adam(config.learning_rate), ("colour/",)),
        ParameterGroup("model", _adam(model_rate(config, steps_per_epoch))),
    )
    return Optimizer(groups, clip_norm=config.clip_norm or None)


def model_rate(config: ml_collections.ConfigDict, steps_per_epoch: int) -> optax.Schedule:
    """Step -> the model's learning rate, with the arguments of `optimizer`."""
    rate, warmup = config.learning_rate, config.lr_warmup_steps
    if config.lr_decay_steps:
        later = optax.cosine_decay_schedule(rate, max(config.lr_decay_steps - warmup, 1))
    else:
        later = optax.exponential_decay(rate, max(steps_per_epoch, 1), config.epoch_decay, staircase=True)
    return later if not warmup else optax.join_schedules([optax.linear_schedule(0.0, rate, warmup), later], [warmup])


def _adam(rate: float | optax.Schedule) -> optax.GradientTransformation:
    # Injected so that the learning rate can be logged; the other constants stay Python's, or 0.999 would be rounded.
    return optax.inject_hyperparams(optax.adam, static_args=("b1", "b2", "eps", "eps_root"))(learning_rate=rate, b1=0.9, b2=0.999, eps=1e-8)
