"""The form in which a checkpoint holds a training state: plain trees of arrays by path, whatever the step packs together."""

from typing import Any

import jax

from ava_jax.train import optimization, packing
from ava_jax.train.state import Guard, TrainState

# Raised when a training state of before cannot be gone on with. 1: the optimiser's state was packed; checkpoints did not say a number.
FORMAT = 2


def items(state: TrainState) -> dict[str, Any]:
    """Items of a checkpoint: name -> tree of arrays of any shapes.

    `model` is what evaluation reads: parameters as the model holds them, and running variables. `training` has the optimiser's state by
    group, of the group's parameters in nested dicts.
    """
    return {
        "model": {"params": optimization.unpacked(state.params), "running": state.running},
        "training": {"step": state.step, "opt_state": packing.unpack_all(state.opt_state), "key": state.key},
        "guard": state.guard._asdict(),
    }


def state_of(found: dict[str, Any], like: TrainState) -> TrainState:
    """The training state of a checkpoint's items, packed as `like` is."""
    model, training = found["model"], found["training"]
    params = _laid_out(like.params, model["params"])
    opt_state = packing.pack_like(like.opt_state, training["opt_state"])
    return TrainState(training["step"], params, model["running"], opt_state, training["key"], Guard(**found["guard"]))


@jax.jit
def _laid_out(like: optimization.Parameters, params: Any) -> optimization.Parameters:
    return like.holding(params)
