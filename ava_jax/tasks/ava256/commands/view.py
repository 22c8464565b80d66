"""Serves a page that shows an avatar live: look around it, move its face, play recordings, see what it is made of.

  ava view --workdir=RUN                          # prints the page's address, with a token
  ava view --workdir=RUN --data=CAPTURES          # recordings of these captures to play
  ava view --workdir=RUN --codes=codes.npz        # or those of a file of ava ava256 encode

It listens on this machine alone. From another one: ssh -L 8080:127.0.0.1:8080 HOST, then open the same address. Ctrl-C ends it.
"""

import pathlib
import sys
import time

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_CODES = flags.DEFINE_string("codes", None, "File of expression codes to play, npz or CSV, of ava ava256 encode.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 lets other machines in.")
_PORT = flags.DEFINE_integer("port", 8080, "Port; 0: one that is free.", lower_bound=0, upper_bound=65535)
_TOKEN = flags.DEFINE_string("token", None, "What the page's address must have after ?token=; by default a new one at each start.")
_NO_TOKEN = flags.DEFINE_bool("no_token", False, "Let everybody in who reaches the address.")
_SIZE = flags.DEFINE_integer("size", 1024, "Longer side of a picture of the captures' shape, pixels: 1024 is 1024 x 667.", lower_bound=64)
_BENCHMARK = flags.DEFINE_bool("benchmark", False, "Measure how quick the page is, with a client of its own, and end.")

_LOOK_EVERY = 0.2  # seconds between two looks for errors of other threads


def main(context: Context) -> None:
    """Serves, as the flags say, until Ctrl-C."""
    if _TOKEN.value is not None and (_NO_TOKEN.value or not _TOKEN.value.strip()):
        raise ValueError("--token must not be empty, nor be given with --no_token.")
    try:
        import viser  # noqa: F401  before jax, which takes seconds
    except ImportError as e:
        raise ValueError(f"the page needs viser ({e}): pip install 'ava-jax[view]'") from e
    from ava_jax.tasks.ava256.viewer import benchmark, guard, server, start

    token = "" if _NO_TOKEN.value else _TOKEN.value or guard.new_token()
    viewer = start.prepare(context, _WORKDIR.value, _STEP.value, data=_DATA.value, codes=_CODES.value, longer=_SIZE.value)
    serving = viewer.serve(_HOST.value, _PORT.value, token)
    try:
        if _HOST.value not in server.LOOPBACK:
            who = "everybody who reaches it" if not token else "whoever has the token, which is sent in the clear"
            print(f"warning: --host={_HOST.value} lets other machines in: {who}", file=sys.stderr)
        print(f"{pathlib.Path(_WORKDIR.value)}: {serving.address}", flush=True)
        if _BENCHMARK.value:
            print(benchmark.run(viewer, serving))
            return
        viewer.warm_layers()
        while viewer.pipeline.failure is None:
            time.sleep(_LOOK_EVERY)
        raise viewer.pipeline.failure
    finally:
        viewer.stop()
