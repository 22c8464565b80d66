"""Versions of what decides what a run computes, as checkpoints and records keep them."""

import functools
import importlib.metadata
import platform

_PACKAGES = ("ava-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
SHOWN = _PACKAGES[:2]  # in an error


@functools.cache  # reading the metadata of everything installed takes a tenth of a second
def versions() -> dict[str, str]:
    """Of Python and of the packages that decide what a run computes."""
    installed = {d.metadata["Name"].replace("_", "-").lower(): d.version for d in importlib.metadata.distributions()}
    return {"python": platform.python_version()} | {name: installed[name] for name in _PACKAGES if name in installed}
