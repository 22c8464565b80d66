"""Compares runs on the samples that all were scored on: paired differences with 95% intervals, who is better, pictures side by side.

  ava compare RUN_A RUN_B
  ava compare RUN_A:2000 RUN_A:4000 RUN_B --out=COMPARISON     # checkpoints of one run; every other one is held against the first
  ava compare RUN_A=SCORES_A RUN_B=SCORES_B --data=CAPTURES    # scores that `ava eval --data=CAPTURES --out=SCORES_A` wrote elsewhere

Reads what `ava eval` wrote, by default of each run's last scored step. Results go to --out, by default RUN_B/compare: compare.json and
.csv (scores of every split and group), differences.csv (a row per shared sample), compare.tex, and pictures, truth | A | B | errors, of
the samples that differ most each way, for which both models predict anew; --pictures=0 needs neither models nor data.
"""

import pathlib

from absl import flags

from ava_jax.bin import _main
from ava_jax.tasks.command import Context, define_data

POSITIONAL = "runs"  # words that are no flags are values of this one

_RUNS = flags.DEFINE_multi_string("runs", None, "RUN, RUN:STEP or RUN=SCORES; two or more, several times or as plain words.")
_PICTURES = flags.DEFINE_integer("pictures", 3, "Samples shown of each split on which either is better; 0: none.", lower_bound=0)
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_OUT = flags.DEFINE_string("out", None, "Where results go; by default compare in the second run's folder.")


def main(context: Context) -> None:
    """Compares, prints, writes and draws, as the flags say."""
    from ava_jax.run.compare import work  # jax is imported here, so that --help stays quick

    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else None
    work.carry_out(context, _RUNS.value or (), out, shown=_PICTURES.value, data=_DATA.value)


def run() -> None:
    """The command ava compare."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
