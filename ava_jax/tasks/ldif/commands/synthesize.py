"""Writes procedural watertight shapes of six classes, and the examples to learn from.

  ava ldif synthesize --out=DATA                         # 40 shapes per class to train on, 2 to validate on, 5 to test on
  ava ldif synthesize --out=DATA --train=1000 --test=50

Chairs, tables, lamps, vases, planes, cars, no two alike: DATA/meshes and DATA/examples, which --config.data.root names. Run again, it makes
what is missing. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

from ava_jax.data.workers import cores

_OUT = flags.DEFINE_string("out", None, "Folder of meshes and examples.")
_TRAIN = flags.DEFINE_integer("train", 40, "Shapes of each class to train on.", lower_bound=1)
_VAL = flags.DEFINE_integer("val", 2, "To validate on.", lower_bound=0)
_TEST = flags.DEFINE_integer("test", 5, "To test on.", lower_bound=0)
_SEED = flags.DEFINE_integer("seed", 0, "Of shapes and samples.", lower_bound=0)
_JOBS = flags.DEFINE_integer("jobs", cores(), "Processes, a shape each.", lower_bound=1)


def main() -> None:
    """Makes shapes and examples, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out must name a folder, as in --out=DATA.")
    from ava_jax.tasks.ldif import shapes
    from ava_jax.tasks.ldif.data import meshes, prepare

    meshes.require()
    out = pathlib.Path(_OUT.value).expanduser()
    counts = {split: count for split, count in (("train", _TRAIN.value), ("val", _VAL.value), ("test", _TEST.value)) if count}
    shapes.write(out / "meshes", counts, seed=_SEED.value, jobs=_JOBS.value)
    works = prepare.find(out / "meshes", out / "examples")
    (out / "examples").mkdir(exist_ok=True)
    prepare.prepare(works, out / "examples", jobs=_JOBS.value, refuse_open=True, seed=_SEED.value)
    listed = ", ".join(f"{split} {count} of each of {len(shapes.CLASSES)} classes" for split, count in counts.items())
    print(f"{out / 'examples'}: {listed}\nava train --config=ldif:tiny --config.data.root={out / 'examples'} --workdir=RUN")
