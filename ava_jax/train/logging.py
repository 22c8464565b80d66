"""What a run says: TensorBoard scalars and pictures, PNGs, and one tidy line in the terminal."""

import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import tqdm
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from ava_jax.core.types import Array
from ava_jax.train.idle import IdleClock

_STEPS_TO_JUDGE_BY = 3
_BETWEEN_VALUES = 0.1  # seconds; values beside the bar change no more often


class EventLog:
    """TensorBoard events in the run's folder, pictures beside them as PNGs. Use as a context manager."""

    def __init__(self, workdir: pathlib.Path, *, resumed_at: int):
        """Opens it; events after `resumed_at` steps, of a run that went on from an older checkpoint, are dropped.

        Raises:
          OSError: the folder cannot be written to.
        """
        self._workdir = workdir
        self._pictures = workdir / "pictures"
        with self._raising_plainly():
            self._pictures.mkdir(parents=True, exist_ok=True)
            # Not SummaryWriter: its thread dies of a full disk with nobody told, and then the training waits for it for ever.
            self._writer = EventsWriter(str(workdir / "events"), filename_suffix=f".{os.getpid()}")
        self.rewind(resumed_at)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, kind, *exc) -> None:
        try:
            with self._raising_plainly():
                self._writer.close()
        except OSError:
            if kind is None:  # else what ended the run is what to tell; a full disk ends in both
                raise

    @contextmanager
    def _raising_plainly(self) -> Iterator[None]:
        """Names the folder in an error of writing, which does not say where it was."""
        try:
            yield
        except OSError as e:
            raise OSError(f"{self._workdir}: events and pictures cannot be written ({e.strerror or e}).") from e

    def _write(self, step: int, **what) -> None:
        self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=step, **what))

    def rewind(self, step: int) -> None:
        """Drops what was logged of later steps than this one: TensorBoard hides it."""
        with self._raising_plainly():
            self._write(step + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values by name, as of a step."""
        with self._raising_plainly():
            for name, value in values.items():
                self._write(step, summary=summary.scalar(name, value))
            self._writer.flush()

    def pictures(self, step: int, images: Mapping[str, Array]) -> None:
        """Writes uint8 [H, W, 3] images as <workdir>/pictures/<step>_<name>.png and as events."""
        with self._raising_plainly():
            for name, image in images.items():
                image = np.asarray(image)
                Image.fromarray(image).save(self._pictures / f"{step:07d}_{name}.png")
                self._write(step, summary=summary.image(name, image, dataformats="HWC"))


class NoLog:
    """Stands in for an `EventLog` in the processes that do not write one. A context manager."""

    def __enter__(self) -> "NoLog":
        return self

    def __exit__(self, *exc) -> None:
        pass

    def rewind(self, step: int) -> None:
        """Has nothing to drop."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes nothing."""

    def pictures(self, step: int, images: Mapping[str, Array]) -> None:
        """Writes none of the uint8 [H, W, 3] images."""


class Terminal:
    """Progress on stdout: a bar that stays on one line at a terminal, a line now and then elsewhere. A context manager."""

    def __init__(self, first: int, last: int):
        """Steps go from `first` to `last`."""
        # A pseudo-terminal without a size, as of some CI, would show an empty bar.
        self._interactive = sys.stdout.isatty() and os.get_terminal_size(sys.stdout.fileno()).columns > 0
        self._last, self._advanced, self._started, self._shown = last, 0, time.perf_counter(), 0.0
        self._told_time = self._interactive  # the bar does
        self._bar = tqdm.tqdm(
            total=last,
            initial=first,
            desc="training",
            unit="step",
            file=sys.stdout,
            dynamic_ncols=True,
            mininterval=0.2,
            disable=not self._interactive,
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exc) -> None:
        self._bar.close()

    def print_line(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._interactive:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def begin(self) -> None:
        """The clock starts here: what came before was compiling."""
        self._bar.unpause()
        self._started = time.perf_counter()

    def rewind(self, step: int) -> None:
        """The next step is the one after this."""
        self._bar.n = step
        self._bar.refresh()

    def exclude_time(self, seconds: float) -> None:
        """Seconds just spent, on compiling say, that no further steps will take."""
        self._started += seconds

    def advance(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        """`steps` more, up to `step`, with the values to show beside the bar."""
        self._advanced += steps
        if self._interactive:
            now = time.perf_counter()
            if now - self._shown >= _BETWEEN_VALUES:
                self._shown = now
                self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
            self._bar.update(steps)
        elif not self._told_time and self._advanced >= _STEPS_TO_JUDGE_BY and step < self._last:
            self._told_time = True
            print(f"about {clock(self.left(step))} left for {self._last - step:,} steps", flush=True)

    def left(self, step: int) -> float:
        """Seconds to the end of the run, as the steps so far have gone; pictures, validation and checkpoints count."""
        return (self._last - step) * (time.perf_counter() - self._started) / max(self._advanced, 1)

    def report(
        self, step: int, values: Mapping[str, float], *, steps_per_second: float, idle: float, waiting: float, nonfinite: int = 0
    ) -> None:
        """Where there is no bar: a line with the same. `nonfinite` gradient values since the last one are reported at both.

        `idle` is the part of the time in which the devices had nothing to do, `waiting` that of it in which data were waited for.
        """
        if nonfinite:
            self.print_line(f"step {step}/{self._last}  {nonfinite:,} gradient values were not finite and taken as 0")
        if self._interactive:
            return
        self._told_time = True
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        speed = f"{steps_per_second:.2f} steps/s  devices idle {idle:.0%}  waiting for data {waiting:.0%}"
        print(f"step {step}/{self._last}  {shown}  {speed}  {clock(self.left(step))} left", flush=True)


class Meter:
    """Means of a few steps' values, and how the time went."""

    def __init__(self) -> None:
        self.idle = IdleClock()
        self.clear()

    def clear(self) -> None:
        """Starts anew, the clocks too."""
        self.idle.clear()
        self._start = time.perf_counter()
        self._excluded = self._waiting = 0.0
        self._sums: dict[str, float] = {}
        self.steps = self._added = 0

    def add(self, values: Mapping[str, np.ndarray]) -> None:
        """As many steps more as there are values by each name, [n]."""
        count = 0
        for name, of_steps in values.items():
            count = len(of_steps)
            self._sums[name] = self._sums.get(name, 0.0) + sum(of_steps.tolist())  # of one value, far quicker than NumPy's
        self.steps += count
        self._added += count

    def add_not_applied(self) -> None:
        """One step more that was not applied: it counts for the time alone."""
        self.steps += 1

    def sum(self, name: str) -> float:
        """Of a value over the steps taken in."""
        return self._sums.get(name, 0.0)

    def means(self) -> dict[str, float]:
        """Means over the steps taken in."""
        return {name: value / self._added for name, value in self._sums.items()}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here is spent idle, waiting for data."""
        start = time.perf_counter()
        yield
        self._waiting += time.perf_counter() - start

    @contextmanager
    def exclude_time(self) -> Iterator[None]:
        """Time in here (pictures, checkpoints) does not count as training."""
        start = time.perf_counter()
        yield
        self._excluded += time.perf_counter() - start
        self.idle.restart()

    @property
    def not_applied(self) -> int:
        """Steps taken in that were not applied."""
        return self.steps - self._added

    @property
    def seconds_waiting(self) -> float:
        """Spent waiting for data."""
        return self._waiting

    @property
    def seconds(self) -> float:
        """Since the start, without what `exclude_time` left out."""
        return max(time.perf_counter() - self._start - self._excluded, 1e-9)

    @property
    def share_idle(self) -> float:
        """Part of `seconds` in which the devices had nothing to do, 0..1."""
        return min(self.idle.seconds / self.seconds, 1.0)

    @property
    def share_waiting(self) -> float:
        """Part of `seconds` that was spent waiting, 0..1."""
        return min(self._waiting / self.seconds, 1.0)


def clock(seconds: float) -> str:
    """'1:02:03', '4:05'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
