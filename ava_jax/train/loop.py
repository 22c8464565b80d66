"""The training loop: resume, iterate, log, validate, take pictures, save, recover."""

import pathlib
import time
from typing import Any, NamedTuple

import jax
import ml_collections

from ava_jax.core.types import Batch
from ava_jax.train import plan, processes, record, recovery
from ava_jax.train import step as steps
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.feed import Fed, Feed
from ava_jax.train.interrupt import Interrupt
from ava_jax.train.logging import EventLog, Meter, NoLog, Terminal
from ava_jax.train.plan import Run, Start


def train(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> int:
    """Trains what the config names, or goes on from the latest whole checkpoint in `workdir`; returns the steps taken in all.

    On SIGINT or SIGTERM it finishes the step, saves and returns.

    Raises:
      ValueError: the config does not fit the data, the devices or the run in workdir; all checkpoints are damaged; or losses
        became NaN, infinite or exploded more than `train.max_recoveries` times.
      FileNotFoundError: the data are not there.
      OSError: checkpoints, events or pictures cannot be written.
    """
    workdir = pathlib.Path(workdir)
    plan.validate(config)
    with Interrupt() as interrupt:
        with Checkpoints(workdir) as saved:
            latest = saved.find() if saved.steps() else None
            if latest is not None:
                plan.check_resumable(saved.about(latest).config, config, workdir)
                if latest >= config.train.steps:
                    print(f"{workdir}: done already: {latest} of {config.train.steps} steps. --config.train.steps=... trains on.")
                    return latest
                saved.set_aside(latest)
            run, start = plan.build(config, saved, latest)
            record.write(workdir, config, run.task, run.assets, first=latest or 0)
            print(plan.summary(run, start), flush=True)
        with (
            Checkpoints(workdir, write=True, keep=config.train.keep_checkpoints, keep_best=config.train.keep_best) as checkpoints,
            EventLog(workdir, resumed_at=latest or 0) if processes.is_first() else NoLog() as events,
            Feed(start.iterator, run.place) as feed,
        ):
            return _Loop(run, start, checkpoints, events, feed, interrupt).go()


class _Pending(NamedTuple):
    """A step that the devices may still be at."""

    step: int
    metrics: dict[str, Any]
    host: Batch


class _Loop:
    """The steps of a run: what changes while it goes."""

    def __init__(self, run: Run, start: Start, checkpoints: Checkpoints, events: EventLog | NoLog, feed: Feed, interrupt: Interrupt):
        self.run, self.config = run, run.config.train
        self.state, self.recoveries = start.state, list(start.recoveries)
        self.checkpoints, self.events, self.feed, self.interrupt = checkpoints, events, feed, interrupt
        self.workdir = checkpoints.folder.parent
        self.taken = int(start.state.step)
        self.saved = self.taken if start.resumed else None
        self.position = start.iterator.get_state()  # after the last step's batch
        self.pending: _Pending | None = None
        self.stopped_by = ""  # the signal that all processes stop for
        self.spikes = 0  # in a row, up to the last step whose metrics are known
        self.losses: list[float] = []  # of the steps applied since the last checkpoint
        self.meter = Meter()
        self.terminal = Terminal(self.taken, self.config.steps)
        self.compiled: steps.StepFn | None = None

    def go(self) -> int:
        """Steps until the last, the end of the data or an interrupt; returns the steps taken in all."""
        with self.terminal:
            if self.saved is None:  # something to go back to; and a folder that cannot be written to is told before an hour's training
                self._save(score=None)
            fed = None if self._stopping() else self._begin()
            while fed is not None:
                try:
                    fed = self._advance(fed)
                except recovery.Diverged as failure:
                    fed = self._recover(failure, fed)
        self.checkpoints.wait()
        passed_over = [f"{count} {reason}" for reason, count in self.run.source.counts.items() if count and reason != "listed"]
        if passed_over:
            print(f"samples passed over: {', '.join(passed_over)}, of {len(self.run.source)}")
        print(self._outcome())
        return self.taken

    def _outcome(self) -> str:
        if self.taken >= self.config.steps:
            return f"done: {self.taken} steps; checkpoints and pictures are in {self.workdir}{self._best()}"
        if self.stopped_by:
            return f"stopped by {self.stopped_by}: step {self.taken} is saved; the same command goes on from there"
        return f"the data ended after step {self.taken} of {self.config.steps}"

    def _best(self) -> str:
        scores = self.checkpoints.scores() if self.config.keep_best else {}
        if not scores:
            return ""
        best = max(scores, key=scores.get)
        return f"; best by {plan.best_by(self.run)}: step {best} ({abs(scores[best]):.4g})"

    def _begin(self) -> Fed | None:
        """The first batch, the step compiled for it."""
        fed = self.feed.take()
        if fed is not None:
            self.terminal.say("compiling the step ...")
            start = time.perf_counter()
            self.compiled = self.run.step.lower(self.state, self.run.constants, fed.batch).compile()
            self.terminal.say(f"compiling the step took {time.perf_counter() - start:.1f} s")
            if self.run.validation is not None:
                self.run.validation.check(self.state)
        self.meter.clear()
        self.terminal.begin()
        return fed

    def _advance(self, fed: Fed) -> Fed | None:
        """Dispatches one step; returns the batch of the next, None after the last.

        Raises:
          recovery.Diverged: of this step or the one before.
        """
        self.state, metrics = self.compiled(self.state, self.run.constants, fed.batch)
        self.taken, self.position = self.taken + 1, fed.position
        before, self.pending = self.pending, _Pending(self.taken, metrics, fed.host)
        self._settle(before)  # while the devices are at this one
        self.feed.release(before)
        del before
        if self.taken >= self.config.steps or self._stopping():
            self._report(last=True)
            return None
        self._report()
        following = self._next_batch()
        if following is None:
            self._report(last=True)
        return following

    def _stopping(self) -> bool:
        """Whether a signal came. Several processes ask each other at every log line, or one would wait for ever for another."""
        if not processes.several():
            self.stopped_by = self.interrupt.requested
        elif self.taken % self.config.log_every == 0:
            self.stopped_by = next(filter(None, processes.gather(self.interrupt.requested)), "")
        return bool(self.stopped_by)

    def _next_batch(self) -> Fed | None:
        # Several processes must find a loss that diverged at the same place, whether or not one of them waits for data.
        if not self.feed.ready() and not processes.several():
            # Only what remains once the devices are idle too is time lost to data.
            self._settle_pending()
            with self.meter.waiting():
                return self.feed.take()
        return self.feed.take()

    def _settle_pending(self) -> None:
        pending, self.pending = self.pending, None
        self._settle(pending)

    def _settle(self, pending: _Pending | None) -> None:
        """Waits for a step and takes in its metrics.

        Raises:
          recovery.Diverged: its loss is NaN, infinite or exploded.
        """
        if pending is None:
            return
        metrics = jax.device_get(pending.metrics)
        recovery.judge(pending.step, metrics, pending.host, self.config.spike_steps)
        self.spikes = int(metrics["spikes"])
        losses = {f"loss/{name}": float(value) for name, value in metrics["losses"].items()}
        scalars = {"loss": float(metrics["loss"]), **losses}
        scalars |= {f"gradient/{name}": float(metrics[name]) for name in ("norm", "nonfinite")}
        scalars |= {"update/norm": float(metrics["update_norm"]), "parameters/norm": float(metrics["parameter_norm"])}
        scalars |= {"learning_rate": float(metrics["learning_rate"])} if "learning_rate" in metrics else {}
        self.meter.add(scalars if metrics["applied"] else None)
        if metrics["applied"]:
            self.losses.append(scalars["loss"])
        else:
            limit = f"{self.config.spike_factor:g} x the median of the last losses, {float(metrics['median']):.4g}"
            self.terminal.say(f"step {pending.step}: the loss {scalars['loss']:.4g} is over {limit}: not applied")
        self.terminal.advance(pending.step, self._shown(scalars))

    def _shown(self, scalars: dict[str, float]) -> dict[str, float]:
        """The few values for the terminal: the weighted sum and the term of the largest weight."""
        main = max(self.run.config.loss_weights, key=self.run.config.loss_weights.get)
        return {name: scalars[key] for name, key in {"loss": "loss", main: f"loss/{main}"}.items() if key in scalars}

    def _report(self, *, last: bool = False) -> None:
        """Logs, draws, validates and saves what is due after the step just dispatched; everything but validation, after the last."""
        config = self.config
        log, draw, save = (last or self.taken % n == 0 for n in (config.log_every, config.picture_every, config.checkpoint_every))
        validate = self.run.validation is not None and self.taken % config.validate_every == 0
        if not (log or draw or save or validate):
            return
        self._settle_pending()
        if log and self.meter.steps:
            self._log()
        with self.meter.aside():
            if draw and not self.stopped_by:
                self.events.pictures(self.taken, self.run.pictures(self.state))
            scores = self._validate() if validate and not self.stopped_by else None
            # Amid spikes the checkpoint before is the one to go back to, if it comes to that.
            if save and self.saved != self.taken and (last or not self.spikes):
                mean = sum(self.losses) / len(self.losses) if self.losses else None
                self._save(plan.score(self.run, scores, mean))

    def _validate(self) -> dict[str, float]:
        scores = self.run.validation.scores(self.state)
        self.events.scalars(self.taken, {f"validation/{name}": value for name, value in scores.items()})
        name = self.config.best_score.removeprefix("-")
        self.terminal.say(f"step {self.taken}/{self.config.steps}  validation {name} {scores[name]:.4g}")
        return scores

    def _save(self, score: float | None) -> None:
        positions = processes.gather(self.position) if processes.several() else self.position
        self.checkpoints.save(self.state, positions, self.run.assets, self.run.config, score=score, recoveries=self.recoveries)
        self.saved, self.losses = self.taken, []

    def _log(self) -> None:
        means, rate = self.meter.means(), self.meter.steps / self.meter.seconds
        speed = {
            "speed/samples_per_second": rate * self.run.sampling.batch_size,
            "speed/share_waiting_for_data": self.meter.share_waiting,
            "speed/seconds_waiting_for_data": self.meter.seconds_waiting,
            "speed/hours_left": self.terminal.left(self.taken) / 3600,
        }
        counts = {f"data/{reason}": float(count) for reason, count in self.run.source.counts.items()}
        counts |= {"guard/recoveries": float(len(self.recoveries)), "guard/not_applied": float(self.meter.not_applied)}
        self.events.scalars(self.taken, means | speed | counts)
        nonfinite = round(self.meter.sum("gradient/nonfinite"))
        self.terminal.report(self.taken, self._shown(means), steps_per_second=rate, waiting=self.meter.share_waiting, nonfinite=nonfinite)
        self.meter.clear()

    def _recover(self, failure: recovery.Diverged, fed: Fed) -> Fed | None:
        """Back to the last checkpoint; returns the batch after the one that failed.

        Raises:
          ValueError: it has happened too often; a report is in the run's folder.
        """
        failed = recovery.record(failure, self.run.task, self.run.assets)
        what = f"{failure} ({recovery.samples_line(failed['samples'])})"
        with self.meter.aside():
            self.checkpoints.wait()
            back = self.checkpoints.find()
            if len(self.recoveries) >= self.config.max_recoveries:
                report = recovery.write_report(self.workdir, [*self.recoveries, failed], gave_up=True)
                raise ValueError(
                    f"{what}. Gave up after {len(self.recoveries)} recoveries; {report} has all of them, the checkpoint of step {back} "
                    "is whole. A lower learning rate may help; config.train.max_recoveries allows more."
                )
            self.recoveries.append(failed | {"back_to": back})
            recovery.write_report(self.workdir, self.recoveries, gave_up=False)
            # A step dispatched after the one that failed has its batch taken again: the order of data does not depend on timing.
            following = fed if self.pending is not None and self.pending.step > failure.step else self.feed.take()
            self.pending, self.spikes, self.losses = None, 0, []
            self.state, _ = self.checkpoints.restore_training(back, self.state)
            self.checkpoints.set_aside(back)
            self.taken = self.saved = back
            self.events.rewind(back)
            self.terminal.rewind(back)
        count = f"recovery {len(self.recoveries)} of at most {self.config.max_recoveries}"
        self.terminal.say(f"{what}: not applied; back to step {back} and on with the data after that batch ({count})")
        self.meter.clear()
        return following
