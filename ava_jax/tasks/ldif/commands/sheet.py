"""Draws shapes side by side, the true mesh, the elements, the surface that they make, into one picture.

  ava ldif sheet --workdir=RUN --out=sheet.jpg                            # best, median and worst of the held-out examples, by IoU
  ava ldif sheet --workdir=RUN --split=test --per_class --out=sheet.jpg   # the median of each class
  ava ldif sheet --workdir=RUN --examples=car,chair/chair_00042 --out=sheet.jpg
  ava ldif sheet --shapes=FITS --meshes=MESHES --out=sheet.jpg            # what ava ldif fit wrote, beside the meshes of the same names

Ellipsoids are one radius large; a surface has the colour of the element that is felt most. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_SPLIT = flags.DEFINE_string("split", None, "Of the run's data; by default the first that is not trained on.")
_EXAMPLES = flags.DEFINE_list("examples", [], "Examples of the split, CLASS/NAME or CLASS, instead of best, median and worst.")
_PER_CLASS = flags.DEFINE_bool("per_class", False, "The median of each class instead.")
_SHAPES = flags.DEFINE_list("shapes", [], "Files of elements (.txt), or folders of such files, instead of a run.")
_DECODER = flags.DEFINE_string("decoder", None, "The decoder of the features in --shapes; without, NAME.occnet beside NAME.txt.")
_MESHES = flags.DEFINE_string("meshes", None, "Folder of the true meshes of --shapes, searched for files of the same names.")
_OUT = flags.DEFINE_string("out", None, "The picture, .jpg; replaced where it is there.")
_COLUMNS = flags.DEFINE_integer("columns", 2, "Shapes per row.", lower_bound=1)
_RESOLUTION = flags.DEFINE_integer("resolution", 96, "Points per side of the surfaces' grid.", lower_bound=2, upper_bound=512)


def main(context: Context) -> None:
    """Draws, as the flags say."""
    if bool(_SHAPES.value) == bool(_WORKDIR.value):
        raise ValueError("name either a run with --workdir=RUN or files with --shapes=FOLDER.")
    if not _OUT.value or not _OUT.value.endswith(".jpg"):
        raise ValueError("--out must name the picture, as in --out=sheet.jpg.")
    import tqdm

    from ava_jax.tasks.ldif.apps import mesh_files, sheet
    from ava_jax.tasks.ldif.data import meshes

    mesh_files.require()
    meshes.require()
    chosen = list(_of_run(context) if _WORKDIR.value else _of_files())
    strips = [sheet.strip(one, resolution=_RESOLUTION.value) for one in tqdm.tqdm(chosen, desc="drawn", unit="shape", leave=False)]
    out = pathlib.Path(_OUT.value).expanduser()
    sheet.write(strips, out, min(_COLUMNS.value, len(strips)))
    print(f"wrote {out}: {', '.join(one.title for one in chosen)}")


def _of_run(context: Context):
    """Of examples that are named, or of those that their IoU chooses."""
    from ava_jax.tasks.ldif.apps import ranking, sheet
    from ava_jax.tasks.ldif.apps.run_shapes import Shapes

    _, assets, task, model, _ = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    found = Shapes(task, assets, context.compile(model), _SPLIT.value)
    if _EXAMPLES.value:
        scored = [ranking.score(found, at) for at in found.choose(_EXAMPLES.value, 0)]
        labels = [(one, "") for one in scored]
    else:
        scored = ranking.score_all(found)
        labels = ranking.medians(scored) if _PER_CLASS.value else ranking.best_median_worst(scored)
    for one, label in labels:
        title = f"{label}{one.name}: IoU {one.iou:.1f} %, best sphere {one.sphere:.1f} %"
        yield sheet.Drawn(title, sheet.true_mesh(one.folder), one.shape)


def _of_files():
    """Of files of elements, beside meshes of the same names."""
    from ava_jax.tasks.ldif.apps import shape, sheet
    from ava_jax.tasks.ldif.data import element_files, meshes

    folder = pathlib.Path(_MESHES.value).expanduser() if _MESHES.value else None
    if folder is not None and not folder.is_dir():
        raise ValueError(f"--meshes: there is no folder {folder}.")
    for path in [path for given in _SHAPES.value for path in element_files.find(pathlib.Path(given).expanduser())]:
        own = path.with_suffix(".occnet")
        decoder = pathlib.Path(_DECODER.value).expanduser() if _DECODER.value else own if own.is_file() else None
        one = shape.read(path, decoder, cut=decoder is not None)
        named = [file for file in folder.rglob(f"{path.stem}.*") if file.suffix.lower() in meshes.SUFFIXES] if folder else []
        if folder is not None and not named:
            raise ValueError(f"--meshes: no mesh of the name {path.stem} lies in {folder}.")
        yield sheet.Drawn(path.stem, sheet.normalized(meshes.read(named[0])) if named else None, one)
