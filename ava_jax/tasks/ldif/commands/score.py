"""Scores a mesh against the true one: F-score, Chamfer distance, normal consistency, IoU, as the published evaluation counts them.

  ava ldif score --mesh=found.ply --truth=chair.ply
  ava ldif score --mesh=found.ply --truth=chair.ply --scale=unit     # both made so large that the truth is 1 long

F-scores and Chamfer distances depend on how large meshes are: by default they are taken as the files have them. IoU is of 100,000 points in
the published box around the truth; where a mesh has holes, winding numbers say what is inside. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

_MESH = flags.DEFINE_string("mesh", None, "The mesh to be scored: ply, obj, off, glb, stl.")
_TRUTH = flags.DEFINE_string("truth", None, "The true mesh, in the same place and unit.")
_SCALE = flags.DEFINE_enum("scale", "original", ["original", "unit"], "Sizes as the files have them, or with the truth's longest side 1.")


def main() -> None:
    """Reads, scores and prints, as the flags say."""
    if not _MESH.value or not _TRUTH.value:
        raise ValueError("--mesh and --truth must name two files, as in --mesh=found.ply --truth=chair.ply.")
    from ava_jax.tasks.ldif.data import meshes
    from ava_jax.tasks.ldif.evaluation import scoring

    meshes.require()
    scoring.require()
    found, true = (meshes.read(pathlib.Path(flag.value).expanduser()) for flag in (_MESH, _TRUTH))
    for flag, mesh in ((_MESH, found), (_TRUTH, true)):
        if mesh.is_open:
            print(f"{flag.value}: it has holes: what is inside is told by winding numbers")
    scores, side = scoring.of_meshes(found, true, unit=_SCALE.value == "unit")
    print(f"the truth is {side:.4g} long; F-scores count points within {scoring.reach(1):.2g} and {scoring.reach(2):.2g}")
    for score in scoring.EVERY:
        print(f"{score.name:20}{score.format(scores[score.name]):>10} {score.unit}".rstrip())
