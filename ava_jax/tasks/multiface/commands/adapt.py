"""The published test protocol: a run's encoder and colour correction learn on what was held out, and the result is scored there.

  ava multiface adapt --workdir=RUN --out=ADAPTED && ava eval --workdir=ADAPTED

Such scores compare with the published ones and with nothing else: the model has seen what it is tested on. The evaluation says so. What
`ava eval --workdir=RUN` gives without this is of data that the model never saw.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_OUT = flags.DEFINE_string("out", None, "Folder of the adapted run; new, or one that was stopped.")
_SPLIT = flags.DEFINE_string("split", "unseen_segments", "What is learned from, and scored.")
_PASSES = flags.DEFINE_integer("passes", 8, "Over the split; published: 8.", lower_bound=1)


def main(context: Context) -> None:
    """Trains on what was held out, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out is missing: the folder of the adapted run, as in --out=runs/adapted.")
    config, assets, task, _, step = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    from ava_jax.core.names import pick
    from ava_jax.tasks.multiface.evaluation import published

    split = pick("--split", _SPLIT.value, task.eval_splits(assets))
    views = len(task.source(split, assets))
    published.make_adapted(config, split, views, f"{pathlib.Path(_WORKDIR.value).expanduser().absolute()}:{step}", passes=_PASSES.value)
    if context.train(config, pathlib.Path(_OUT.value).expanduser()):
        print(f"adapted to {views} views of {split} in {_PASSES.value} passes; score it with: ava eval --workdir={_OUT.value}")
