"""Turns a mesh into a grid of signed distances, or such a grid into a mesh.

  ava ldif grid --mesh=chair.ply --out=chair.grd                      # normalised, 32 nodes per side, as the published data have it
  ava ldif grid --mesh=chair.ply --spacing=0.01 --nonormalize --out=chair.grd
  ava ldif grid --grid=chair.grd --out=again.ply

Grids cover +-0.7; normalising brings a mesh there, and the matrix that does it is printed. Signs are by winding numbers, so that a mesh
with holes has an inside too; that it has holes is told. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

_MESH = flags.DEFINE_string("mesh", None, "The mesh: ply, obj, off, glb, stl.")
_GRID = flags.DEFINE_string("grid", None, "Or the grid, .grd.")
_SPACING = flags.DEFINE_float("spacing", 0.044, "Between the grid's nodes, as asked for; the box's corners are nodes.", lower_bound=1e-3)
_NORMALIZE = flags.DEFINE_bool("normalize", True, "Bring the mesh to the published place and size first.")
_LEVEL = flags.DEFINE_float("level", 0.0, "Of a grid: the distance at which its surface is taken.")
_OUT = flags.DEFINE_string("out", None, "The file to write: .grd of a mesh, .ply, .obj or .glb of a grid; replaced where it is there.")


def main() -> None:
    """Converts, as the flags say."""
    if bool(_MESH.value) == bool(_GRID.value):
        raise ValueError("give either --mesh=FILE, to make a grid of, or --grid=FILE.grd, to make a mesh of.")
    kinds = (".grd",) if _MESH.value else (".ply", ".obj", ".glb")
    out = pathlib.Path(_OUT.value or "").expanduser()
    if out.suffix not in kinds:
        raise ValueError(f"--out must name a file that ends in {', '.join(kinds)}; got {_OUT.value!r}.")
    from ava_jax.tasks.ldif.data import meshes

    meshes.require()
    out.parent.mkdir(parents=True, exist_ok=True)
    if _MESH.value:
        _to_grid(pathlib.Path(_MESH.value).expanduser(), out)
    else:
        _to_mesh(pathlib.Path(_GRID.value).expanduser(), out)


def _to_grid(path: pathlib.Path, out: pathlib.Path) -> None:
    import numpy as np

    from ava_jax.tasks.ldif.data import example_files, meshes

    mesh = meshes.read(path)
    matrix = meshes.normalization(mesh) if _NORMALIZE.value else np.eye(4)
    mesh = meshes.moved(mesh, matrix)
    beyond = np.abs(mesh.vertices).max()
    if beyond > meshes.HALF_SIDE and not _NORMALIZE.value:
        raise ValueError(f"{path}: it reaches {beyond:.3g} from the origin, and grids cover +-{meshes.HALF_SIDE}: leave out --nonormalize.")
    grid = meshes.distance_grid(mesh, _SPACING.value)
    example_files.write_grid(out, grid)
    notes = ["it has holes: signs are by winding numbers"] * mesh.is_open
    if beyond > meshes.HALF_SIDE:
        notes.append(f"it reaches {beyond:.3g} from its middle, beyond the grid's {meshes.HALF_SIDE}")
    shape = " x ".join(map(str, grid.values.shape[::-1]))
    lines = [f"{out}: {shape} nodes, {(grid.values < 0).mean():.1%} inside, of {len(mesh.faces):,} faces", *notes]
    print("\n".join([*lines, "original to normalised:", *(" ".join(f"{number:.9g}" for number in row) for row in matrix)]))


def _to_mesh(path: pathlib.Path, out: pathlib.Path) -> None:
    from ava_jax.tasks.ldif.apps import mesh_files, surface
    from ava_jax.tasks.ldif.data import example_files

    mesh_files.require()
    found = surface.of_grid(example_files.read_grid(path), _LEVEL.value)
    if found is None:
        raise ValueError(f"{path}: its values do not cross {_LEVEL.value:g}: there is no surface.")
    mesh_files.write(out, found)
    print(f"{out}: {len(found.vertices):,} vertices, {len(found.faces):,} faces")
