"""Writes the surface of shapes that are stored as implicit functions: a mesh for each .txt file.

  ava ldif extract --shapes=chair.txt                                     # SIF, SIF++: chair.ply beside it
  ava ldif extract --shapes=chair.txt --decoder=extracted.occnet          # LDIF
  ava ldif extract --shapes=FOLDER --out=meshes --format=glb --resolution=128

Surfaces are looked for on a grid over +-0.75 by marching cubes. Where the function has none, a sphere is written and told, as the published
tools do. Meshes that are there already are left, unless --overwrite is given. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

_SHAPES = flags.DEFINE_list("shapes", [], "Files of elements (.txt), or folders of such files, with commas between.")
_DECODER = flags.DEFINE_string("decoder", None, "The decoder (.occnet) that the features of LDIF's elements need.")
_RESOLUTION = flags.DEFINE_integer("resolution", 256, "Points of the grid per side.", lower_bound=2, upper_bound=2048)
_CUT = flags.DEFINE_bool("cut", False, "Leave out elements where their Gaussian is at most 1e-4, as the published tool does for LDIF.")
_FORMAT = flags.DEFINE_enum("format", "ply", ["ply", "obj", "glb"], "Of the meshes.")
_OUT = flags.DEFINE_string("out", None, "Folder of the meshes; by default each lies beside its file.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Write meshes again that are there.")


def main() -> None:
    """Extracts and writes, as the flags say."""
    from ava_jax.tasks.ldif.data import element_files

    paths = [path for given in _SHAPES.value for path in element_files.find(pathlib.Path(given).expanduser())]
    if not paths:
        raise ValueError("--shapes must name files of elements or folders of them, as in --shapes=chair.txt.")
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
        note = "" if found.crosses else "; its function has no surface: this is a sphere"
        print(f"wrote {target}: {len(found.vertices):,} vertices, {len(found.faces):,} faces{note}")
