"""The compiled custom calls of `ffi/`, where they were built. No other module imports them."""

import importlib
import importlib.util

import jax
from absl import logging

_MODULE, _CUDA_MODULE = "ava_jax._ffi", "ava_jax._ffi_cuda"


def _register(module_name: str, platform: str) -> bool:
    if importlib.util.find_spec(module_name) is None:
        return False
    for name, handler in importlib.import_module(module_name).registrations().items():
        jax.ffi.register_ffi_target(name, handler, platform=platform)
    return True


def _register_cuda() -> bool:
    if not _register(_CUDA_MODULE, "CUDA"):
        return False
    module = importlib.import_module(_CUDA_MODULE)
    unserved = module.unserved_devices()
    if unserved:
        logging.warning(
            "ava_jax: the CUDA raymarcher is built for sm_%d and later, not for %s; the pure-JAX twin serves. To build it: "
            "pip install . -C cmake.define.CMAKE_CUDA_ARCHITECTURES=native.",
            module.oldest(), unserved,
        )  # fmt: skip
    return not unserved


BUILT = _register(_MODULE, "cpu")
CUDA_BUILT = _register_cuda()

if not BUILT:
    logging.warning(
        "ava_jax: the compiled raymarcher is not built (no C++ compiler at installation?); its pure-JAX twin serves, slowly."
    )


def serves_default_backend() -> bool:
    """Whether the compiled calls run where JAX computes by default."""
    backend = jax.default_backend()
    return (BUILT and backend == "cpu") or (CUDA_BUILT and backend == "gpu")


def scratch_floats(views: int, height: int, width: int, primitives: int) -> tuple[int, int] | None:
    """Floats of scratch a frame that the forward and the backward call take as a further result; None where they take none."""
    if jax.default_backend() != "gpu":
        return None
    return importlib.import_module(_CUDA_MODULE).scratch(views, height, width, primitives)


def instruction_set() -> str:
    """The one that the CPU kernels use here: "portable", "avx2" or "avx512".

    AVA_INSTRUCTION_SET in the environment, read at first use, limits it.
    """
    if not BUILT:
        raise RuntimeError("instruction_set: the compiled module ava_jax._ffi is not built; install a C++17 compiler and reinstall")
    return importlib.import_module(_MODULE).instruction_set()
