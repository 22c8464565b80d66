"""Makes examples to learn from of a folder of meshes, SPLIT/CLASS/NAME.ply (or obj, off, glb), in the published form.

  ava ldif prepare --meshes=MESHES --out=DATA
  ava ldif prepare --meshes=MESHES --out=DATA --open=refuse --jobs=8

An example is a folder, DATA/SPLIT/CLASS/NAME: the normalising matrix, a grid of signed distances, 100,000 samples near the surface and
100,000 everywhere, twenty depth images with normals, 100,000 surface points. DATA/SPLIT.txt lists them. A mesh that cannot be used is told
in a line and the rest goes on; DATA/prepare.json names these, and those with holes. Run again, it makes what is missing. Needs
pip install 'ava-jax[ldif]'.
"""

import pathlib
import sys

from absl import flags

from ava_jax.data.workers import cores

_MESHES = flags.DEFINE_string("meshes", None, "Folder of the meshes.")
_OUT = flags.DEFINE_string("out", None, "Folder of the examples.")
_OPEN = flags.DEFINE_enum(
    "open", "mend", ["mend", "refuse"], "Meshes with holes: what is inside is told by winding numbers, or they are refused."
)
_JOBS = flags.DEFINE_integer("jobs", cores(), "Processes, a mesh each.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the samples.")


def main() -> None:
    """Prepares, as the flags say."""
    if not _MESHES.value or not _OUT.value:
        raise ValueError("--meshes and --out must name folders, as in --meshes=MESHES --out=DATA.")
    from ava_jax.tasks.ldif.data import meshes, prepare

    meshes.require()
    root, out = (pathlib.Path(flag.value).expanduser() for flag in (_MESHES, _OUT))
    works = prepare.find(root, out)
    out.mkdir(parents=True, exist_ok=True)
    outcomes = prepare.prepare(works, out, jobs=_JOBS.value, refuse_open=_OPEN.value == "refuse", seed=_SEED.value)
    faults = sum(bool(outcome.fault) for outcome in outcomes.values())
    holes = sum(outcome.is_open and not outcome.fault for outcome in outcomes.values())
    splits = ", ".join(f"{split} {sum(work.split == split for work in works)}" for split in sorted({work.split for work in works}))
    notes = [f"{holes} with holes, mended"] * bool(holes) + [f"{faults} could not be used"] * bool(faults)
    print(f"{out}: {len(works) - faults} examples of {len(works)} meshes ({splits}){''.join(f'; {note}' for note in notes)}")
    if faults:
        print(f"{out / prepare.REPORT} names what could not be used", file=sys.stderr)
        sys.exit(1)
