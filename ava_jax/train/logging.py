"""What a run says: TensorBoard scalars and pictures, PNGs, and one tidy line in the terminal."""

import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import tensorboardX
import tqdm
from PIL import Image

from ava_jax.core.types import Array


class EventLog:
    """TensorBoard events in the run's folder, pictures beside them as PNGs. Use as a context manager."""

    def __init__(self, workdir: pathlib.Path, *, resumed_at: int):
        """Opens it; events after `resumed_at` steps, of a run that went on from an older checkpoint, are dropped."""
        self._pictures = workdir / "pictures"
        self._pictures.mkdir(parents=True, exist_ok=True)
        self._writer = tensorboardX.SummaryWriter(str(workdir), purge_step=resumed_at + 1)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *exc) -> None:
        self._writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes values by name, as of a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def pictures(self, step: int, images: Mapping[str, Array]) -> None:
        """Writes uint8 [H, W, 3] images as <workdir>/pictures/<step>_<name>.png and as events."""
        for name, image in images.items():
            image = np.asarray(image)
            Image.fromarray(image).save(self._pictures / f"{step:07d}_{name}.png")
            self._writer.add_image(name, image, step, dataformats="HWC")


class Terminal:
    """Progress on stdout: a bar that stays on one line at a terminal, a line now and then elsewhere. A context manager."""

    def __init__(self, first: int, last: int):
        """Steps go from `first` to `last`."""
        # A pseudo-terminal without a size, as of some CI, would show an empty bar.
        self._interactive = sys.stdout.isatty() and os.get_terminal_size(sys.stdout.fileno()).columns > 0
        self._last = last
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

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self._interactive:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def begin(self) -> None:
        """The clock of the bar starts here: what came before was compiling."""
        self._bar.unpause()

    def advance(self, values: Mapping[str, float]) -> None:
        """One step more, with the values to show beside the bar."""
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
        self._bar.update()

    def report(self, step: int, values: Mapping[str, float], *, steps_per_second: float, waiting: float) -> None:
        """Where there is no bar: a line with the same."""
        if self._interactive:
            return
        left = (self._last - step) / max(steps_per_second, 1e-9)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(
            f"step {step}/{self._last}  {shown}  {steps_per_second:.2f} steps/s  waiting for data {waiting:.0%}  {clock(left)} left",
            flush=True,
        )


class Meter:
    """Means of a few steps' values, and how the time went."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Starts anew, the clock too."""
        self._start = time.perf_counter()
        self._aside = self._waiting = 0.0
        self._sums: dict[str, float] = {}
        self.steps = 0

    def add(self, values: Mapping[str, float]) -> None:
        """Takes in the values of a step."""
        self.steps += 1
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Means over the steps taken in."""
        return {name: value / self.steps for name, value in self._sums.items()}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here is spent idle, waiting for data."""
        start = time.perf_counter()
        yield
        self._waiting += time.perf_counter() - start

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Time in here (pictures, checkpoints) does not count as training."""
        start = time.perf_counter()
        yield
        self._aside += time.perf_counter() - start

    @property
    def seconds(self) -> float:
        """Since the start, without the time put aside."""
        return max(time.perf_counter() - self._start - self._aside, 1e-9)

    @property
    def share_waiting(self) -> float:
        """Part of `seconds` that was spent waiting, 0..1."""
        return min(self._waiting / self.seconds, 1.0)


def clock(seconds: float) -> str:
    """'1:02:03', '4:05'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
