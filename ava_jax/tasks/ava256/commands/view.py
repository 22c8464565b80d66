"""Serves a page that shows an avatar live: look around it, move its face, play recordings, see what it is made of.

  ava view --workdir=RUN                          # prints the page's address, with a token
  ava view --workdir=RUN --data=CAPTURES          # recordings of these captures to play
  ava view --workdir=RUN --codes=codes.npz        # or those of a file of ava ava256 encode

It listens on this machine alone. From another one: ssh -L 8080:127.0.0.1:8080 HOST, then open the same address. Ctrl-C ends it.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir
from ava_jax.viz.live import options

_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_CODES = flags.DEFINE_string("codes", None, "File of expression codes to play, npz or CSV, of ava ava256 encode.")
_PAGE = options.define()
_SIZE = flags.DEFINE_integer("size", 1024, "Longer side of a picture of the captures' shape, pixels: 1024 is 1024 x 667.", lower_bound=64)
_BENCHMARK = flags.DEFINE_bool("benchmark", False, "Measure how quick the page is, with a client of its own, and end.")


def main(context: Context) -> None:
    """Serves, as the flags say, until Ctrl-C."""
    _PAGE.check()
    from ava_jax.tasks.ava256.viewer import benchmark, start

    token = _PAGE.token()
    viewer = start.prepare(context, _WORKDIR.value, _STEP.value, data=_DATA.value, codes=_CODES.value, longer=_SIZE.value)
    serving = viewer.serve(_PAGE.host.value, _PAGE.port.value, token)
    try:
        _PAGE.announce(str(pathlib.Path(_WORKDIR.value)), serving.address, token)
        if _BENCHMARK.value:
            print(benchmark.run(viewer, serving))
            return
        viewer.warm_layers()
        options.wait_for_failure(lambda: viewer.pipeline.failure)
    finally:
        viewer.stop()
