"""The compiled custom calls of `ffi/`, where they were built. No other module imports them."""

import importlib
import importlib.util

import jax
from absl import logging

# The platforms of `jax.default_backend()` that the compiled module serves.
_PLATFORMS = ("cpu",)

_MODULE = "ava_jax._ffi"


def _register() -> bool:
    if importlib.util.find_spec(_MODULE) is None:
        logging.warning(
            "ava_jax: the compiled raymarcher is not built (no C++ compiler at installation?); its pure-JAX twin serves, slowly."
        )
        return False
    module = importlib.import_module(_MODULE)
    for name, handler in module.registrations().items():
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    return True


BUILT = _register()


def serves_default_backend() -> bool:
    """Whether the compiled calls run where JAX computes by default."""
    return BUILT and jax.default_backend() in _PLATFORMS


def instruction_set() -> str:
    """The one that the CPU kernels use here: "portable", "avx2" or "avx512".

    AVA_INSTRUCTION_SET in the environment, read at first use, limits it.
    """
    if not BUILT:
        raise RuntimeError("instruction_set: the compiled module ava_jax._ffi is not built; install a C++17 compiler and reinstall")
    return importlib.import_module(_MODULE).instruction_set()
