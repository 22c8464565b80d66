"""What the loop says: figures for the log and the terminal, and the line that a run ends with."""

from typing import Any

import numpy as np

from ava_jax.tasks.base import Score
from ava_jax.train import plan
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.logging import Meter
from ava_jax.train.patience import Patience
from ava_jax.train.plan import Run


def scalars(metrics: dict[str, Any]) -> dict[str, np.ndarray]:
    """What is logged of steps' metrics, by the names in the log: [n] each."""
    named = {"loss": "loss", "gradient/norm": "norm", "gradient/nonfinite": "nonfinite"}
    named |= {"update/norm": "update_norm", "parameters/norm": "parameter_norm"}
    rates = {name: values for name, values in metrics.items() if name.startswith("learning_rate")}
    losses = {f"loss/{name}": values for name, values in metrics["losses"].items()}
    return {name: metrics[key] for name, key in named.items()} | losses | rates


def few(values: dict[str, Any], main: str) -> dict[str, Any]:
    """The few of `scalars` that are for the terminal: the weighted sum and the term `main`, that of the largest weight."""
    return {name: values[key] for name, key in {"loss": "loss", main: f"loss/{main}"}.items() if key in values}


def speed(meter: Meter, batch_size: int, seconds_left: float) -> dict[str, float]:
    """How quick the steps since the last line of the log were, for the log."""
    return {
        "speed/samples_per_second": meter.steps / meter.seconds * batch_size,
        "speed/share_idle": meter.share_idle,
        "speed/share_waiting_for_data": meter.share_waiting,
        "speed/seconds_waiting_for_data": meter.seconds_waiting,
        "speed/hours_left": seconds_left / 3600,
    }


def score_in_words(score: Score, value: float) -> str:
    """A score with its unit."""
    return f"{score.format(value)} {score.unit}".rstrip()


def outcome(run: Run, taken: int, checkpoints: Checkpoints, patience: Patience, stopped_by: str) -> str:
    """How a run ended, after `taken` steps in all, and which checkpoint is the best."""
    if patience.over:
        return f"done: step {taken}, as {patience}{_best(run, checkpoints)}"
    if taken >= run.steps:
        what = "checkpoints" + (" and pictures" if run.pictures is not None else "")
        return f"done: {taken} steps; {what} are in {checkpoints.folder.parent}{_best(run, checkpoints)}"
    if stopped_by:
        return f"stopped by {stopped_by}: step {taken} is saved; the same command goes on from there"
    return f"the data ended after step {taken} of {run.steps}"


def _best(run: Run, checkpoints: Checkpoints) -> str:
    scores = checkpoints.scores() if run.config.train.keep_best else {}
    if not scores:
        return ""
    best = max(scores, key=scores.get)
    if run.validation is None:
        shown = f"{-scores[best]:.4g}"  # of losses the less
    else:
        score = run.validation.best
        shown = score_in_words(score, scores[best] if score.higher_is_better else -scores[best])
    return f"; best by {plan.best_by(run)}: step {best} ({shown})"
