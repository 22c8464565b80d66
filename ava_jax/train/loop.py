"""The training loop: resume, iterate, log, validate, take pictures, save, recover."""

import contextlib
import pathlib
import time
from typing import Any, NamedTuple

import jax
import ml_collections

from ava_jax.train import calls, plan, processes, record, recovery, summary, telling
from ava_jax.train.checkpoint import Checkpoints
from ava_jax.train.feed import DeviceBatch, Feed
from ava_jax.train.interrupt import Interrupt
from ava_jax.train.lock import Lock
from ava_jax.train.logging import EventLog, Meter, NoLog, Terminal
from ava_jax.train.plan import Run, Start
from ava_jax.train.weights import heaviest


def train(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> int:
    """Trains what the config names, or goes on from the latest whole checkpoint in `workdir`; returns the steps taken in all.

    On SIGINT or SIGTERM it finishes the call that it is at (`train.steps_per_call`), saves and returns.

    Raises:
      ValueError: the config does not fit the data, the devices or the run in workdir; all checkpoints are damaged; or losses
        became NaN, infinite or exploded more than `train.max_recoveries` times.
      FileNotFoundError: the data are not there.
      OSError: checkpoints, events or pictures cannot be written.
    """
    workdir = pathlib.Path(workdir)
    plan.validate(config)
    with Interrupt() as interrupt, Lock(workdir) as lock:
        if processes.is_first() and workdir.is_dir():
            lock.take()
        with Checkpoints(workdir) as saved:
            latest = saved.find() if saved.steps() else None
            if latest is not None:
                plan.check_resumable(saved.about(latest).config, config, workdir)
                if not plan.epochs(config) and latest >= config.train.steps:  # told even where the data are gone
                    return _done_already(workdir, latest, config.train.steps, "steps")
            found = plan.open_data(config, saved, latest)
            if latest is not None:
                if latest >= found.steps:
                    return _done_already(workdir, latest, found.steps, "epochs")
                saved.set_aside(latest)
            run, start = plan.build(found, saved, latest)
            if start.resumed and start.patience.over:
                print(f"{workdir}: done already: step {latest}, {start.patience}. --config.train.patience=... trains on.")
                return latest
            if processes.is_first() and not lock.held:  # a new run: nothing was written for one that could not begin
                _take_new(lock, workdir)
            record.write(workdir, config, run.task, run.assets, first=latest or 0)
            print(summary.summary(run, start), flush=True)
        with (
            Checkpoints(workdir, write=True, keep=config.train.keep_checkpoints, keep_best=config.train.keep_best) as checkpoints,
            EventLog(workdir, resumed_at=latest or 0) if processes.is_first() else NoLog() as events,
            plan.feed(run, start) as feed,
        ):
            return _Loop(run, start, checkpoints, events, feed, interrupt).go()


def _take_new(lock: Lock, workdir: pathlib.Path) -> None:
    """Makes the folder of a new run, and locks it.

    Raises:
      ValueError: another run began there meanwhile.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    lock.take()
    with Checkpoints(workdir) as there:
        if there.steps():
            raise ValueError(f"{workdir}: another run began there meanwhile. The same command goes on from it; or take another --workdir.")


def _done_already(workdir: pathlib.Path, latest: int, count: int, key: str) -> int:
    print(f"{workdir}: done already: {latest} of {count} steps. --config.train.{key}=... trains on.")
    return latest


class _Pending(NamedTuple):
    """A call that the devices may still be at: the number of its first step, its metrics, and what its steps took, by step."""

    first: int
    metrics: dict[str, Any]
    read: tuple[Any, ...]
    positions: tuple[Any, ...]


class _Loop:
    """The steps of a run: what changes while it goes."""

    def __init__(self, run: Run, start: Start, checkpoints: Checkpoints, events: EventLog | NoLog, feed: Feed, interrupt: Interrupt):
        self.run, self.config = run, run.config.train
        self.state, self.recoveries, self.patience = start.state, list(start.recoveries), start.patience
        self.checkpoints, self.events, self.feed, self.interrupt = checkpoints, events, feed, interrupt
        self.workdir = checkpoints.folder.parent
        self.taken = int(start.state.step)
        self.saved = self.taken if start.resumed else None
        self.position = start.iterator.get_state()  # after the batch of the last step dispatched ...
        self.position_collected = self.position  # ... and of the last one whose metrics were looked at
        self.pending: _Pending | None = None
        self.stopped_by = ""  # the signal that all processes stop for
        self.spikes = 0  # in a row, up to the last step whose metrics are known
        self.losses: list[float] = []  # of the steps applied since the last checkpoint
        self.main = heaviest(run.config.loss_weights)
        self.meter = Meter()
        self.terminal = Terminal(self.taken, run.steps)
        self.programs: dict[int, calls.Call] = {}  # by how many steps they take

    def go(self) -> int:
        """Steps until the last, the end of the data or an interrupt; returns the steps taken in all."""
        with self.terminal, contextlib.closing(self.meter.idle):
            if self.saved is None:  # something to go back to; and a folder that cannot be written to is told before an hour's training
                self._save(self._first_score())
            batch = None if self._stopping() else self._begin()
            while batch is not None:
                try:
                    batch = self._advance(batch)
                except recovery.Diverged as failure:
                    batch = self._recover(failure)
        self.checkpoints.wait()
        passed_over = [f"{count} {reason}" for reason, count in self.run.source.counts.items() if count and reason != "listed"]
        if passed_over:
            print(f"samples passed over: {', '.join(passed_over)}, of {len(self.run.source)}")
        print(telling.outcome(self.run, self.taken, self.checkpoints, self.patience, self.stopped_by))
        return self.taken

    def _first_score(self) -> float | None:
        """Of the state before the first step, where a run ends once it gets no better: it may be the best already."""
        if not self.patience.most:
            return None
        self.run.validation.check(self.state)
        return self._validate()

    def _begin(self) -> DeviceBatch | None:
        """The first batch, the program compiled for it."""
        batch = self.feed.take()
        if batch is not None:
            if self.run.validation is not None:
                self.run.validation.check(self.state)
            self._program(batch)
        self.meter.clear()
        self.terminal.begin()
        return batch

    def _program(self, batch: DeviceBatch) -> calls.Call:
        """The program for as many steps as the batch is of."""
        if batch.steps not in self.programs:
            what = "the step" if batch.steps == 1 else f"{batch.steps} steps per call"
            self.terminal.print_line(f"compiling {what} ...")
            start = time.perf_counter()
            with self.meter.exclude_time():
                self.programs[batch.steps] = self.run.compile(self.state, batch)
            seconds = time.perf_counter() - start
            self.terminal.exclude_time(seconds)
            self.terminal.print_line(f"compiling {what} took {seconds:.1f} s")
        return self.programs[batch.steps]

    def _advance(self, batch: DeviceBatch) -> DeviceBatch | None:
        """Dispatches a call; returns the batch of the next, None after the last.

        Raises:
          recovery.Diverged: of a step of this call or the one before.
        """
        self.state, metrics = self._program(batch)(self.state, batch.arrays)
        self.meter.idle.dispatched(metrics["loss"])
        before, self.pending = self.pending, _Pending(self.taken + 1, metrics, batch.read, batch.positions)
        self.taken, self.position = self.taken + batch.steps, batch.positions[-1]
        self._collect_metrics(before)  # while the devices are at this one
        self.feed.free(before)
        del before
        if self.taken >= self.run.steps or self._stopping():
            self._report(last=True)
            return None
        self._report()
        if self.patience.over:
            return None
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

    def _next_batch(self) -> DeviceBatch | None:
        # Several processes must find a loss that diverged at the same place, whether or not one of them waits for data.
        if not self.feed.ready() and not processes.several():
            # Only what remains once the devices are idle too is time lost to data.
            self._collect_pending()
            with self.meter.waiting():
                return self.feed.take()
        return self.feed.take()

    def _collect_pending(self) -> None:
        pending, self.pending = self.pending, None
        self._collect_metrics(pending)

    def _collect_metrics(self, pending: _Pending | None) -> None:
        """Waits for a call and takes in its steps' metrics, in order.

        Raises:
          recovery.Diverged: a step's loss is NaN, infinite or exploded.
        """
        if pending is None:
            return
        count = len(pending.read)
        metrics = calls.by_step(jax.device_get(pending.metrics), count)
        if metrics["applied"].all():
            self._take_in(metrics, pending.positions[-1])
        else:
            for i in range(count):
                one = jax.tree.map(lambda values, i=i: values[i : i + 1], metrics)
                if one["applied"]:
                    self._take_in(one, pending.positions[i])
                else:
                    self._judge(pending.first + i, one, pending.read[i], pending.positions[i])
        shown = telling.few(telling.scalars(metrics), self.main)
        self.terminal.advance(pending.first + count - 1, count, {name: values[-1] for name, values in shown.items()})

    def _take_in(self, metrics: dict[str, Any], position: Any) -> None:
        """Metrics [n] of steps that were applied, and the data's position after the last one's batch."""
        self.position_collected, self.spikes = position, 0
        scalars = telling.scalars(metrics)
        self.meter.add(scalars)
        self.losses += scalars["loss"].tolist()

    def _judge(self, step: int, metrics: dict[str, Any], read: Any, position: Any) -> None:
        """A step that was not applied: metrics [1], what it took, and the data's position after that."""
        self.position_collected = position
        metrics = jax.tree.map(lambda values: values.item(), metrics)
        recovery.judge(step, metrics, read, self.config.spike_steps)
        self.spikes = metrics["spikes"]
        self.meter.add_not_applied()
        name, value, median = recovery.spiked(metrics)
        limit = f"{self.config.spike_factor:g} x the median of the last losses, {median:.4g}"
        self.terminal.print_line(f"step {step}: the {name} {value:.4g} is over {limit}: not applied")

    def _report(self, *, last: bool = False) -> None:
        """Logs, draws, validates and saves what is due after the step just dispatched; everything but validation, after the last."""
        config = self.config
        log, draw, save = (last or self.taken % max(n, 1) == 0 for n in (config.log_every, config.picture_every, config.checkpoint_every))
        draw = draw and self.run.pictures is not None
        validate = self.run.validation is not None and self.taken % config.validate_every == 0
        if not (log or draw or save or validate):
            return
        self._collect_pending()
        if log and self.meter.steps:
            self._log()
        with self.meter.exclude_time():
            if draw and not self.stopped_by:
                self.events.pictures(self.taken, self.run.pictures(self.state))
            score = self._validate() if validate and not self.stopped_by else None
            last = last or self.patience.over
            # Amid spikes the checkpoint before is the one to go back to, if it comes to that.
            if (save or last) and self.saved != self.taken and (last or not self.spikes):
                mean = sum(self.losses) / len(self.losses) if self.losses else None
                self._save(score if self.run.validation is not None else plan.score(self.run, None, mean))

    def _validate(self) -> float | None:
        """Scores the state; returns what its checkpoint competes with."""
        scores = self.run.validation.scores(self.state)
        self.events.scalars(self.taken, {f"validation/{name}": value for name, value in scores.items()})
        best = self.run.validation.best
        self.terminal.print_line(
            f"step {self.taken}/{self.run.steps}  validation {best.name} {telling.score_in_words(best, scores[best.name])}"
        )
        score = plan.score(self.run, scores, None)
        self.patience.add(score)
        return score

    def _save(self, score: float | None) -> None:
        positions = processes.gather(self.position) if processes.several() else self.position
        self.checkpoints.save(self.state, positions, self.run.assets, self.run.config, score=score, recoveries=self.recoveries)
        self.saved, self.losses = self.taken, []

    def _log(self) -> None:
        means, rate = self.meter.means(), self.meter.steps / self.meter.seconds
        speed = telling.speed(self.meter, self.run.sampling.batch_size, self.terminal.left(self.taken))
        counts = {f"data/{reason}": float(count) for reason, count in self.run.source.counts.items()}
        counts |= {"guard/recoveries": float(len(self.recoveries)), "guard/not_applied": float(self.meter.not_applied)}
        self.events.scalars(self.taken, means | speed | counts)
        nonfinite, parts = round(self.meter.sum("gradient/nonfinite")), {"idle": self.meter.share_idle, "waiting": self.meter.share_waiting}
        self.terminal.report(self.taken, telling.few(means, self.main), steps_per_second=rate, nonfinite=nonfinite, **parts)
        self.meter.clear()

    def _recover(self, failure: recovery.Diverged) -> DeviceBatch | None:
        """Back to the last checkpoint; returns the batch after that of the step that failed.

        Raises:
          ValueError: it has happened too often; a report is in the run's folder.
        """
        failure.batch = self.run.batch(failure.batch)
        failed = recovery.record(failure, self.run.task, self.run.assets)
        what = f"{failure} ({recovery.samples_line(failed['samples'])})"
        with self.meter.exclude_time():
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
            # Steps dispatched after the one that failed have their batches taken again: the order of data does not depend on timing.
            self.position = self.position_collected
            self.feed.go_to(self.position, back)
            self.pending, self.spikes, self.losses = None, 0, []
            self.state, _ = self.checkpoints.restore_training(back, self.state)
            self.checkpoints.set_aside(back)
            self.taken = self.saved = back
            self.events.rewind(back)
            self.terminal.rewind(back)
        count = f"recovery {len(self.recoveries)} of at most {self.config.max_recoveries}"
        self.terminal.print_line(f"{what}: not applied; back to step {back} and on with the data after that batch ({count})")
        self.meter.clear()
        return self.feed.take()
