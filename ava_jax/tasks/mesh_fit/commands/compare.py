"""The published experiment again, on given data: its three variants after 2 epochs and the best of them after 20, as a table.

  ava mesh_fit compare --data=DATA --unseen=dance --out=COMPARISON
  ava mesh_fit compare --data=DATA --out=SMALL --epochs=1 --best_epochs=2 --set=model.hidden=64 --set=data.on_device=False

Each run is `ava train`, `ava eval` and `ava predict`, one after the other, in a folder of its own; runs that are done are skipped, and one
that was stopped goes on. The first variant and the best are trained conditioned on vertices too, as the published code was. Results go to
--out: comparison.md and .csv (mean squared error of the frames and the motions that were held out, beside what needs no learning),
curves.png, comparison.jpg.
"""

import json
import pathlib
import subprocess
import sys

from absl import flags

_DATA = flags.DEFINE_string("data", None, "Folder of NAME_sbs, NAME_target and NAME_joints.")
_OUT = flags.DEFINE_string("out", None, "Folder of the runs and the results.")
_UNSEEN = flags.DEFINE_list("unseen", [], "Motions that are held out whole, with commas between.")
_VARIANTS = flags.DEFINE_list("variants", ["sbs", "joints", "laplacian"], "Variants of the config mesh_fit.")
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Of every variant.", lower_bound=1)
_BEST_EPOCHS = flags.DEFINE_integer("best_epochs", 20, "Of the best variant; 0: it is not trained again.", lower_bound=0)
_VERTEX = flags.DEFINE_bool("vertex", True, "Train the first variant and the best conditioned on vertices too.")
_PICTURES = flags.DEFINE_integer("pictures", 3, "Frames of the sheet of pictures.", lower_bound=0)
_SET = flags.DEFINE_multi_string("set", [], "A value of the config, for all runs: KEY=VALUE, as in --set=train.batch_size=2.")


def main() -> None:
    """Trains, evaluates and tabulates, as the flags say."""
    for flag, example in ((_DATA, "--data=DATA"), (_OUT, "--out=COMPARISON")):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing, as in {example}.")
    if not _VARIANTS.value:
        raise ValueError("--variants must name one at least, as in --variants=sbs,joints.")
    from ava_jax.tasks.mesh_fit.evaluation import comparison  # jax is imported here, so that --help stays quick

    out = pathlib.Path(_OUT.value).expanduser()
    _require_same_settings(out)
    runs = comparison.plan(_VARIANTS.value, _EPOCHS.value, vertex=_VERTEX.value)
    results = [_carry_out(run, out) for run in runs]
    if _BEST_EPOCHS.value:
        best = min((result for result in results if result.run.condition_on == "time"), key=lambda result: result.best_by).run
        print(f"\nthe best after {_EPOCHS.value} epochs is {best.variant}: it is trained for {_BEST_EPOCHS.value}")
        again = [comparison.Run(best.variant, on, _BEST_EPOCHS.value) for on in ("time", *(["vertex"] if _VERTEX.value else []))]
        results += [_carry_out(run, out) for run in again if run not in runs]
    written = [*comparison.write_table(results, out), *comparison.write_curves(results, out)]
    if _PICTURES.value:
        predicted = {result.run.name: _predict(result.run, out) for result in results}
        written += comparison.write_pictures(predicted, pathlib.Path(_DATA.value).expanduser(), out)
    print(f"\n{(out / 'comparison.md').read_text()}")
    print("\n".join(f"wrote {path}" for path in written))


def _require_same_settings(out: pathlib.Path) -> None:
    """What makes runs comparable is written down with the first one.

    Raises:
      ValueError: the folder holds runs of other data or other settings.
    """
    settings = {"data": str(pathlib.Path(_DATA.value).expanduser().resolve()), "unseen": _UNSEEN.value, "set": _SET.value}
    path = out / "settings.json"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1))
    elif (before := json.loads(path.read_text())) != settings:
        other = next(name for name in settings if before.get(name) != settings[name])
        raise ValueError(f"{out}: holds runs of --{other} {before.get(other)}, not {settings[other]}; choose another --out.")


def _carry_out(run, out: pathlib.Path):
    """Trains and evaluates a run, unless that is done: its result."""
    from ava_jax.tasks.mesh_fit.evaluation import comparison

    workdir = out / run.name
    if comparison.evaluated(workdir) is None:
        values = {
            "data.root": _DATA.value,
            "data.held_out.sequences": repr(tuple(_UNSEEN.value)),
            "model.condition_on": run.condition_on,
            "train.epochs": run.epochs,
        }
        values = [*(f"{key}={value}" for key, value in values.items()), *_SET.value]
        _ava("train", f"--config=mesh_fit:{run.variant}", *(f"--config.{value}" for value in values), f"--workdir={workdir}")
        _ava("eval", f"--workdir={workdir}")
    else:
        print(f"\n{run.name}: done already")
    return comparison.Result(run, workdir)


def _predict(run, out: pathlib.Path) -> pathlib.Path:
    """Predicts frames that were held out, of motions never seen where there are, unless that is done: the folder of OBJ files."""
    split = "unseen_sequences" if _UNSEEN.value else "unseen_frames"
    folder = out / "predictions" / run.name
    if not list(folder.glob("*/*.obj")):
        _ava("predict", f"--workdir={out / run.name}", f"--split={split}", f"--max_samples={_PICTURES.value}", f"--out={folder}")
    return folder


def _ava(*words: str) -> None:
    """Runs a command of `ava` in a process of its own, which takes all of a GPU and gives it back.

    Raises:
      ValueError: it failed; it has said why.
    """
    print(f"\n$ ava {' '.join(words)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "ava_jax.bin.ava", *words], check=False)
    if done.returncode:
        raise ValueError(f"ava {words[0]} ended with status {done.returncode}; mend what it says above, and give this command again.")
