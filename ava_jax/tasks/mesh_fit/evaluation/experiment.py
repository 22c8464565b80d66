"""Carries out a comparison of runs by the package's own commands; what is done is not done again."""

import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

from ava_jax.tasks.mesh_fit.data.source import UNSEEN_FRAMES, UNSEEN_SEQUENCES
from ava_jax.tasks.mesh_fit.evaluation import comparison
from ava_jax.tasks.mesh_fit.evaluation.comparison import Result, Run

SETTINGS = "settings.json"
Ava = Callable[..., None]  # `ava("train", "--config=...", ...)` carries a command out


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What to compare.

    Attributes:
      data: the data root.
      out: folder of the runs and the results.
      unseen: motions that are held out whole.
      variants: of the config mesh_fit.
      epochs: of every variant; 0: as long as its config says.
      best_epochs: of the best of them; 0: it is not trained again.
      vertex: whether the first variant and the best are trained conditioned on vertices too.
      pictures: frames of the sheet.
      values: of the config, for all runs, `KEY=VALUE` each.
    """

    data: pathlib.Path
    out: pathlib.Path
    unseen: tuple[str, ...] = ()
    variants: tuple[str, ...] = ("sbs", "joints", "laplacian")
    epochs: int = 2
    best_epochs: int = 20
    vertex: bool = True
    pictures: int = 3
    values: tuple[str, ...] = ()

    def carry_out(self, ava: Ava) -> list[pathlib.Path]:
        """Trains and evaluates what is not done yet, writes the results and names them.

        Raises:
          ValueError: the folder holds runs of other settings, or a command fails.
        """
        self._require_same_settings()
        runs = comparison.plan(self.variants, self.epochs, vertex=self.vertex)
        results = [self._result(run, ava) for run in runs]
        if self.best_epochs:
            best = min((result for result in results if result.run.condition_on == "time"), key=lambda result: result.best_by).run
            print(f"\nthe best after {self.epochs} epochs is {best.variant}: it is trained for {self.best_epochs}")
            again = [Run(best.variant, on, self.best_epochs) for on in ("time", *(["vertex"] if self.vertex else []))]
            results += [self._result(run, ava) for run in again if run not in runs]
        floors = comparison.training_floors(self.data, self.unseen)
        written = [*comparison.write_table(results, self.out), *comparison.write_curves(results, floors, self.out)]
        if self.pictures:
            predicted = {result.run.name: self._predict(result.run, ava) for result in results}
            written += comparison.write_pictures(predicted, self.data, self.out)
        return written

    def _require_same_settings(self) -> None:
        """What makes runs comparable is written down with the first one.

        Raises:
          ValueError: the folder holds runs of other data or other settings.
        """
        settings = {"data": str(self.data.resolve()), "unseen": list(self.unseen), "set": list(self.values)}
        path = self.out / SETTINGS
        if not path.is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(settings, indent=1))
        elif (before := json.loads(path.read_text())) != settings:
            other = next(name for name in settings if before.get(name) != settings[name])
            raise ValueError(f"{self.out}: holds runs of --{other} {before.get(other)}, not {settings[other]}; choose another --out.")

    def _result(self, run: Run, ava: Ava) -> Result:
        """Trains and evaluates a run, unless that is done."""
        workdir = self.out / run.name
        if comparison.evaluated(workdir) is None:
            values = {
                "data.root": self.data,
                "data.held_out.sequences": self.unseen,
                "model.condition_on": run.condition_on,
            } | ({"train.epochs": run.epochs} if run.epochs else {})
            given = [*(f"{key}={value}" for key, value in values.items()), *self.values]
            ava("train", f"--config=mesh_fit:{run.variant}", *(f"--config.{value}" for value in given), f"--workdir={workdir}")
            ava("eval", f"--workdir={workdir}")
        else:
            print(f"\n{run.name}: done already")
        return Result(run, workdir)

    def _predict(self, run: Run, ava: Ava) -> pathlib.Path:
        """Predicts frames that were held out, of motions never seen where there are, unless that is done: the folder of OBJ files."""
        split = UNSEEN_SEQUENCES if self.unseen else UNSEEN_FRAMES
        folder = self.out / "predictions" / run.name
        if not list(folder.glob("*/*.obj")):
            ava("predict", f"--workdir={self.out / run.name}", f"--split={split}", f"--max_samples={self.pictures}", f"--out={folder}")
        return folder


def ava(*words: str) -> None:
    """Carries a command of `ava` out in a process of its own, which takes all of a GPU and gives it back.

    Raises:
      ValueError: it failed; it has said why.
    """
    print(f"\n$ ava {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "ava_jax.bin.ava", *words], check=False)
    if done.returncode:
        raise ValueError(f"ava {words[0]} ended with status {done.returncode}; mend what it says above, and give this command again.")
