"""When a loss is NaN, infinite or explodes: what happened, of which samples; how often it may; the report.

The step itself applies no update then (`step.make_step`). The loop goes back to its last checkpoint and on with the data after
the batch of the step that failed, so that it does not meet that batch again within the epoch. That follows from the checkpoint and
the data alone: a run that is killed meanwhile does the same once more.
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import Task
from ava_jax.train import manifest, processes

REPORT = "recoveries.json"
_SHOWN_SAMPLES = 4


class Diverged(Exception):
    """A step whose loss cannot be learned from.

    Attributes:
      step: its number.
      term: the loss term, or "the weighted sum".
      value: the term's.
      reason: in words, without the step.
      batch: on the host.
    """

    def __init__(self, step: int, term: str, value: float, reason: str, batch: Batch):
        super().__init__(f"step {step}: {reason}")
        self.step, self.term, self.value, self.reason, self.batch = step, term, value, reason, batch


def judge(step: int, metrics: Mapping[str, Any], batch: Batch, spike_steps: int) -> None:
    """Looks at what a step measured (`step.make_step`), on the host.

    Raises:
      Diverged: a term is NaN or infinite; or this is the last of `spike_steps` spikes in a row.
    """
    terms = {**{f"loss {name}": value for name, value in metrics["losses"].items()}, "weighted sum of the losses": metrics["loss"]}
    for term, value in terms.items():
        if not math.isfinite(value):
            raise Diverged(step, term, float(value), f"the {term} is {float(value)}", batch)
    if metrics["spikes"] >= spike_steps:
        name, loss, median = spiked(metrics)
        reason = f"the {name} exploded: {loss:.4g}, and of {spike_steps} steps in a row far over the median, {median:.4g}"
        raise Diverged(step, "weighted sum of the losses" if name == "loss" else name, loss, reason, batch)


def spiked(metrics: Mapping[str, Any]) -> tuple[str, float, float]:
    """Of a spike: what is the most over its median, "loss" or "loss TERM"; its value; the median."""
    found = {"loss": (float(metrics["loss"]), float(metrics["median"]))}
    for name, median in metrics.get("term_medians", {}).items():
        found[f"loss {name}"] = float(metrics["losses"][name]), float(median)
    name = max(found, key=lambda name: found[name][0] / found[name][1] if found[name][1] > 0 else 0.0)
    return name, *found[name]


def record(failure: Diverged, task: Task, assets: Assets) -> dict[str, Any]:
    """What a report and a checkpoint keep of a failure; `back_to`, the step gone back to, is None until it is known."""
    mine = [{name: str(value) for name, value in sample.items()} for sample in task.describe(failure.batch, assets)]
    samples = [sample for theirs in processes.gather(mine) for sample in theirs]
    return {"step": failure.step, "term": failure.term, "value": str(failure.value), "reason": failure.reason} | {
        "samples": samples,
        "back_to": None,
    }


def samples_line(samples: Sequence[Mapping[str, str]]) -> str:
    """'(identity a, camera 1), (identity b, camera 2)', and how many more."""
    shown = ", ".join("(" + ", ".join(f"{name} {value}" for name, value in s.items()) + ")" for s in samples[:_SHOWN_SAMPLES])
    more = len(samples) - _SHOWN_SAMPLES
    return f"samples {shown}" + (f" and {more} more" if more > 0 else "")


def write_report(workdir: pathlib.Path, records: Sequence[Mapping[str, Any]], *, gave_up: bool) -> pathlib.Path:
    """<workdir>/recoveries.json: every failure of the run so far; replaces the one before."""
    path = workdir / REPORT
    if processes.is_first():
        manifest.replace(path, json.dumps({"gave_up": gave_up, "failures": list(records)}, indent=1))
    return path
