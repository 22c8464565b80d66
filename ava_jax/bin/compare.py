"""Compares runs on the samples that all were scored on: paired differences with 95% intervals, who is better, pictures side by side.

  ava compare RUN_A RUN_B
  ava compare RUN_A:2000 RUN_A:4000 RUN_B --out=COMPARISON     # checkpoints of one run; every other one is held against the first
  ava compare RUN_A=SCORES_A RUN_B=SCORES_B --data=CAPTURES    # scores that `ava eval --data=CAPTURES --out=SCORES_A` wrote elsewhere

Reads what `ava eval` wrote, by default of each run's last scored step. Results go to --out, by default RUN_B/compare: compare.json and
.csv (scores of every split and group), differences.csv (a row per shared sample), compare.tex, and pictures, truth | A | B | errors, of
the samples that differ most each way, for which both models predict anew; --pictures=0 needs neither models nor data.
"""

import pathlib
from typing import TYPE_CHECKING

from absl import flags

from ava_jax.bin import _main
from ava_jax.tasks.command import Context, define_data

if TYPE_CHECKING:  # these import jax
    from ava_jax.run.compare.comparison import Comparison
    from ava_jax.run.compare.pictures import Restored
    from ava_jax.run.compare.runs import Run

POSITIONAL = "runs"  # words that are no flags are values of this one

_RUNS = flags.DEFINE_multi_string("runs", None, "RUN, RUN:STEP or RUN=SCORES; two or more, several times or as plain words.")
_PICTURES = flags.DEFINE_integer("pictures", 3, "Samples shown of each split on which either is better; 0: none.", lower_bound=0)
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_OUT = flags.DEFINE_string("out", None, "Where results go; by default compare in the second run's folder.")


def main(context: Context) -> None:
    """Compares, prints, writes and draws, as the flags say."""
    given = _RUNS.value or []
    if len(given) < 2:
        raise ValueError("name two runs or more, as in ava compare RUN_A RUN_B.")
    from ava_jax.run.compare import comparison, runs, writing  # jax is imported here, so that --help stays quick

    read = [runs.read(_label(i), one) for i, one in enumerate(given)]
    if same := [run.given for i, run in enumerate(read) if run.scored.folder in [other.scored.folder for other in read[:i]]]:
        raise ValueError(f"{same[0]}: its scores are compared with themselves; name another run, or another step as RUN:STEP.")
    found = [comparison.compare(read[0], other) for other in read[1:]]
    print("\n\n".join(map(writing.text, found)), flush=True)
    folder = pathlib.Path(_OUT.value).expanduser() if _OUT.value else read[1].workdir / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    written = writing.write(found, folder)
    print("\n" + "\n".join(f"wrote {path}" for path in written), flush=True)
    if _PICTURES.value:
        print("\n".join(f"wrote {path}" for path in _draw(context, found, folder)) or "this task draws no samples: there are no pictures")


def _label(number: int) -> str:
    """A, B, ... Z, R27, R28, ..."""
    return chr(ord("A") + number) if number < 26 else f"R{number + 1}"


def _draw(context: Context, comparisons: "list[Comparison]", folder: pathlib.Path) -> list[pathlib.Path]:
    """Pictures of all comparisons, which have the first run in common."""
    from ava_jax.run.compare import pictures

    written = []
    first = _restore(context, comparisons[0].first)
    for one in comparisons:
        samples = pictures.chosen(one, _PICTURES.value)
        second = _restore(context, one.second)
        drawn = [pictures.draw(restored, run, samples, at) for at, (restored, run) in enumerate(((first, one.first), (second, one.second)))]
        written += pictures.write(one, samples, drawn, folder)
    return written


def _restore(context: Context, run: "Run") -> "Restored":
    """The run's model, on data thinned as they were for its scores."""
    from ava_jax.run.compare.pictures import Restored

    most = max(len(rows) + run.scored.unreadable.get(split, 0) for split, rows in run.scored.rows.items())
    thinned = {"eval.max_samples": most} if "eval.max_samples" in run.config else {}
    try:
        _, assets, task, model, _ = context.restore(run.workdir, run.scored.step, overrides={"data.root": _DATA.value, **thinned})
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{e} Pictures need the checkpoint that was scored; --pictures=0 leaves them out.") from e
    return Restored(task, assets, context.compile(model))


def run() -> None:
    """The command ava compare."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
