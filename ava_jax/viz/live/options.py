"""Flags of commands that serve a page: where, and who may see it. Imports nothing heavy."""

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from absl import flags

flags.disclaim_key_flags()  # flags are of the command that defines them, which lists them in its --help

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOOK_EVERY = 0.2  # seconds between two looks for errors of other threads


class PageFlags(NamedTuple):
    """The flags of one command."""

    host: flags.FlagHolder
    port: flags.FlagHolder
    given: flags.FlagHolder
    no_token: flags.FlagHolder

    def check(self) -> None:
        """Looks at what needs no model.

        Raises:
          ValueError: a token is given and none is asked for, or it is empty; viser is not installed.
        """
        if self.given.value is not None and (self.no_token.value or not self.given.value.strip()):
            raise ValueError("--token must not be empty, nor be given with --no_token.")
        try:
            import viser  # noqa: F401  before jax, which takes seconds
        except ImportError as e:
            raise ValueError(f"the page needs viser ({e}): pip install 'ava-jax[view]'") from e

    def token(self) -> str:
        """The one that was given, or a new one; "" where everybody is let in."""
        from ava_jax.viz.live import guard

        return "" if self.no_token.value else self.given.value or guard.new_token()

    def announce(self, what: str, address: str, token: str) -> None:
        """Prints the page's address, and a warning where other machines reach it."""
        if self.host.value not in _LOOPBACK:
            who = "everybody who reaches it" if not token else "whoever has the token, which is sent in the clear"
            print(f"warning: --host={self.host.value} lets other machines in: {who}", file=sys.stderr)
        print(f"{what}: {address}", flush=True)


def define() -> PageFlags:
    """The flags `--host`, `--port`, `--token`, `--no_token`."""
    return PageFlags(
        flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 lets other machines in."),
        flags.DEFINE_integer("port", 8080, "Port; 0: one that is free.", lower_bound=0, upper_bound=65535),
        flags.DEFINE_string("token", None, "What the page's address must have after ?token=; by default a new one at each start."),
        flags.DEFINE_bool("no_token", False, "Let everybody in who reaches the address."),
    )


def wait_for_failure(failure: Callable[[], BaseException | None]) -> None:
    """Waits until another thread has failed, and raises what it raised."""
    while (error := failure()) is None:
        time.sleep(_LOOK_EVERY)
    raise error
