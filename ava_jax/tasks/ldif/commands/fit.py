"""Fits the elements of one shape to a mesh or an example, without a network: by gradient, from samples of its inside and outside.

  ava ldif fit --mesh=chair.ply --out=FOLDER                                # a SIF++ of 32 elements: chair.txt, chair.ply
  ava ldif fit --mesh=chair.ply --out=FOLDER --elements=64 --steps=1000
  ava ldif fit --example=DATA/test/chair/chair_00042 --out=FOLDER --features=32          # an LDIF; its own decoder: chair_00042.occnet
  ava ldif fit --mesh=chair.ply --out=FOLDER --decoder=RUN/eval/3000/decoder.occnet     # features for a trained decoder, which stays

Prints IoU on a tenth of the samples, which are not fitted to, beside that of the best single sphere, and how near the surfaces are. The
mesh lies where the given one does; the elements (.txt) are in the published place and size. Needs pip install 'ava-jax[ldif]'.
"""

import pathlib

from absl import flags

_MESH = flags.DEFINE_string("mesh", None, "The mesh: ply, obj, off, glb, stl.")
_EXAMPLE = flags.DEFINE_string("example", None, "Or an example's folder, of ava ldif prepare.")
_OUT = flags.DEFINE_string("out", None, "Folder of the results; replaced where they are there.")
_ELEMENTS = flags.DEFINE_integer("elements", 32, "How many.", lower_bound=1, upper_bound=1024)
_FEATURES = flags.DEFINE_integer(
    "features", 0, "Of each element, for details; 0: none, or as many as --decoder reads.", lower_bound=0, upper_bound=256
)
_DECODER = flags.DEFINE_string("decoder", None, "A decoder (.occnet) to read the features; without, one is learnt.")
_TRAIN_DECODER = flags.DEFINE_bool("train_decoder", False, "The given decoder learns too, and is written.")
_STEPS = flags.DEFINE_integer("steps", 600, "Of the optimiser.", lower_bound=1)
_SAMPLES = flags.DEFINE_integer("samples", 1024, "Of each kind, everywhere and near the surface, per step.", lower_bound=1)
_RATE = flags.DEFINE_float("learning_rate", 0.01, "Of Adam, at the start; it falls to 0 along a cosine.", lower_bound=1e-8)
_RESOLUTION = flags.DEFINE_integer("resolution", 128, "Of the mesh: points of the grid per side.", lower_bound=2, upper_bound=2048)
_SEED = flags.DEFINE_integer("seed", 0, "Of all draws.", lower_bound=0)


def main() -> None:
    """Fits, scores and writes, as the flags say."""
    if bool(_MESH.value) == bool(_EXAMPLE.value) or not _OUT.value:
        raise ValueError("give --mesh=FILE or --example=FOLDER, and --out=FOLDER.")
    if _TRAIN_DECODER.value and not _DECODER.value:
        raise ValueError("--train_decoder is of a decoder that --decoder=FILE.occnet names; a new one always learns.")
    import dataclasses

    import numpy as np
    import tqdm

    from ava_jax.ops.implicit import SURFACE
    from ava_jax.tasks.ldif.apps import fitting, mesh_files, surface
    from ava_jax.tasks.ldif.data import element_files, meshes, occnet_files
    from ava_jax.tasks.ldif.evaluation import scoring, surfaces

    meshes.require()
    scoring.require()
    given = pathlib.Path(_MESH.value or _EXAMPLE.value).expanduser()
    out, name = pathlib.Path(_OUT.value).expanduser(), given.stem if _MESH.value else given.resolve().name
    target = out / f"{name}.ply"
    if target.exists() and target.samefile(given):
        raise ValueError(f"{target}: would be written over the mesh that is read; give another --out.")
    decoder = occnet_files.read(pathlib.Path(_DECODER.value).expanduser()) if _DECODER.value else None
    reads = len(decoder.norm1.beta.weight) if decoder else _FEATURES.value
    if _FEATURES.value not in (0, reads):
        raise ValueError(f"--features={_FEATURES.value}: {_DECODER.value} reads {reads}; leave --features out.")
    uniform, near, matrix, mesh = fitting.samples_of(given, _SEED.value)
    kept = len(uniform) // 10
    learns = decoder is None or _TRAIN_DECODER.value
    settings = fitting.Settings(_ELEMENTS.value, reads, learns, _STEPS.value, _SAMPLES.value, _RATE.value, seed=_SEED.value)
    with tqdm.tqdm(total=settings.steps, desc="ldif fit", unit="step") as bar:

        def progress(step: int, loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()

        shape = fitting.fit(uniform[kept:], near, settings, decoder=decoder, progress=progress)
    held = uniform[:kept]
    values = np.concatenate([np.asarray(shape.values(part)) for part in np.array_split(held[:, :3], max(1, kept // 2048))])
    iou = float(scoring.iou(values < SURFACE, held[:, 3] < 0))
    found = surface.extract(dataclasses.replace(shape, cut=shape.decoder is not None), _RESOLUTION.value)
    back = np.linalg.inv(matrix)
    found = found._replace(vertices=(found.vertices @ back[:3, :3].T + back[:3, 3]).astype(np.float32))
    out.mkdir(parents=True, exist_ok=True)
    element_files.write(out / f"{name}.txt", shape.elements)
    written = [f"wrote {out / f'{name}.txt'}: {_ELEMENTS.value} elements of {reads} features"]
    if shape.decoder is not None and learns:
        occnet_files.write(out / f"{name}.occnet", shape.decoder)
        written.append(f"wrote {out / f'{name}.occnet'}: the decoder")
    mesh_files.write(target, found)
    print("\n".join([*written, mesh_files.described(target, found)]))
    print(f"IoU {iou:.1f} % of {kept:,} samples; the best single sphere has {fitting.best_sphere(held):.1f} %")
    if mesh is not None:
        near_by = surfaces.of_meshes((found.vertices, found.faces), (mesh.vertices, mesh.faces))
        print(", ".join(f"{score.name} {score.format(value)} {score.unit}".rstrip() for score, value in zip(scoring.SCORES, near_by)))
