"""Makes examples to learn from of a folder of meshes, SPLIT/CLASS/NAME.ply (or obj, off, glb), in the published form.

  ava ldif prepare --meshes=MESHES --out=DATA
  ava ldif prepare --meshes=MESHES --out=DATA --packed=PACKED --open=refuse --jobs=8
  ava ldif prepare --meshes=bob.ply,blub.ply --out=DATA --split=test --class=animal
  ava ldif prepare --meshes=MESHES --out=DATA --runner=FlinkRunner --runner_options="--flink_master=HOST:8081"

An example is a folder, DATA/SPLIT/CLASS/NAME: the normalising matrix, a grid of signed distances, 100,000 samples near the surface and
100,000 everywhere, twenty depth images with normals, a picture of the first view, 100,000 surface points. DATA/SPLIT.txt lists them. A mesh
that cannot be used is told in a line and the rest goes on; DATA/prepare.json names these, and those with holes. Run again, it makes what is
missing. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib
import sys

from absl import flags

from ava_jax.data.workers import cores

_MESHES = flags.DEFINE_list("meshes", [], "Folder of the meshes, SPLIT/CLASS/NAME.ply; or files, with commas between.")
_SPLIT = flags.DEFINE_string("split", "test", "Of files: the split that they are of.")
_CLASS = flags.DEFINE_string("class", "mesh", "Of files: their class.")
_OUT = flags.DEFINE_string("out", None, "Folder of the examples.")
_PACKED = flags.DEFINE_string("packed", None, "Pack the examples as well, into this folder, as ava ldif pack does.")
_OPEN = flags.DEFINE_enum(
    "open", "mend", ["mend", "refuse"], "Meshes with holes: what is inside is told by winding numbers, or they are refused."
)
_NORMALS = flags.DEFINE_enum(
    "normals", "decoded", ["decoded", "published"], "Unit vectors, or as the published reader leaves its files' 16-bit coding."
)
_MAX_FACES = flags.DEFINE_integer("max_faces", 2_000_000, "A mesh of more is not used.", lower_bound=4)
_JOBS = flags.DEFINE_integer("jobs", cores(), "Processes, a mesh each.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the samples.")
_RUNNER = flags.DEFINE_string("runner", "", "Prepare by a runner of Apache Beam instead: DirectRunner, FlinkRunner, SparkRunner, ...")
_RUNNER_OPTIONS = flags.DEFINE_string("runner_options", "", 'Options of Beam\'s pipeline, as in "--flink_master=HOST:8081".')


def main() -> None:
    """Prepares, as the flags say."""
    if not _MESHES.value or not _OUT.value:
        raise ValueError("--meshes and --out must name folders, as in --meshes=MESHES --out=DATA.")
    from ava_jax.tasks.ldif.data import meshes, packing, prepare

    meshes.require()
    given = [pathlib.Path(path).expanduser().absolute() for path in _MESHES.value]
    out = pathlib.Path(_OUT.value).expanduser().absolute()
    if len(given) == 1 and not given[0].is_file():
        works = prepare.find(given[0], out)
    else:
        works = prepare.of_files(given, out, prepare.one_word(_SPLIT.value, "--split"), prepare.one_word(_CLASS.value, "--class"))
    out.mkdir(parents=True, exist_ok=True)
    settings = prepare.Settings(
        refuse_open=_OPEN.value == "refuse",
        seed=_SEED.value,
        coded_normals=_NORMALS.value == "published",
        most_faces=_MAX_FACES.value,
    )
    outcomes = prepare.prepare(works, out, settings, jobs=_JOBS.value, runner=_RUNNER.value, options=_RUNNER_OPTIONS.value.split())
    faults = sum(bool(outcome.fault) for outcome in outcomes.values())
    holes = sum(outcome.is_open and not outcome.fault for outcome in outcomes.values())
    splits = ", ".join(f"{split} {sum(work.split == split for work in works)}" for split in sorted({work.split for work in works}))
    notes = [f"{holes} with holes, mended"] * bool(holes) + [f"{faults} could not be used"] * bool(faults)
    print(f"{out}: {len(works) - faults} examples of {len(works)} meshes ({splits}){''.join(f'; {note}' for note in notes)}")
    if _PACKED.value:
        packed = packing.pack(out, pathlib.Path(_PACKED.value).expanduser(), jobs=_JOBS.value)
        print(f"{_PACKED.value}: {packed.examples:,} examples packed")
    if faults:
        print(f"{out / prepare.REPORT} names what could not be used", file=sys.stderr)
        sys.exit(1)
