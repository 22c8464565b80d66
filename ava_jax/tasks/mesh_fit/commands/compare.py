"""The published experiment again, on given data: its three variants after 2 epochs and the best of them after 20, as a table.

  ava mesh_fit compare --data=DATA --unseen=dance --out=COMPARISON
  ava mesh_fit compare --data=DATA --out=SMALL --epochs=1 --best_epochs=2 --set=model.hidden=64 --set=data.on_device=False

Each run is `ava train`, `ava eval` and `ava predict`, one after the other, in a folder of its own; runs that are done are skipped, and one
that was stopped goes on. The first variant and the best are trained conditioned on vertices too, as the published code was. Results go to
--out: comparison.md and .csv (mean squared error of the frames and the motions that were held out, beside what needs no learning),
curves.png, comparison.jpg.
"""

import pathlib

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
    from ava_jax.tasks.mesh_fit.evaluation import experiment  # imports jax, without which --help is quick

    runs = experiment.Experiment(
        data=pathlib.Path(_DATA.value).expanduser(),
        out=pathlib.Path(_OUT.value).expanduser(),
        unseen=tuple(_UNSEEN.value),
        variants=tuple(_VARIANTS.value),
        epochs=_EPOCHS.value,
        best_epochs=_BEST_EPOCHS.value,
        vertex=_VERTEX.value,
        pictures=_PICTURES.value,
        values=tuple(_SET.value),
    )
    written = runs.carry_out(experiment.ava)
    print(f"\n{(runs.out / 'comparison.md').read_text()}")
    print("\n".join(f"wrote {path}" for path in written))
