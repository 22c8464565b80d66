"""The compiled custom calls of `ffi/`, where they were built. No other module imports them."""

import importlib
import importlib.util
import os
import re

import jax
from absl import logging

from ava_jax.core import tracing

_MODULE, _CUDA_MODULE = "ava_jax._ffi", "ava_jax._ffi_cuda"
_LATEST = "ava_marching"  # the call that the CPU's module got last
_LATEST_OF_MESHES = "ava_outline_gradient"  # the same of `ops.mesh`


def _register(module_name: str, platform: str) -> bool:
    if importlib.util.find_spec(module_name) is None:
        return False
    for name, handler in importlib.import_module(module_name).registrations().items():
        jax.ffi.register_ffi_target(name, handler, platform=platform)
    return True


def _serves(architecture: str, capability: int) -> bool:
    """Whether what nvcc made for one of CMAKE_CUDA_ARCHITECTURES runs on a device of a compute capability, 90 for 9.0.

    "90": code for sm_90, and PTX that the driver compiles for later devices; "90-real": the code alone; "90-virtual": the PTX alone. Code
    runs on later devices of the same major version. An "a" after the number: on this capability alone; an "f": the same major version's.
    """
    number, only, kind = re.fullmatch(r"(\d+)([af]?)(-real|-virtual)?", architecture).groups()
    built = int(number)
    if only == "a":
        return capability == built
    same_major = capability // 10 == built // 10
    return capability >= built and (same_major or (only == "" and kind != "-real"))


def _register_cuda() -> bool:
    if not _register(_CUDA_MODULE, "CUDA"):
        return False
    module = importlib.import_module(_CUDA_MODULE)
    if not hasattr(module, "architectures"):  # an editable installation whose sources went on
        raise ImportError(f"ava_jax: {module.__file__} was built from older sources than these; install again: pip install -e .")
    held = [name for name in module.architectures().split(",") if name]
    unserved = {i: capability for i, capability in module.devices() if held and not any(_serves(a, capability) for a in held)}
    if unserved:
        logging.warning(
            "ava_jax: the CUDA raymarcher is built for CMAKE_CUDA_ARCHITECTURES=%s, nothing of which runs on %s; plain JAX serves. "
            'To build it: pip install . -C cmake.define.CMAKE_CUDA_ARCHITECTURES="%s".',
            ";".join(held), ", ".join(f"device {i} (sm_{capability})" for i, capability in unserved.items()),
            ";".join(map(str, sorted(set(unserved.values())))),
        )  # fmt: skip
    return not unserved


def _register_cpu() -> tuple[bool, bool]:
    """Whether the module was built, and whether it has all calls that these sources know."""
    if not _register(_MODULE, "cpu"):
        return False, False
    is_complete = _LATEST in importlib.import_module(_MODULE).registrations()
    if not is_complete:  # an editable installation whose sources went on
        logging.warning(
            "ava_jax: the compiled module was built from older sources; networks on CPUs are slower. Install again: pip install -e ."
        )
    return True, is_complete


BUILT, COMPLETE = _register_cpu()
CUDA_BUILT = _register_cuda()

if not BUILT:
    logging.warning("ava_jax: the compiled raymarcher is not built (no C++ compiler at installation?); plain JAX serves instead, slowly.")


def serves_default_backend() -> bool:
    """Whether the compiled calls run where JAX computes by default."""
    backend = tracing.backend()
    return (BUILT and backend == "cpu") or (CUDA_BUILT and backend == "gpu")


def serves_convolutions() -> bool:
    """Whether the compiled calls of `ops.convolution` and `ops.reads` run where JAX computes by default: on a CPU."""
    return BUILT and COMPLETE and tracing.backend() == "cpu"


def serves_meshes() -> bool:
    """Whether the compiled calls of `ops.mesh` run where JAX computes by default, from a module that has them all.

    On a GPU only with AVA_RASTERIZE_CUDA=1 in the environment: but for `rasterize` itself, these kernels have been run by emulation alone
    (tests/ops/fibers).
    """
    backend = tracing.backend()
    if backend == "gpu" and os.environ.get("AVA_RASTERIZE_CUDA") != "1":
        return False
    module = {"cpu": _MODULE if BUILT else None, "gpu": _CUDA_MODULE if CUDA_BUILT else None}.get(backend)
    return module is not None and _LATEST_OF_MESHES in importlib.import_module(module).registrations()


def mesh_scratch(call: str, *sizes: int) -> int | None:
    """Floats of scratch that a compiled call of `ops.mesh` takes as a further result on a GPU; None where it takes none.

    Args:
      call: "gradient" (of vertices) or "outline": sizes are batch, vertices, components, triangles, and for outlines edges. "mark": batch,
        height, width. "attributes" or "texture": batch, height, width, rows or texels, channels, and whether one array is all images'.
      sizes: as said.
    """
    if tracing.backend() != "gpu":
        return None
    return -(-getattr(importlib.import_module(_CUDA_MODULE), f"{call}_scratch")(*sizes) // 4)


def spreads_by_tiles() -> bool:
    """Whether the compiled gradient of textures takes the width of the rows in which pixels lie where JAX computes by default."""
    return tracing.backend() == "gpu"


def rasterizes() -> bool:
    """Whether the compiled call of `ops.mesh.rasterize` alone runs where JAX computes by default: on GPUs too."""
    if tracing.backend() == "gpu":
        return CUDA_BUILT and "ava_rasterize" in importlib.import_module(_CUDA_MODULE).registrations()
    return serves_meshes()


def serves_implicit() -> bool:
    """Whether the compiled calls of `ops.implicit` and `ops.marching` run where JAX computes by default.

    On a GPU only with AVA_IMPLICIT_CUDA=1 in the environment: these kernels have been run by emulation alone (tests/ops/fibers).
    """
    backend = tracing.backend()
    if backend == "gpu" and os.environ.get("AVA_IMPLICIT_CUDA") != "1":
        return False
    module = {"cpu": _MODULE if BUILT else None, "gpu": _CUDA_MODULE if CUDA_BUILT else None}.get(backend)
    return module is not None and "ava_marching" in importlib.import_module(module).registrations()


def marching_scratch(z: int, y: int, x: int) -> int:
    """Integers of scratch that marching cubes take as a further result on a GPU."""
    return importlib.import_module(_CUDA_MODULE).marching_scratch(z, y, x)


def reads_bfloat16() -> bool:
    """Whether the compiled calls take templates in bfloat16 where JAX computes by default."""
    return tracing.backend() == "gpu"


def scratch_floats(views: int, height: int, width: int, primitives: int) -> tuple[int, int] | None:
    """Floats of scratch per frame that the forward and the backward call take as a further result; None where they take none."""
    if tracing.backend() != "gpu":
        return None
    return importlib.import_module(_CUDA_MODULE).scratch(views, height, width, primitives)


def instruction_set() -> str:
    """The one that the CPU kernels use here: "portable", "avx2" or "avx512".

    AVA_INSTRUCTION_SET in the environment, read at first use, limits it.
    """
    if not BUILT:
        raise RuntimeError("instruction_set: the compiled module ava_jax._ffi is not built; install a C++17 compiler and reinstall")
    return importlib.import_module(_MODULE).instruction_set()
