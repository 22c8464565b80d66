"""Serves a page that shows shapes live: elements as ellipsoids, the surface and its features; elements are moved, the surface follows.

  ava ldif view --shapes=chair.txt                                        # SIF, SIF++; prints the page's address, with a token
  ava ldif view --shapes=FOLDER --decoder=extracted.occnet                # LDIF
  ava ldif view --workdir=RUN                                             # what a run makes of held-out examples
  ava ldif view --workdir=RUN --split=test --examples=chair,car/car_00042

It listens on this machine alone. From another one: ssh -L 8080:127.0.0.1:8080 HOST, then open the same address. Ctrl-C ends it.
Needs pip install 'ava-jax[ldif,view]'.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir
from ava_jax.viz.live import options

_SHAPES = flags.DEFINE_list("shapes", [], "Files of elements (.txt), or folders of such files, with commas between.")
_DECODER = flags.DEFINE_string("decoder", None, "The decoder (.occnet) that the features of LDIF's elements need.")
_CUT = flags.DEFINE_bool("cut", False, "Leave out elements where their Gaussian is at most 1e-4, as the published tool does for LDIF.")
_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_SPLIT = flags.DEFINE_string("split", None, "Of the run's data; by default the first that is not trained on.")
_EXAMPLES = flags.DEFINE_list("examples", [], "Examples of the split, CLASS/NAME or CLASS; by default the first ones of each class.")
_RESOLUTION = flags.DEFINE_integer("resolution", 96, "Points of the grid per side, at first.", lower_bound=32, upper_bound=192)
_PAGE = options.define()
_BENCHMARK = flags.DEFINE_bool("benchmark", False, "Measure how quick the page is, with a client of its own, and end.")

_MOST = 12  # examples of a run, where none is named


def main(context: Context) -> None:
    """Serves, as the flags say, until Ctrl-C."""
    if bool(_SHAPES.value) == bool(_WORKDIR.value):
        raise ValueError("name either files with --shapes=chair.txt or a run with --workdir=RUN.")
    _PAGE.check()
    from ava_jax.tasks.ldif.apps import mesh_files

    mesh_files.require()
    from ava_jax.tasks.ldif.viewer.page import Viewer

    shapes = _of_run(context) if _WORKDIR.value else _of_files()
    viewer = Viewer(shapes, _RESOLUTION.value)
    token = _PAGE.token()
    try:
        page = viewer.serve(_PAGE.host.value, _PAGE.port.value, token)
        _PAGE.announce(_WORKDIR.value or f"{len(shapes)} shape{'s' if len(shapes) > 1 else ''}", page.address, token)
        if _BENCHMARK.value:
            import numpy as np

            from ava_jax.tasks.ldif.viewer import benchmark

            largest = int(np.prod(next(iter(shapes.values())).elements.variance, axis=1).argmax())
            print(benchmark.run(page, 1 + largest))
            return
        options.wait_for_failure(lambda: viewer.worker.failure)
    finally:
        viewer.stop()


def _of_files() -> dict:
    from ava_jax.tasks.ldif.apps import shape
    from ava_jax.tasks.ldif.data import element_files

    decoder = pathlib.Path(_DECODER.value).expanduser() if _DECODER.value else None
    paths = [path for given in _SHAPES.value for path in element_files.find(pathlib.Path(given).expanduser())]
    stems = [path.stem for path in paths]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths)]
    return {name: shape.read(path, decoder, cut=_CUT.value) for name, path in zip(names, paths)}


def _of_run(context: Context) -> dict:
    import tqdm

    from ava_jax.tasks.ldif.apps.run_shapes import Shapes

    _, assets, task, model, _ = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    found = Shapes(task, assets, context.compile(model), _SPLIT.value)
    chosen = found.choose(_EXAMPLES.value, _MOST)
    return {found.names[at]: found.make(found.sample(at)) for at in tqdm.tqdm(chosen, desc="shapes", leave=False)}
