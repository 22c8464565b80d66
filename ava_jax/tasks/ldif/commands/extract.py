"""Writes surfaces as meshes: of shapes stored as implicit functions, or of what a trained network makes of meshes and examples.

  ava ldif extract --shapes=chair.txt                                     # SIF, SIF++: chair.ply beside it
  ava ldif extract --shapes=chair.txt --decoder=extracted.occnet          # LDIF
  ava ldif extract --shapes=FOLDER --out=meshes --format=glb --resolution=128
  ava ldif extract --workdir=RUN --meshes=scans --out=meshes              # each mesh below scans, through the network
  ava ldif extract --workdir=RUN --examples=DATA/test --save_ldifs        # elements and decoder too; into RUN/extracted/STEP
  ava ldif extract --workdir=RUN --examples=DATA --out=meshes --runner=FlinkRunner --runner_options="--flink_master=HOST:8081"

Surfaces are looked for on a grid over +-0.75 by marching cubes. Where the function has none, a sphere is written and told, as the published
tools do. Of a run, meshes come out in the place and unit of those that went in; what cannot be used is told in a line and the rest goes on.
Meshes that are there already are left, unless --overwrite is given. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib
import sys

from absl import flags

from ava_jax.tasks.command import Context, define_step, define_workdir

_SHAPES = flags.DEFINE_list("shapes", [], "Files of elements (.txt), or folders of such files, with commas between.")
_DECODER = flags.DEFINE_string("decoder", None, "The decoder (.occnet) that the features of LDIF's elements need.")
_WORKDIR = define_workdir()
_STEP = define_step()
_MESHES = flags.DEFINE_list("meshes", [], "With --workdir: meshes, or folders of them.")
_EXAMPLES = flags.DEFINE_list("examples", [], "With --workdir: folders of ava ldif prepare, or single examples in them.")
_RESOLUTION = flags.DEFINE_integer("resolution", 256, "Points of the grid per side.", lower_bound=2, upper_bound=2048)
_CUT = flags.DEFINE_bool("cut", False, "Leave out elements where their Gaussian is at most 1e-4, as the published tool does for LDIF.")
_FORMAT = flags.DEFINE_enum("format", "ply", ["ply", "obj", "glb"], "Of the meshes.")
_OUT = flags.DEFINE_string("out", None, "Folder of the meshes; by default each lies beside its file, of a run in RUN/extracted/STEP.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Write meshes again that are there.")
_SAVE_LDIFS = flags.DEFINE_bool("save_ldifs", False, "Of a run: write the elements of each, and the decoder, too.")
_FRAME = flags.DEFINE_enum(
    "frame", "original", ["original", "published"], "Of a run: place and size of the meshes that went in, or of examples."
)
_RUNNER = flags.DEFINE_string("runner", "", "Of a run: by a runner of Apache Beam: DirectRunner, FlinkRunner, SparkRunner, ...")
_RUNNER_OPTIONS = flags.DEFINE_string("runner_options", "", 'Of its pipeline, as in "--flink_master=HOST:8081 --parallelism=64".')


def main(context: Context) -> None:
    """Extracts and writes, as the flags say."""
    of_run = [flag.name for flag in (_WORKDIR, _MESHES, _EXAMPLES) if flag.value]
    if bool(_SHAPES.value) == bool(of_run):
        raise ValueError("give either --shapes=FILE.txt, or --workdir=RUN with --meshes=FOLDER or --examples=FOLDER.")
    if _SHAPES.value:
        _of_shapes()
    elif of_run in (["workdir"], ["meshes"], ["examples"]):
        raise ValueError("--workdir names a run, and --meshes or --examples what its network looks at: give both.")
    else:
        _of_run(context)


def _of_shapes() -> None:
    from ava_jax.tasks.ldif.data import element_files

    paths = [path for given in _SHAPES.value for path in element_files.find(pathlib.Path(given).expanduser())]
    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else None
    targets = [(out or path.parent) / f"{path.stem}.{_FORMAT.value}" for path in paths]
    if twice := sorted({str(target) for target in targets if targets.count(target) > 1}):
        raise ValueError(f"--shapes: several files would be written to {twice[0]}; extract them into folders of their own.")
    import tqdm

    from ava_jax.tasks.ldif.apps import mesh_files, shape, surface

    mesh_files.require()
    decoder = pathlib.Path(_DECODER.value).expanduser() if _DECODER.value else None
    shapes = [shape.read(path, decoder, cut=_CUT.value) for path in paths]  # all of them, before anything is written
    for path, target, one in zip(paths, targets, shapes):
        if target.exists() and not _OVERWRITE.value:
            print(f"{target}: there already; --overwrite writes it again")
            continue
        with tqdm.tqdm(total=_RESOLUTION.value**3, desc=path.stem, unit="point", unit_scale=True, leave=False) as bar:
            found = surface.extract(one, _RESOLUTION.value, progress=bar.update)
        mesh_files.write(target, found)
        print(mesh_files.described(target, found))


def _of_run(context: Context) -> None:
    from ava_jax.tasks.ldif.apps import mesh_files, reconstruct
    from ava_jax.tasks.ldif.data import meshes

    mesh_files.require()
    meshes.require()
    run = reconstruct.Run(context, _WORKDIR.value, _STEP.value)
    network = run.open()
    out = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "extracted" / str(run.step)).expanduser()
    given = {flag.name: [pathlib.Path(path).expanduser() for path in flag.value] for flag in (_MESHES, _EXAMPLES)}
    works = reconstruct.find(given, out, f".{_FORMAT.value}")
    left = [work for work in works if _OVERWRITE.value or not work.target.exists()]
    if len(left) < len(works):
        print(f"{out}: {len(works) - len(left)} of {len(works)} are there already; --overwrite writes them again")
    output = reconstruct.Output(_RESOLUTION.value, _CUT.value, _FRAME.value == "original", _SAVE_LDIFS.value)
    if _RUNNER.value:
        from ava_jax.tasks.ldif.apps import beam

        faults = beam.write(run, left, output, runner=_RUNNER.value, options=_RUNNER_OPTIONS.value.split())
    else:
        faults = _one_by_one(network, left, output)
    if _SAVE_LDIFS.value and (path := network.write_decoder(out)):
        print(f"wrote {path}")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{out}: {len(left) - len(faults)} meshes written{f'; {len(faults)} could not be made' if faults else ''}")
    if faults:
        sys.exit(1)


def _one_by_one(network, works, output) -> list[str]:
    """Writes them; a line for each that could not be used."""
    import tqdm

    faults = []
    with tqdm.tqdm(works, unit="mesh", desc="ldif extract") as bar:
        for work in bar:
            outcome = network.write(work, output)
            if outcome.fault:
                faults.append(outcome.line)
            else:
                bar.write(outcome.line)
    return faults
