"""What programs are traced for: where they are exported, another device than the one that JAX computes on here."""

import contextlib
import contextvars
from collections.abc import Iterator

import jax

PORTABLE = "portable"  # no device of its own: plain JAX alone, without compiled custom calls and kernels
_TARGETS = (PORTABLE, "cpu", "gpu")
_target: contextvars.ContextVar[str | None] = contextvars.ContextVar("target", default=None)


@contextlib.contextmanager
def traced_for(target: str) -> Iterator[None]:
    """Functions traced in the block are for `target`: "portable", or the compiled custom calls of "cpu" or of "gpu", and no other kernels.

    Functions under `jax.jit` that were traced before for shapes like these keep what they have: trace fresh ones.

    Raises:
      ValueError: there is no such target.
    """
    if target not in _TARGETS:
        raise ValueError(f"traced_for: target must be one of {', '.join(_TARGETS)}; got {target!r}.")
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


def backend() -> str:
    """What is traced for: "cpu", "gpu", or another of JAX's backends; "portable" is none of them."""
    return _target.get() or jax.default_backend()


def is_export() -> bool:
    """Whether it is traced in a block of `traced_for`."""
    return _target.get() is not None
